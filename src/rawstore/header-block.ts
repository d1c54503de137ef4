const LF = 0x0a;
const TWO_LF = Buffer.from('\n\n');
const LF_CRLF = Buffer.from('\n\r\n');
/** Of a header that is not there whole at once. */
const FIRST_ROOM_BYTES = 4096;

/** What `HeaderBlock.add` says of a chunk: from here on it is content; its length when it is all header. */
export interface HeaderBlock {
  add(chunk: Uint8Array): number;
  /** The first `maxBytes` of the header block, line ends as sent, without the empty line. */
  finish(): { readonly headerBlock: Uint8Array; readonly headerTruncated: boolean };
}

/**
 * Finds where the header block of a mail ends while its bytes pass, and keeps the header.
 *
 * The header ends before the first empty line; a line ends with CRLF or a bare LF, in any mixture, because a mail is
 * stored as it was sent and some are sent so. A bare CR ends no line. An empty first line means an empty header; no
 * empty line at all means that everything is header.
 *
 * So the end is the first LF followed by LF or CRLF, the start of the mail counting as one LF. Two native searches per
 * chunk find it; the two bytes before a chunk are carried over for an end that is cut in pieces.
 * Owns: copies what it keeps; holds at most `maxBytes` and two.
 */
export function createHeaderBlock(options: { readonly maxBytes: number }): HeaderBlock {
  /** With two bytes for the CR that turns out to belong to the empty line. */
  const maxKeptBytes = options.maxBytes + 2;
  let kept = Buffer.alloc(0);
  let keptBytes = 0;
  let headerBytes = 0;
  let before: Uint8Array = Buffer.from([LF]);
  let complete = false;

  function keep(bytes: Uint8Array): void {
    headerBytes += bytes.length;
    const taken = bytes.subarray(0, maxKeptBytes - keptBytes);
    const wantedBytes = keptBytes + taken.length;
    if (wantedBytes > kept.length) {
      const doubled = complete ? wantedBytes : Math.max(FIRST_ROOM_BYTES, wantedBytes, kept.length * 2);
      const larger = Buffer.allocUnsafeSlow(Math.min(maxKeptBytes, doubled));
      kept.copy(larger, 0, 0, keptBytes);
      kept = larger;
    }
    kept.set(taken, keptBytes);
    keptBytes = wantedBytes;
  }

  return {
    add(chunk) {
      if (complete) return 0;
      const end = findEnd(before, chunk);
      if (end === null) {
        keep(chunk);
        before = lastTwo(before, chunk);
        return chunk.length;
      }
      complete = true;
      keep(chunk.subarray(0, end.contentFrom));
      headerBytes -= end.emptyLineBytes;
      return end.contentFrom;
    },
    finish() {
      return {
        headerBlock: kept.subarray(0, Math.min(headerBytes, options.maxBytes)),
        headerTruncated: headerBytes > options.maxBytes,
      };
    },
  };
}

interface HeaderEnd {
  /** Offset in the chunk. */
  readonly contentFrom: number;
  /** LF is 1, CRLF is 2; its CR may have come with an earlier chunk. */
  readonly emptyLineBytes: number;
}

function findEnd(before: Uint8Array, chunk: Uint8Array): HeaderEnd | null {
  const joint = firstEmptyLine(Buffer.concat([before, chunk.subarray(0, 2)]));
  if (joint !== null) return { ...joint, contentFrom: joint.contentFrom - before.length };
  return firstEmptyLine(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
}

function firstEmptyLine(bytes: Buffer): HeaderEnd | null {
  const bare = bytes.indexOf(TWO_LF);
  // Its last LF may be the first of the two.
  const earlier = bare === -1 ? bytes : bytes.subarray(0, bare + 1);
  const crlf = earlier.indexOf(LF_CRLF);
  if (crlf !== -1) return { contentFrom: crlf + 3, emptyLineBytes: 2 };
  return bare === -1 ? null : { contentFrom: bare + 2, emptyLineBytes: 1 };
}

/** A copy: the chunk may be written over. */
function lastTwo(before: Uint8Array, chunk: Uint8Array): Uint8Array {
  const bytes = chunk.length >= 2 ? chunk : Buffer.concat([before, chunk]);
  return Buffer.from(bytes.subarray(-2));
}
