/**
 * Where the header of a mail ends, told while its bytes pass, for whom the parts do not matter. It is the engine's own
 * reading, so that a mail is recorded under the header that its parts are read with.
 */
import { createLineEndFilter } from './bare-returns.ts';
import { createDelimiters } from './delimiters.ts';
import { createHeaderReader, type HeaderOutcome } from './header-reader.ts';
import { defaultMimeLimits } from './limits.ts';
import { createWindow } from './window.ts';

export interface HeaderScan {
  /** Tells how many of the next bytes belong to the header: all of them until its end is known, none from then on. */
  push(chunk: Uint8Array): number;
  /** After the last byte. */
  finish(): ScannedHeader;
}

export interface ScannedHeader {
  /** The fields as sent, at most `maxHeaderBlockBytes`, without the empty line and without what stood before them. */
  readonly headerBlock: Uint8Array;
  /**
   * It has fields, an empty line ended it, nothing stood before it, and nothing was cut off: what follows that line is
   * the content.
   * Else it is open to doubt which bytes are content.
   */
  readonly isPlain: boolean;
}

/** Owns: copies what it keeps, `maxBytes` and a look ahead of 64 KB at most. Errors: none. Time: linear. */
export function createHeaderScan(maxBytes = defaultMimeLimits.maxHeaderBlockBytes): HeaderScan {
  const window = createWindow();
  const lineEnds = createLineEndFilter();
  // A field of any size is passed over here, so that the Message-ID behind it is found.
  const limits = { ...defaultMimeLimits, maxHeaderBlockBytes: maxBytes, maxHeaderFieldBytes: maxBytes };
  const header = createHeaderReader(window, createDelimiters(), {
    ...limits,
    maxHeaderFields: Number.MAX_SAFE_INTEGER,
  });
  let pushedBytes = 0;
  let scanned: ScannedHeader | null = null;
  header.begin(0, 'mail');

  const keep = (outcome: Exclude<HeaderOutcome, { type: 'more' }>): void => {
    const { bytes, base } = window;
    const start = header.start();
    const end = outcome.type === 'limit' ? start + maxBytes : outcome.headerEnd;
    scanned = {
      headerBlock: Uint8Array.from(bytes.subarray(start - base, end - base)),
      isPlain:
        outcome.type === 'end' &&
        outcome.headerEnd > start &&
        outcome.bodyStart > outcome.headerEnd &&
        !header.isLate() &&
        !lineEnds.changesLineEnds(),
    };
  };

  const read = (chunk: Uint8Array, last: boolean): HeaderOutcome => {
    window.append(chunk);
    const outcome = header.read(last);
    if (outcome.type === 'more') window.release(header.start());
    else keep(outcome);
    return outcome;
  };

  return {
    push(chunk) {
      if (scanned !== null) return 0;
      const outcome = read(lineEnds.push(chunk), false);
      pushedBytes += chunk.length;
      if (outcome.type !== 'end') return outcome.type === 'more' ? chunk.length : 0;
      return Math.max(0, outcome.bodyStart - (pushedBytes - chunk.length));
    },
    finish() {
      if (scanned === null) read(lineEnds.end(), true);
      return scanned ?? { headerBlock: new Uint8Array(), isPlain: false };
    },
  };
}
