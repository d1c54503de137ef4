/**
 * Finds where a header block in the window begins and ends, line by line, and keeps its bounds. The one reading of that:
 * the engine's, and by `createHeaderScan` the one that goes before it, when a mail is taken.
 *
 * States:
 * - `leading`: no field has been seen. Lines that are no fields hide nothing when fields follow (see `findHeader`); left
 *   at the first field, or with the answer that there is no header.
 * - `block`: fields are read.
 * - doubtful (`doubtfulFrom`): a line that is no field was met. When more fields follow before an empty line, a line of
 *   dashes or the lookahead's end, the line was an accident and is left out; so it was when it stands right before the
 *   empty line of a part with a file or an encoding. Else the body begins with it.
 *
 * Every decision rests on positions, never on what happens to be in the window, so that any cutting of the mail gives
 * the same answer.
 */
import type { DelimiterMatch, Delimiters } from './delimiters.ts';
import {
  type BlockState,
  classifyLine,
  fieldValue,
  findHeader,
  type HeaderKind,
  type HeaderLine,
  indentOf,
  looksLikeField,
  maxFieldNameBytes,
  readFields,
  startsWithField,
} from './header-block.ts';
import type { MimeLimits } from './types.ts';
import type { Window } from './window.ts';

export type HeaderOutcome =
  | { readonly type: 'more' }
  /** The block is [start, headerEnd); what follows begins at `bodyStart`. */
  | { readonly type: 'end'; readonly headerEnd: number; readonly bodyStart: number }
  /** A delimiter line [headerEnd, after) ended it. */
  | { readonly type: 'delimiter'; readonly headerEnd: number; readonly after: number; readonly match: DelimiterMatch }
  | { readonly type: 'limit'; readonly headerEnd: number; readonly limit: keyof MimeLimits };

export interface HeaderReader {
  /** Where the first field is; where the block was begun as long as none has been found. */
  start(): number;
  /** Lines before the first field were passed over. */
  isLate(): boolean;
  begin(position: number, kind: HeaderKind): void;
  /** `last`: nothing follows what is in the window. */
  read(last: boolean): HeaderOutcome;
}

/** How far the block is searched for a sign that it goes on. */
const maxLookaheadBytes = 64 * 1024;

/** White space behind a delimiter that is still looked at. RFC 2046 allows any amount; transport adds a few bytes. */
const maxDelimiterPaddingBytes = 1024;

/** The longest line that can be a delimiter. */
export function maxDelimiterLineBytes(limits: MimeLimits): number {
  return limits.maxBoundaryBytes + 4 + maxDelimiterPaddingBytes;
}

const lineFeed = 10;
const more: HeaderOutcome = { type: 'more' };

export function createHeaderReader(window: Window, delimiters: Delimiters, limits: MimeLimits): HeaderReader {
  const longestDelimiter = maxDelimiterLineBytes(limits);
  /** What a line is can be said of its beginning alone when that is longer than any delimiter and any field name. */
  const tellingBytes = Math.max(longestDelimiter, maxFieldNameBytes) + 8;

  let start = 0;
  let kind: HeaderKind = 'mail';
  let leading = true;
  let late = false;
  let indent = 0;
  /** The line being read, and where its end is looked for. */
  let at = 0;
  let searched = 0;
  let fieldStart = 0;
  let fields = 0;
  let inField = false;
  /** The first line that is no field while the block is doubtful, else -1. */
  let doubtfulFrom = -1;

  const endAt = (headerEnd: number, bodyStart: number): HeaderOutcome =>
    doubtfulFrom < 0
      ? { type: 'end', headerEnd, bodyStart }
      : { type: 'end', headerEnd: doubtfulFrom, bodyStart: doubtfulFrom };

  /** An empty line [at, bodyStart). */
  const endAtEmptyLine = (bodyStart: number): HeaderOutcome => {
    if (doubtfulFrom >= 0 && isStray()) doubtfulFrom = -1;
    return endAt(at, bodyStart);
  };

  /** The doubtful lines are no beginning of the body, see `isStrayText`. */
  const isStray = (): boolean => {
    const { bytes, base } = window;
    return isStrayText(
      bytes.subarray(start - base, doubtfulFrom - base),
      bytes.toString('latin1', doubtfulFrom - base, at - base),
      limits.maxHeaderFields,
    );
  };

  const exceeded = (limit: keyof MimeLimits): HeaderOutcome => ({ type: 'limit', headerEnd: at, limit });

  /** The bound that was crossed first, were the bytes to come one by one. */
  const checkSizes = (upTo: number, ofField: number): HeaderOutcome | null => {
    const blockLeft = start + limits.maxHeaderBlockBytes;
    const fieldLeft = ofField + limits.maxHeaderFieldBytes;
    if (upTo <= Math.min(blockLeft, fieldLeft)) return null;
    return exceeded(blockLeft <= fieldLeft ? 'maxHeaderBlockBytes' : 'maxHeaderFieldBytes');
  };

  /** Judges a line of which [lineStart, lineEnd) is there, all of it or enough to tell; null when the block goes on. */
  const judge = (line: HeaderLine, lineStart: number, lineEnd: number, upTo: number): HeaderOutcome | null => {
    if (line === 'none' || line === 'dashes') {
      if (at === start || line === 'dashes') return endAt(at, at);
      return upTo - (doubtfulFrom < 0 ? at : doubtfulFrom) > maxLookaheadBytes ? endDoubt() : null;
    }
    const settles = line === 'field' && isCertain(lineStart, lineEnd);
    if (doubtfulFrom >= 0 && !settles) return upTo - doubtfulFrom > maxLookaheadBytes ? endDoubt() : null;
    if (line === 'field' && fields >= limits.maxHeaderFields) return exceeded('maxHeaderFields');
    return checkSizes(upTo, line === 'field' || line === 'envelope' ? at : fieldStart);
  };

  const isCertain = (lineStart: number, lineEnd: number): boolean =>
    looksLikeField(window.bytes, lineStart + indent, lineEnd);

  const endDoubt = (): HeaderOutcome => endAt(at, at);

  /** Takes note of a line that belongs to the block. */
  const pass = (line: HeaderLine, lineStart: number, lineEnd: number): void => {
    if (line === 'none') {
      if (doubtfulFrom < 0) doubtfulFrom = at;
      inField = false;
    } else if (line === 'field') {
      if (isCertain(lineStart, lineEnd)) doubtfulFrom = -1;
      inField = true;
      fieldStart = at;
      fields++;
    } else if (line === 'envelope') inField = false;
  };

  const classify = (lineStart: number, lineEnd: number): HeaderLine => {
    const state: BlockState = { fieldStart: inField ? fieldStart - window.base : -1, indent };
    return classifyLine(window.bytes, lineStart + markLength(lineStart), lineEnd, state);
  };

  /** The first line of a mail may have a byte order mark in front. */
  const markLength = (lineStart: number): number => {
    const { bytes } = window;
    return at === 0 && bytes[lineStart] === 0xef && bytes[lineStart + 1] === 0xbb && bytes[lineStart + 2] === 0xbf
      ? 3
      : 0;
  };

  const matchDelimiter = (lineStart: number, lineEnd: number): DelimiterMatch | null =>
    lineEnd - lineStart > longestDelimiter ? null : delimiters.match(window.bytes, lineStart, lineEnd);

  const readPartOfLine = (lineStart: number): HeaderOutcome => {
    const lineEnd = window.bytes.length;
    if (lineEnd - lineStart < tellingBytes) return more;
    return judge(classify(lineStart, lineEnd), lineStart, lineEnd, window.base + lineEnd) ?? more;
  };

  const readLine = (lineStart: number, lineEnd: number, next: number): HeaderOutcome | null => {
    const match = matchDelimiter(lineStart, lineEnd);
    if (match !== null) {
      return doubtfulFrom >= 0 ? endDoubt() : { type: 'delimiter', headerEnd: at, after: next, match };
    }
    const line = classify(lineStart, lineEnd);
    if (line === 'empty') return endAtEmptyLine(next);
    const outcome = judge(line, lineStart, lineEnd, next);
    if (outcome === null) pass(line, lineStart, lineEnd);
    return outcome;
  };

  /** Passes over what stands before the first field. False: more bytes are needed to say. */
  const readLead = (last: boolean): boolean => {
    const { bytes, base } = window;
    const first = at - base + markLength(at - base);
    const found = startsWithField(bytes, first)
      ? first
      : findHeader(bytes, first, last, kind, (from, to) => matchDelimiter(from, to) === null);
    if (found === 'more') return false;
    leading = false;
    if (found === 'none') return true;
    const lineEnd = bytes.indexOf(lineFeed, found);
    indent = indentOf(bytes, found, lineEnd < 0 ? bytes.length : lineEnd);
    if (found === first) return true;
    late = true;
    start = at = searched = fieldStart = base + found;
    return true;
  };

  return {
    start: () => start,
    isLate: () => late,
    begin(position, of) {
      start = at = searched = fieldStart = position;
      kind = of;
      leading = true;
      late = false;
      indent = 0;
      fields = 0;
      inField = false;
      doubtfulFrom = -1;
    },
    read(last) {
      if (leading && !readLead(last)) return more;
      const { bytes, base } = window;
      for (;;) {
        const lineStart = at - base;
        const found = bytes.indexOf(lineFeed, searched - base);
        if (found < 0 && !last) {
          searched = base + bytes.length;
          return readPartOfLine(lineStart);
        }
        if (lineStart === bytes.length) return endAt(at, at);
        const next = found < 0 ? base + bytes.length : base + found + 1;
        const outcome = readLine(lineStart, found < 0 ? bytes.length : found, next);
        if (outcome !== null) return outcome;
        at = searched = next;
      }
    },
  };
}

/** A gateway's remark is a line or two; more text than this is the beginning of a body whose empty line is missing. */
const maxStrayLines = 3;

/**
 * Whether `text`, lines that are no fields right before the empty line, are an accident among the fields of `block` and
 * not the body: they would spoil an encoded part, and a file should not begin with them. Lines that are base64
 * themselves are the body, of a part whose empty line is missing.
 */
function isStrayText(block: Buffer, text: string, maxFields: number): boolean {
  const fields = readFields(block, new Set(), maxFields);
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const encoding = fieldValue(fields, 'content-transfer-encoding')?.toLowerCase() ?? '';
  if (encoding.includes('base64') && lines.every((line) => isBase64Line(line.trim()))) return false;
  if (/base64|quoted-printable|uu/.test(encoding)) return lines.length <= maxStrayLines;
  const hasFile =
    fieldValue(fields, 'content-disposition') !== null ||
    /name|message\//i.test(fieldValue(fields, 'content-type') ?? '');
  return hasFile && lines.length === 1;
}

/** Shorter ones are words, unless they have padding. */
const leastBase64Characters = 16;

function isBase64Line(line: string): boolean {
  const padded = /^[A-Za-z0-9+/]+(={0,2})$/.exec(line);
  return padded !== null && line.length % 4 === 0 && (padded[1] !== '' || line.length >= leastBase64Characters);
}
