/**
 * Finds the next delimiter line in the window, over whole chunks and not line by line. What may still turn out to be
 * the beginning of one stays unsettled.
 */
import type { DelimiterMatch, Delimiters } from './delimiters.ts';
import { maxDelimiterLineBytes } from './header-reader.ts';
import type { MimeLimits } from './types.ts';
import type { Window } from './window.ts';

export type BodyOutcome =
  /** Everything before `settled` is content, but for a line end right before it. */
  | { readonly type: 'more'; readonly settled: number }
  /** A delimiter line [position, after). */
  | { readonly type: 'delimiter'; readonly position: number; readonly after: number; readonly match: DelimiterMatch };

export interface BodyReader {
  begin(position: number): void;
  /** Where it reads on; bytes before that are not looked at again. */
  position(): number;
  /** `last`: nothing follows what is in the window. */
  read(last: boolean): BodyOutcome;
}

const lineFeed = 10;
const carriageReturn = 13;
const dash = 45;
const dashedLine = Buffer.from('\n--');

export function createBodyReader(window: Window, delimiters: Delimiters, limits: MimeLimits): BodyReader {
  const longestDelimiter = maxDelimiterLineBytes(limits);
  let at = 0;
  /** A delimiter may begin at `at`. */
  let atLineStart = true;

  const more = (settled: number): BodyOutcome => ({ type: 'more', settled });

  /** Where the line at `i` ends when it may be a delimiter; its line feed is not counted. */
  const dashedLineEnd = (i: number, last: boolean): number | 'none' | 'more' => {
    const { bytes } = window;
    const there = bytes.length - i;
    if ((there > 0 && bytes[i] !== dash) || (there > 1 && bytes[i + 1] !== dash)) return 'none';
    if (there < 2) return last ? 'none' : 'more';
    const found = bytes.indexOf(lineFeed, i);
    const end = found < 0 ? bytes.length : found;
    if (end - i > longestDelimiter) return 'none';
    return found < 0 && !last ? 'more' : end;
  };

  /** No delimiter begins in the window from `i` on, unless with its very last bytes. */
  const holdTail = (i: number): BodyOutcome => {
    const { bytes, base } = window;
    const end = bytes.length;
    at = base + end;
    if (end > i && bytes[end - 1] === lineFeed) atLineStart = true;
    else if (end - 2 >= i && bytes[end - 1] === dash && bytes[end - 2] === lineFeed) {
      at--;
      atLineStart = true;
    }
    // A CR at the very end may be half a line end.
    return more(!atLineStart && bytes[end - 1] === carriageReturn ? at - 1 : at);
  };

  return {
    begin(position) {
      at = position;
      atLineStart = true;
    },
    position: () => at,
    read(last) {
      const { bytes, base } = window;
      for (let i = at - base; ; ) {
        if (!atLineStart) {
          const found = bytes.indexOf(dashedLine, i);
          if (found < 0) return holdTail(i);
          i = found + 1;
          atLineStart = true;
        }
        const end = dashedLineEnd(i, last);
        if (end === 'more') {
          at = base + i;
          return more(at);
        }
        const match = end === 'none' ? null : delimiters.match(bytes, i, end);
        if (match !== null) {
          const after = base + Math.min((end as number) + 1, bytes.length);
          return { type: 'delimiter', position: base + i, after, match };
        }
        atLineStart = false;
        if (end !== 'none') i = end;
      }
    },
  };
}
