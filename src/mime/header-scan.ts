/**
 * Where the header of a mail ends, and what it says of the mail, told while its bytes pass, for whom the parts do not
 * matter. It is the engine's own reading, so that a mail is recorded under the header that its parts are read with.
 *
 * A header may be as long as the mail: of it only the fields that are used are held, each to a bound, and what the next
 * line is judged by. What is counted and digested is counted and digested of the whole.
 */
import { createLineEndFilter } from './bare-returns.ts';
import { createDelimiters } from './delimiters.ts';
import { fieldHeadBytes, fieldTailBytes, readFields } from './header-block.ts';
import { createHeaderFields, type HeaderFields } from './header-fields.ts';
import { createHeaderReader, type HeaderOutcome } from './header-reader.ts';
import { defaultMimeLimits } from './limits.ts';
import { createWindow } from './window.ts';

export interface HeaderScan {
  /** Tells how many of the next bytes belong to the header: all of them until its end is known, none from then on. */
  push(chunk: Uint8Array): number;
  /** Null until its end is known. */
  header(): ScannedHeader | null;
  /** After the last byte. */
  finish(): ScannedHeader;
}

export interface ScannedHeader {
  /**
   * The fields that are used, at most 128 KiB: of Message-ID, From, To, Subject and Date the first that is not blank, of
   * Content-Type, Content-Disposition and Content-Transfer-Encoding the first. For `readMailHeader`.
   */
  readonly headerBlock: Uint8Array;
  /**
   * It has fields and nothing else among them, an empty line ended it, nothing stood before it, and it is within
   * `maxHeaderBlockBytes`: what follows that line is the content.
   * Else it is open to doubt which bytes are content.
   */
  readonly isPlain: boolean;
  /** How many Received fields it has. */
  readonly receivedFields: number;
  /** The fields that give the mail its meaning, see `content-fields.ts`. Units: lower-case hex. */
  readonly contentFieldsSha256: string;
}

/** The header is read in pieces of this size, so that no more than a piece is held besides what is kept. */
const pieceBytes = 16 * 1024;

const anySize = Number.MAX_SAFE_INTEGER;
const limits = {
  ...defaultMimeLimits,
  maxHeaderBlockBytes: anySize,
  maxHeaderFieldBytes: anySize,
  maxHeaderFields: anySize,
};

/** Owns: copies what it keeps, 300 KiB at most. Errors: none. Time: linear. */
export function createHeaderScan(): HeaderScan {
  const window = createWindow();
  const lineEnds = createLineEndFilter();
  const reader = createHeaderReader(window, createDelimiters(), limits, fieldsBefore);
  let fields: HeaderFields | null = null;
  let start = 0;
  let pushedBytes = 0;
  let scanned: ScannedHeader | null = null;
  reader.begin(0, 'mail');

  /** Only asked for once the block has begun. */
  function fieldsUpTo(position: number): HeaderFields {
    if (fields === null) {
      start = reader.start();
      fields = createHeaderFields(window, start);
    }
    fields.take(position);
    return fields;
  }

  function fieldsBefore(position: number) {
    return readFields(fieldsUpTo(position).kept(), new Set(), limits.maxHeaderFields);
  }

  function finished(outcome: Exclude<HeaderOutcome, { type: 'more' }>): ScannedHeader {
    const read = fieldsUpTo(outcome.headerEnd);
    return {
      headerBlock: read.kept(),
      isPlain:
        outcome.type === 'end' &&
        outcome.headerEnd > start &&
        outcome.headerEnd - start <= defaultMimeLimits.maxHeaderBlockBytes &&
        outcome.bodyStart > outcome.headerEnd &&
        !read.hasText &&
        !reader.isLate() &&
        !lineEnds.changesLineEnds(),
      receivedFields: read.receivedFields,
      contentFieldsSha256: read.contentFieldsDigest(),
    };
  }

  /** Takes what is known to be header, and leaves in the window what the next line is judged by. */
  function keepUp(): void {
    const settled = reader.settled();
    if (settled === null) {
      window.release(reader.start());
      return;
    }
    const end = window.base + window.bytes.length;
    const inLongLine = reader.isInLongLine();
    const read = fieldsUpTo(inLongLine ? end : settled);
    const fieldStart = read.fieldStart() ?? settled;
    window.release(fieldStart);
    cut(fieldStart + fieldHeadBytes, settled - fieldTailBytes);
    if (inLongLine) cut(settled + reader.tellingBytes, end - fieldTailBytes);
  }

  function cut(from: number, to: number): void {
    if (from >= to) return;
    window.cut(from, to);
    reader.moved(from, to);
    fields?.moved(from, to);
  }

  function read(piece: Uint8Array, last: boolean): HeaderOutcome {
    window.append(piece);
    const outcome = reader.read(last);
    if (outcome.type === 'more') keepUp();
    else scanned = finished(outcome);
    return outcome;
  }

  return {
    push(chunk) {
      if (scanned !== null) return 0;
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        const piece = chunk.subarray(at, at + pieceBytes);
        const outcome = read(lineEnds.push(piece), false);
        if (outcome.type === 'end') return Math.max(0, at + outcome.bodyStart - pushedBytes);
        pushedBytes += piece.length;
      }
      return chunk.length;
    },
    header: () => scanned,
    finish() {
      if (scanned === null) read(lineEnds.end(), true);
      if (scanned === null) throw new Error('a header that does not end with its mail');
      return scanned;
    },
  };
}
