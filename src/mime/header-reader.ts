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
 *   empty line of a part that is encoded or a file. Else the body begins with it.
 *
 * Every decision rests on positions, never on what happens to be in the window, so that any cutting of the mail gives
 * the same answer.
 */
import type { DelimiterMatch, Delimiters } from './delimiters.ts';
import {
  classifyLine,
  fieldValue,
  findHeader,
  findLineEnd,
  type HeaderField,
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
  /** Whole lines before this position are lines of the block. Null while it is not known where the block begins. */
  settled(): number | null;
  /** The line at `settled()` is not whole, and what is there of it says already that it belongs to the block. */
  isInLongLine(): boolean;
  /** How much of a line that is not whole has to stay in the window. */
  readonly tellingBytes: number;
  /** `[from, to)` was cut out of the window. */
  moved(from: number, to: number): void;
}

/** The fields of the block before `position`, for a window that does not hold them any more. */
export type FieldsBefore = (position: number) => readonly HeaderField[];

/** How far the block is searched for a sign that it goes on. */
const maxLookaheadBytes = 64 * 1024;

/** White space behind a delimiter that is still looked at. RFC 2046 allows any amount; transport adds a few bytes. */
const maxDelimiterPaddingBytes = 1024;

/** The longest line that can be a delimiter. */
export function maxDelimiterLineBytes(limits: MimeLimits): number {
  return limits.maxBoundaryBytes + 4 + maxDelimiterPaddingBytes;
}

const dash = 45;
const more: HeaderOutcome = { type: 'more' };

export function createHeaderReader(
  window: Window,
  delimiters: Delimiters,
  limits: MimeLimits,
  fieldsBefore?: FieldsBefore,
): HeaderReader {
  return new Reader(window, delimiters, limits, fieldsBefore);
}

/** A class for the reason that the reader of entities is one. */
class Reader implements HeaderReader {
  private readonly window: Window;
  private readonly delimiters: Delimiters;
  private readonly limits: MimeLimits;
  private readonly fieldsBefore: FieldsBefore;
  private readonly longestDelimiter: number;
  /** What a line is can be said of its beginning alone when that is longer than any delimiter and any field name. */
  readonly tellingBytes: number;
  private first = 0;
  private kind: HeaderKind = 'mail';
  private leading = true;
  private late = false;
  private indent = 0;
  /** The line being read, and where its end is looked for. */
  private at = 0;
  private searched = 0;
  private fieldStart = 0;
  private fields = 0;
  private inField = false;
  /** The first line that is no field while the block is doubtful, else -1. */
  private doubtfulFrom = -1;

  constructor(window: Window, delimiters: Delimiters, limits: MimeLimits, fieldsBefore?: FieldsBefore) {
    this.window = window;
    this.delimiters = delimiters;
    this.limits = limits;
    this.fieldsBefore =
      fieldsBefore ??
      ((position) =>
        readFields(
          window.bytes.subarray(this.first - window.base, position - window.base),
          new Set(),
          limits.maxHeaderFields,
        ));
    this.longestDelimiter = maxDelimiterLineBytes(limits);
    this.tellingBytes = Math.max(this.longestDelimiter, maxFieldNameBytes) + 8;
  }

  start(): number {
    return this.first;
  }

  isLate(): boolean {
    return this.late;
  }

  begin(position: number, kind: HeaderKind): void {
    this.startAt(position);
    this.kind = kind;
    this.leading = true;
    this.late = false;
    this.indent = 0;
    this.fields = 0;
    this.inField = false;
    this.doubtfulFrom = -1;
  }

  private startAt(position: number): void {
    this.first = position;
    this.at = position;
    this.searched = position;
    this.fieldStart = position;
  }

  read(last: boolean): HeaderOutcome {
    if (this.leading && !this.readLead(last)) return more;
    const { bytes, base } = this.window;
    for (;;) {
      const lineStart = this.at - base;
      const lineEnd = findLineEnd(bytes, this.searched - base);
      if (lineEnd === bytes.length && !last) {
        this.searched = base + bytes.length;
        return this.readPartOfLine(lineStart);
      }
      if (lineStart === bytes.length) return this.endAt(this.at, this.at);
      const next = base + Math.min(lineEnd + 1, bytes.length);
      const outcome = this.readLine(lineStart, lineEnd, next);
      if (outcome !== null) return outcome;
      this.at = next;
      this.searched = next;
    }
  }

  settled(): number | null {
    if (this.leading) return null;
    return this.doubtfulFrom < 0 ? this.at : this.doubtfulFrom;
  }

  isInLongLine(): boolean {
    const lineStart = this.at - this.window.base;
    const lineEnd = this.window.bytes.length;
    if (this.doubtfulFrom >= 0 || lineEnd - lineStart < this.tellingBytes) return false;
    const line = this.classify(lineStart, lineEnd);
    return line !== 'none' && line !== 'dashes' && line !== 'empty';
  }

  moved(from: number, to: number): void {
    const shift = to - from;
    if (this.first < from) this.first += shift;
    if (this.fieldStart < from) this.fieldStart += shift;
    if (this.at < from) this.at += shift;
  }

  private endAt(headerEnd: number, bodyStart: number): HeaderOutcome {
    return this.doubtfulFrom < 0
      ? { type: 'end', headerEnd, bodyStart }
      : { type: 'end', headerEnd: this.doubtfulFrom, bodyStart: this.doubtfulFrom };
  }

  /** An empty line [at, bodyStart). */
  private endAtEmptyLine(bodyStart: number): HeaderOutcome {
    if (this.doubtfulFrom >= 0 && this.isStray()) this.doubtfulFrom = -1;
    return this.endAt(this.at, bodyStart);
  }

  /** The doubtful lines are no beginning of the body, see `isStrayText`. */
  private isStray(): boolean {
    const { bytes, base } = this.window;
    return isStrayText(
      this.fieldsBefore(this.doubtfulFrom),
      bytes.toString('latin1', this.doubtfulFrom - base, this.at - base),
    );
  }

  private exceeded(limit: keyof MimeLimits): HeaderOutcome {
    return { type: 'limit', headerEnd: this.at, limit };
  }

  /** The bound that was crossed first, were the bytes to come one by one. */
  private checkSizes(upTo: number, ofField: number): HeaderOutcome | null {
    const blockLeft = this.first + this.limits.maxHeaderBlockBytes;
    const fieldLeft = ofField + this.limits.maxHeaderFieldBytes;
    if (upTo <= Math.min(blockLeft, fieldLeft)) return null;
    return this.exceeded(blockLeft <= fieldLeft ? 'maxHeaderBlockBytes' : 'maxHeaderFieldBytes');
  }

  /** Judges a line of which [lineStart, lineEnd) is there, all of it or enough to tell; null when the block goes on. */
  private judge(line: HeaderLine, lineStart: number, lineEnd: number, upTo: number): HeaderOutcome | null {
    if (line === 'none' || line === 'dashes') {
      if (this.at === this.first || line === 'dashes') return this.endAt(this.at, this.at);
      return upTo - (this.doubtfulFrom < 0 ? this.at : this.doubtfulFrom) > maxLookaheadBytes ? this.endDoubt() : null;
    }
    if (this.doubtfulFrom >= 0 && !(line === 'field' && this.isCertain(lineStart, lineEnd)))
      return upTo - this.doubtfulFrom > maxLookaheadBytes ? this.endDoubt() : null;
    if (line === 'field' && this.fields >= this.limits.maxHeaderFields) return this.exceeded('maxHeaderFields');
    return this.checkSizes(upTo, line === 'field' || line === 'envelope' ? this.at : this.fieldStart);
  }

  private isCertain(lineStart: number, lineEnd: number): boolean {
    return looksLikeField(this.window.bytes, lineStart + this.indent, lineEnd);
  }

  private endDoubt(): HeaderOutcome {
    return this.endAt(this.at, this.at);
  }

  /** Takes note of a line that belongs to the block. */
  private pass(line: HeaderLine, lineStart: number, lineEnd: number): void {
    if (line === 'none') {
      if (this.doubtfulFrom < 0) this.doubtfulFrom = this.at;
      this.inField = false;
    } else if (line === 'field') {
      if (this.doubtfulFrom >= 0 && this.isCertain(lineStart, lineEnd)) this.doubtfulFrom = -1;
      this.inField = true;
      this.fieldStart = this.at;
      this.fields++;
    } else if (line === 'envelope') this.inField = false;
  }

  private classify(lineStart: number, lineEnd: number): HeaderLine {
    const ofField = this.inField ? this.fieldStart - this.window.base : -1;
    return classifyLine(this.window.bytes, lineStart + this.markLength(lineStart), lineEnd, ofField, this.indent);
  }

  /** The first line of a mail may have a byte order mark in front. */
  private markLength(lineStart: number): number {
    const { bytes } = this.window;
    return this.at === 0 && bytes[lineStart] === 0xef && bytes[lineStart + 1] === 0xbb && bytes[lineStart + 2] === 0xbf
      ? 3
      : 0;
  }

  private matchDelimiter(lineStart: number, lineEnd: number): DelimiterMatch | null {
    if (this.window.bytes[lineStart] !== dash && !this.delimiters.mayBeIndented()) return null;
    return lineEnd - lineStart > this.longestDelimiter
      ? null
      : this.delimiters.match(this.window.bytes, lineStart, lineEnd);
  }

  private readPartOfLine(lineStart: number): HeaderOutcome {
    const lineEnd = this.window.bytes.length;
    if (lineEnd - lineStart < this.tellingBytes) return more;
    return this.judge(this.classify(lineStart, lineEnd), lineStart, lineEnd, this.window.base + lineEnd) ?? more;
  }

  private readLine(lineStart: number, lineEnd: number, next: number): HeaderOutcome | null {
    const match = this.matchDelimiter(lineStart, lineEnd);
    if (match !== null) {
      return this.doubtfulFrom >= 0 ? this.endDoubt() : { type: 'delimiter', headerEnd: this.at, after: next, match };
    }
    const line = this.classify(lineStart, lineEnd);
    if (line === 'empty') return this.endAtEmptyLine(next);
    const outcome = this.judge(line, lineStart, lineEnd, next);
    if (outcome === null) this.pass(line, lineStart, lineEnd);
    return outcome;
  }

  /** Passes over what stands before the first field. False: more bytes are needed to say. */
  private readLead(last: boolean): boolean {
    const { bytes, base } = this.window;
    const first = this.at - base + this.markLength(this.at - base);
    const found = startsWithField(bytes, first)
      ? first
      : findHeader(bytes, first, last, this.kind, (from, to) => this.matchDelimiter(from, to) === null);
    if (found === 'more') return false;
    this.leading = false;
    if (found === 'none') return true;
    this.indent = indentOf(bytes, found, bytes.length);
    this.late = found !== first;
    // Behind a byte order mark, which nobody has to remember then.
    this.startAt(base + found);
    return true;
  }
}

/** A gateway's remark is a line or two; more text than this is the beginning of a body whose empty line is missing. */
const maxStrayLines = 3;

/**
 * Whether `text`, lines that are no fields right before the empty line, are an accident among the fields and not the
 * body: they would spoil an encoded part, and one such line should not begin a file. Lines that are base64 themselves are
 * the body, of a part whose empty line is missing; so is a line with the separators of a table or of EDI.
 */
function isStrayText(fields: readonly HeaderField[], text: string): boolean {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const encoding = fieldValue(fields, 'content-transfer-encoding')?.toLowerCase() ?? '';
  if (encoding.includes('base64') && lines.every((line) => isBase64Line(line.trim()))) return false;
  if (/base64|quoted-printable|uu/.test(encoding)) return lines.length <= maxStrayLines;
  const isFile =
    fieldValue(fields, 'content-disposition') !== null || /name/i.test(fieldValue(fields, 'content-type') ?? '');
  return isFile && lines.length === 1 && !/[;,|\t+']/.test(text);
}

/** Shorter ones are words, unless they have padding. */
const leastBase64Characters = 16;

function isBase64Line(line: string): boolean {
  const padded = /^[A-Za-z0-9+/]+(={0,2})$/.exec(line);
  return padded !== null && line.length % 4 === 0 && (padded[1] !== '' || line.length >= leastBase64Characters);
}
