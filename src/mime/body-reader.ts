/**
 * Finds the next delimiter line in the window, over whole chunks and not line by line. What may still turn out to be
 * the beginning of one stays unsettled.
 */
import { type DelimiterMatch, type Delimiters, maxIndentBytes } from './delimiters.ts';
import { maxDelimiterLineBytes } from './header-reader.ts';
import type { MimeLimits } from './types.ts';
import type { Window } from './window.ts';

export type BodyOutcome =
  /** Everything before `settled` is content, but for a line end right before it. */
  | { readonly type: 'more'; readonly settled: number }
  /** A delimiter [position, after). */
  | {
      readonly type: 'delimiter';
      readonly position: number;
      readonly after: number;
      readonly match: DelimiterMatch;
      /** It shares its line with content before it, or with text behind it. */
      readonly glued: boolean;
    };

/**
 * `lines`: a delimiter is a whole line. `base64`: no dash belongs to the content, so a delimiter may also stand at the
 * end of a line, and a closing one before text.
 */
export type BodyMode = 'lines' | 'base64';

export interface BodyReader {
  begin(position: number, mode: BodyMode): void;
  /** Where it reads on; bytes before that are not looked at again. */
  position(): number;
  /** `last`: nothing follows what is in the window. */
  read(last: boolean): BodyOutcome;
}

const lineFeed = 10;
const carriageReturn = 13;
const dash = 45;
const space = 32;
const tab = 9;
const dashedLine = Buffer.from('\n--');
const dashes = Buffer.from('--');

export function createBodyReader(window: Window, delimiters: Delimiters, limits: MimeLimits): BodyReader {
  return new Reader(window, delimiters, limits);
}

/** A class for the reason that the reader of entities is one. */
class Reader implements BodyReader {
  private readonly window: Window;
  private readonly delimiters: Delimiters;
  private readonly longestDelimiter: number;
  private mode: BodyMode = 'lines';
  private at = 0;
  /** A delimiter may begin at `at`. */
  private isCandidate = true;
  /** `at` stands at the beginning of a line. */
  private atLineStart = true;

  constructor(window: Window, delimiters: Delimiters, limits: MimeLimits) {
    this.window = window;
    this.delimiters = delimiters;
    this.longestDelimiter = maxDelimiterLineBytes(limits);
  }

  begin(position: number, mode: BodyMode): void {
    this.at = position;
    this.mode = mode;
    this.isCandidate = true;
    this.atLineStart = true;
  }

  position(): number {
    return this.at;
  }

  read(last: boolean): BodyOutcome {
    for (let i = this.at - this.window.base; ; ) {
      if (!this.isCandidate) {
        const found = this.nextCandidate(i);
        if (found < 0) return this.holdTail(i);
        i = found;
        this.isCandidate = true;
      }
      const end = this.dashedLineEnd(i, last);
      if (end === 'more') {
        this.moveTo(i);
        return more(this.at);
      }
      const found = typeof end === 'number' ? this.match(i, end) : null;
      if (found !== null) {
        this.moveTo(i);
        const after = this.window.base + Math.min((end as number) + 1, this.window.bytes.length);
        const glued = !this.atLineStart || !found.isWhole;
        return { type: 'delimiter', position: this.at, after, match: found.match, glued };
      }
      this.isCandidate = false;
      i = this.behindFailure(i, end);
    }
  }

  /** The next place in the window from `i` on where a delimiter may begin, else -1. */
  private nextCandidate(i: number): number {
    const { bytes } = this.window;
    if (this.mode === 'base64') return bytes.indexOf(dashes, i);
    const found = this.delimiters.mayBeIndented() ? bytes.indexOf(lineFeed, i) : bytes.indexOf(dashedLine, i);
    return found < 0 ? -1 : found + 1;
  }

  /** Where the line at `i` ends when it may be a delimiter; its line feed is not counted. */
  private dashedLineEnd(i: number, last: boolean): number | 'none' | 'more' | 'too-long' {
    const { bytes } = this.window;
    let first = i;
    if (this.delimiters.mayBeIndented())
      while (first < i + maxIndentBytes && (bytes[first] === space || bytes[first] === tab)) first++;
    const there = bytes.length - first;
    if ((there > 0 && bytes[first] !== dash) || (there > 1 && bytes[first + 1] !== dash)) return 'none';
    if (there < 2) return last ? 'none' : 'more';
    const found = bytes.indexOf(lineFeed, first);
    const end = found < 0 ? bytes.length : found;
    if (end - i > this.longestDelimiter) return 'too-long';
    return found < 0 && !last ? 'more' : end;
  }

  /** No delimiter begins in the window from `i` on, unless with its very last bytes. */
  private holdTail(i: number): BodyOutcome {
    const { bytes, base } = this.window;
    const end = bytes.length;
    let hold = end;
    if (this.mode === 'base64') {
      if (end > i && bytes[end - 1] === dash) hold--;
      this.isCandidate = hold < end;
    } else {
      if (end - 2 >= i && bytes[end - 1] === dash && bytes[end - 2] === lineFeed) hold--;
      this.isCandidate = end > i && bytes[hold - 1] === lineFeed;
    }
    this.moveTo(hold);
    // A CR at the very end may be half a line end.
    return more(hold === end && bytes[end - 1] === carriageReturn ? base + end - 1 : this.at);
  }

  private moveTo(i: number): void {
    const { bytes, base } = this.window;
    if (base + i !== this.at) this.atLineStart = bytes[i - 1] === lineFeed;
    this.at = base + i;
  }

  /** Where the search goes on when no delimiter begins at `i`. */
  private behindFailure(i: number, end: number | 'none' | 'too-long'): number {
    if (typeof end === 'number') return end;
    if (this.mode === 'lines' || this.window.bytes[i] !== dash) return i;
    if (end === 'none') return i + 1;
    // Only the last bytes of a long line can be one, and the line must not be searched from each of its dashes.
    const found = this.window.bytes.indexOf(lineFeed, i);
    return Math.max(i + 1, (found < 0 ? this.window.bytes.length : found) - this.longestDelimiter);
  }

  private match(i: number, end: number): { match: DelimiterMatch; isWhole: boolean } | null {
    const whole = this.delimiters.match(this.window.bytes, i, end);
    if (whole !== null) return { match: whole, isWhole: true };
    const closing = this.mode === 'base64' ? this.delimiters.matchClosingStart(this.window.bytes, i, end) : null;
    return closing === null ? null : { match: closing, isWhole: false };
  }
}

function more(settled: number): BodyOutcome {
  return { type: 'more', settled };
}
