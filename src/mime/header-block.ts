/**
 * The header block of a mail or a part: where it ends, and its fields. Bytes stay bytes (as Latin-1 code points) until
 * a field says what they are. Spec: RFC 5322 §2.2.
 */
import type { DefectCollector } from './defects.ts';

export interface HeaderField {
  /** Lower case. */
  readonly name: string;
  /** Unfolded, without white space at its ends. */
  readonly value: string;
}

export type HeaderLine = 'field' | 'continuation' | 'unindented' | 'envelope' | 'empty' | 'dashes' | 'none';

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const tab = 9;
const dash = 45;
const colon = 58;
const semicolon = 59;
const equals = 61;
const doubleQuote = 34;

/**
 * What the line [start, end) is, its line feed not counted. `fieldStart`: where the field begins that a continuation
 * would belong to; -1 where there is none. `indent`: blanks before each field, in a block that is indented as a whole; 0
 * in any other.
 */
export function classifyLine(
  bytes: Buffer,
  start: number,
  end: number,
  fieldStart: number,
  indent: number,
): HeaderLine {
  const last = end > start && bytes[end - 1] === carriageReturn ? end - 1 : end;
  if (last === start) return 'empty';
  const first = bytes[start] as number;
  if (first === space || first === tab) {
    if (indent > 0 && blanksAt(bytes, start, last) === indent && fieldNameEnd(bytes, start + indent, last) >= 0)
      return 'field';
    return fieldStart >= 0 ? 'continuation' : 'none';
  }
  if (fieldNameEnd(bytes, start, last) >= 0) return 'field';
  if (isEnvelopeLine(bytes, start, last)) return 'envelope';
  if (fieldStart >= 0 && unindentedGlue(bytes, fieldStart, start, last) !== null) return 'unindented';
  return first === dash && bytes[start + 1] === dash ? 'dashes' : 'none';
}

/** Header lines are short: their end is found by hand before a native search has begun (40 ns against 130). */
const shortLineBytes = 256;

/** The line feed at or behind `from`, else the end of the bytes. */
export function findLineEnd(bytes: Buffer, from: number): number {
  const short = Math.min(bytes.length, from + shortLineBytes);
  for (let i = from; i < short; i++) if (bytes[i] === lineFeed) return i;
  const found = short === bytes.length ? -1 : bytes.indexOf(lineFeed, short);
  return found < 0 ? bytes.length : found;
}

/** RFC 5322 §2.1.1 ends a line after 998 characters: what has no colon by then is no field, however it goes on. */
export const maxFieldNameBytes = 998;

/** Where the name ends when the line starts a field (white space may stand before the colon), else -1. */
export function fieldNameEnd(bytes: Buffer, start: number, lineEnd: number): number {
  const end = Math.min(lineEnd, start + maxFieldNameBytes);
  let i = start;
  while (i < end && isNameByte(bytes[i] as number)) i++;
  if (i === start) return -1;
  const nameEnd = i;
  while (i < end && (bytes[i] === space || bytes[i] === tab)) i++;
  return i < end && bytes[i] === colon ? nameEnd : -1;
}

function isNameByte(byte: number): boolean {
  return byte > 32 && byte < 127 && byte !== colon;
}

/** `From x@y Mon …` of a mailbox file, also quoted. */
function isEnvelopeLine(bytes: Buffer, start: number, end: number): boolean {
  const at = bytes[start] === 0x3e ? start + 1 : start;
  return end - at >= 5 && bytes.toString('latin1', at, at + 5) === 'From ';
}

export function blanksAt(bytes: Buffer, start: number, end: number): number {
  let i = start;
  while (i < end && (bytes[i] === space || bytes[i] === tab)) i++;
  return i - start;
}

/** The blanks before the first field of a block: 0 unless the whole block is indented. */
export function indentOf(bytes: Buffer, start: number, end: number): number {
  const blanks = blanksAt(bytes, start, end);
  return blanks > 0 && fieldNameEnd(bytes, start + blanks, end) >= 0 ? blanks : 0;
}

// ---- continuations without white space

/**
 * A field is looked at this far back from a line that may continue it, and over as many blanks at its end; the bound keeps
 * hostile blocks linear.
 */
const maxLookBackBytes = 512;

/** What `classifyLine` reads of a field besides its line: so much of its beginning, and so much before the line. */
export const fieldHeadBytes = 32;
export const fieldTailBytes = 2 * maxLookBackBytes;

const parameterNames = new Set(['name', 'filename', 'charset', 'boundary', 'size', 'type', 'format', 'file']);

/**
 * What to put between a field and a line without indentation that continues it; null when the line does not.
 *
 * QUIRK: gateways fold without white space. Three signs are safe: the field ends with a semicolon and the line begins
 * `token=`; the line completes the name of a parameter (`filen` + `ame="x.pdf"`, `name` + `="x.pdf"`); a quote is open in
 * a field with parameters and the line closes it.
 */
function unindentedGlue(bytes: Buffer, fieldStart: number, start: number, lineEnd: number): '' | ' ' | null {
  let before = start - 1;
  const firstLooked = Math.max(fieldStart, start - maxLookBackBytes);
  while (before > firstLooked && isBlankByte(bytes[before] as number)) before--;
  const tokenEnd = tokenEndAt(bytes, start, Math.min(lineEnd, start + maxFieldNameBytes));
  const beginsParameter = tokenEnd > start && tokenEnd < lineEnd && bytes[tokenEnd] === equals;
  const isName = tokenEnd === lineEnd && parameterNames.has(bytes.toString('latin1', start, tokenEnd).toLowerCase());
  if (bytes[before] === semicolon && (beginsParameter || isName)) return '';
  if (!hasParameters(bytes, fieldStart)) return null;
  const field = bytes.toString('latin1', Math.max(fieldStart, before + 1 - maxLookBackBytes), before + 1);
  const open = isQuoteOpen(field);
  if (!open && (beginsParameter || bytes[start] === equals)) {
    const token = /[\w*]*$/.exec(field.slice(-maxParameterNameLength))?.[0] ?? '';
    const name = `${token}${bytes.toString('latin1', start, tokenEnd)}`.replace(/\*.*$/, '').toLowerCase();
    if (token !== '' && parameterNames.has(name)) return '';
  }
  const looked = bytes.subarray(start, Math.min(lineEnd, start + maxFieldNameBytes));
  return open && looked.includes(doubleQuote) ? ' ' : null;
}

const maxParameterNameLength = 20;

function hasParameters(bytes: Buffer, fieldStart: number): boolean {
  const name = bytes
    .toString('latin1', fieldStart, fieldStart + 20)
    .trimStart()
    .toLowerCase();
  return name.startsWith('content-type') || name.startsWith('content-disposition');
}

function isQuoteOpen(text: string): boolean {
  let open = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && open) i++;
    else if (text[i] === '"') open = !open;
  }
  return open;
}

function tokenEndAt(bytes: Buffer, start: number, end: number): number {
  let i = start;
  while (i < end && isTokenByte(bytes[i] as number)) i++;
  return i;
}

function isBlankByte(byte: number): boolean {
  return byte === space || byte === tab || byte === carriageReturn || byte === lineFeed;
}

function isTokenByte(byte: number): boolean {
  return (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122) || byte === 42;
}

/** A field name directly followed by a colon and white space: what a broken header block goes on with, and text rarely. */
export function looksLikeField(bytes: Buffer, start: number, end: number): boolean {
  const nameEnd = fieldNameEnd(bytes, start, end);
  const after = bytes[nameEnd + 1];
  return nameEnd >= 0 && bytes[nameEnd] === colon && nameEnd + 1 < end && (after === space || after === tab);
}

// ---- where a header begins

/** Fields by which a header is told from text such as `Order: 4711`. Besides these, every `Content-…`. */
const mailFields = new Set([
  'from',
  'to',
  'cc',
  'subject',
  'date',
  'message-id',
  'received',
  'return-path',
  'reply-to',
  'sender',
  'delivered-to',
  'mime-version',
  'in-reply-to',
  'references',
  'dkim-signature',
  'arc-seal',
  'authentication-results',
  'x-mailer',
  'user-agent',
]);

/** Whose header it is: a mail's (or a message's inside it), a part's, or one that is never searched for. */
export type HeaderKind = 'mail' | 'part' | 'exact';

function isKnownField(bytes: Buffer, start: number, end: number, kind: HeaderKind): boolean {
  const nameEnd = fieldNameEnd(bytes, start, end);
  if (nameEnd < 0 || nameEnd - start > 40) return false;
  const name = bytes.toString('latin1', start, nameEnd).toLowerCase();
  return name.startsWith('content-') || (kind === 'mail' && mailFields.has(name));
}

/** Whether the line at `start` begins as a field does. False also while too little of it is there. */
export function startsWithField(bytes: Buffer, start: number): boolean {
  return fieldNameEnd(bytes, start, bytes.length) >= 0;
}

/** Whether `bytes`, the beginning of a message, have a header as it is sent, perhaps behind stray lines. */
export function beginsWithHeader(bytes: Buffer): boolean {
  return typeof findHeader(bytes, 0, true, 'mail') === 'number';
}

/** How far the first lines are searched for a field. */
const maxLeadBytes = 8 * 1024;
/** Empty lines before a header: a gateway adds one, rarely two. */
const maxLeadingBlankLines = 4;

/**
 * Where the header begins that stands at `start`, perhaps behind lines that are no fields: blank lines, `+OK`,
 * `HTTP/1.1 200 OK`, the rest of a Received field. It does when one of the next lines, before an empty one, is a field
 * that mails have. `none`: there is no header, or the line at `start` is not to be passed over; `more`: bytes are needed.
 * A line that `passes` says no to, a delimiter, ends the search.
 */
export function findHeader(
  bytes: Buffer,
  start: number,
  last: boolean,
  kind: HeaderKind,
  passes: (lineStart: number, lineEnd: number) => boolean = () => true,
): number | 'none' | 'more' {
  let firstField = -1;
  let blankLines = 0;
  let junk = false;
  for (let at = start; ; ) {
    const end = findLineEnd(bytes, at);
    if (end === bytes.length && !last && end - start <= maxLeadBytes) return 'more';
    if (at === bytes.length || end - start > maxLeadBytes || !passes(at, end)) return 'none';
    const textEnd = bytes[end - 1] === carriageReturn && end > at ? end - 1 : end;
    const blanks = blanksAt(bytes, at, textEnd);
    const empty = blanks === textEnd - at;
    if (empty && (junk || firstField >= 0 || kind === 'exact' || ++blankLines > maxLeadingBlankLines)) return 'none';
    if (!empty) {
      const indented = blanks > 0 && !junk && firstField < 0;
      if (blanks === 0 && fieldNameEnd(bytes, at, textEnd) >= 0 && firstField < 0) firstField = at;
      if (blanks === 0 && isKnownField(bytes, at, textEnd, kind)) return firstField;
      if (indented && isKnownField(bytes, at + blanks, textEnd, kind)) return at;
      if (bytes[at] === dash && bytes[at + 1] === dash) return 'none';
      junk ||= firstField < 0;
      // An empty line is the whole header of a part, unless fields stand right behind it.
      if (kind === 'part' && junk && blankLines > 0) return 'none';
    }
    at = Math.min(end + 1, bytes.length);
  }
}

/** The fields that the engine reads. Most headers have three times as many others, of which no text is made. */
const readNames = [
  'message-id',
  'date',
  'subject',
  'from',
  'to',
  'cc',
  'content-type',
  'content-disposition',
  'content-transfer-encoding',
  'content-id',
  'content-location',
  'content-description',
];
/** They are told apart as bytes, by their lengths first: it takes a fifth of the time of text and a look into a set. */
const readNamesByLength = new Map<number, readonly string[]>();
for (const { length } of readNames)
  readNamesByLength.set(
    length,
    readNames.filter((name) => name.length === length),
  );

interface FoldedField {
  readonly name: string;
  value: string;
}

/**
 * Those fields of a whole block that the engine reads. Lines that are no fields are left out and noted, fields beyond
 * `maxFields` not read. Time: linear.
 */
export function readFields(block: Buffer, defects: DefectCollector, maxFields: number): readonly HeaderField[] {
  const fields: FoldedField[] = [];
  /** The field that a continuation belongs to; null also when it is not one that is read. */
  let current: FoldedField | null = null;
  let count = 0;
  let fieldStart = -1;
  const indent = indentOf(block, 0, findLineEnd(block, 0));
  if (indent > 0) defects.add('header-indented');
  for (let start = 0; start < block.length; ) {
    const end = findLineEnd(block, start);
    const textEnd = end > start && block[end - 1] === carriageReturn ? end - 1 : end;
    const kind = classifyLine(block, start, end, fieldStart, indent);
    if (kind === 'empty') break;
    if (kind === 'continuation') {
      if (current !== null) current.value += block.toString('latin1', start, textEnd);
    } else if (kind === 'unindented') {
      defects.add('header-continuation-unindented');
      if (current !== null) {
        const glue = unindentedGlue(block, fieldStart, start, textEnd) ?? ' ';
        current.value += glue + block.toString('latin1', start, textEnd);
      }
    } else if (kind === 'field') {
      if (count++ === maxFields) break;
      fieldStart = start + (indent > 0 ? blanksAt(block, start, textEnd) : 0);
      current = readField(block, fieldStart, textEnd);
      if (current !== null) fields.push(current);
    } else if (kind === 'none' && fieldStart >= 0 && current !== null && isFreeText(current.name)) {
      defects.add('header-line-joined');
      current.value += ` ${block.toString('latin1', start, textEnd)}`;
    } else {
      fieldStart = -1;
      if (kind !== 'envelope') defects.add('header-line-malformed');
    }
    start = end + 1;
  }
  for (const field of fields) field.value = stripBlanks(field.value);
  return fields;
}

/** The first line of a field; null when nobody reads it. */
function readField(block: Buffer, start: number, lineEnd: number): FoldedField | null {
  const nameEnd = fieldNameEnd(block, start, lineEnd);
  const names = readNamesByLength.get(nameEnd - start) ?? [];
  const name = names.find((each) => isNameAt(block, start, each));
  if (name === undefined) return null;
  let valueStart = nameEnd;
  while (block[valueStart] !== colon) valueStart++;
  valueStart++;
  return { name, value: block.toString('latin1', valueStart + blanksAt(block, valueStart, lineEnd), lineEnd) };
}

/** Whether `name`, in lower case, stands there in any case. No other byte of a name becomes one of its characters by that bit. */
export function isNameAt(block: Buffer, start: number, name: string): boolean {
  let i = 0;
  while (i < name.length && ((block[start + i] as number) | 0x20) === name.charCodeAt(i)) i++;
  return i === name.length;
}

/** Fields of which a line that lost its indentation can only be the rest. */
function isFreeText(name: string): boolean {
  return name === 'subject' || name === 'from' || name === 'to' || name === 'cc';
}

/** The value of the first field of that name; `name` in lower case. */
export function fieldValue(fields: readonly HeaderField[], name: string): string | null {
  for (const field of fields) if (field.name === name) return field.value;
  return null;
}

function stripBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === space || code === tab;
}
