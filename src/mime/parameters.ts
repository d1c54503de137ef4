/**
 * `value; name=value; …` of Content-Type and Content-Disposition, read leniently. Text carries bytes as Latin-1 code
 * points. Time: linear: what is looked at ahead of a quote or a semicolon never goes past the next one.
 * Spec: RFC 2045 §5.1, RFC 2183.
 */
import { isUtf8 } from 'node:buffer';
import { hasBackslashTrails, isLeadByte, rawIso2022ToUtf8 } from './charset.ts';
import { blankComments, type CommentEnds, findCommentEnds } from './comments.ts';
import type { DefectCollector } from './defects.ts';

export interface Parameter {
  /** Lower case, with its RFC 2231 marks: `filename*0*`. */
  readonly name: string;
  readonly value: string;
  readonly quoted: boolean;
}

export interface ParameterizedValue {
  readonly main: string;
  readonly parameters: readonly Parameter[];
  /** More parameters were there than allowed; the rest is not read. */
  readonly tooMany: boolean;
}

interface Field {
  readonly text: string;
  readonly comments: CommentEnds;
  readonly defects: DefectCollector;
  /** The charset of raw text when a backslash may be half a character in it, else null. */
  readonly twoByteCharset: string | null;
}

interface Read {
  readonly value: string;
  readonly next: number;
}

interface ReadParameterValue extends Read {
  readonly quoted: boolean;
}

/** What a parameter without a semicolon before it must be called, to be told from text. */
const knownNames = new Set(
  (
    'filename name file charset boundary type size format delsp start start-info method report-type protocol micalg ' +
    'creation-date modification-date read-date'
  ).split(' '),
);

const fileNameParameters = new Set(['filename', 'name', 'file']);

/** `textCharset`: what raw bytes are in when they are not UTF-8, as far as anyone knows. */
export function parseParameters(
  value: string,
  maxParameters: number,
  defects: DefectCollector,
  textCharset: string | null = null,
): ParameterizedValue {
  const regular = parseRegular(value, maxParameters);
  if (regular !== null) return regular;
  const text = rawIso2022ToUtf8(value, defects);
  const twoByte = hasBackslashTrails(textCharset) && !isUtf8(Buffer.from(text, 'latin1'));
  const field: Field = { text, comments: findCommentEnds(text), defects, twoByteCharset: twoByte ? textCharset : null };
  const start = readMain(field);
  const parameters: Parameter[] = [];
  let i = skipSeparators(field, start.next);
  while (i < text.length) {
    const nameEnd = findNameEnd(field, i);
    if (text[nameEnd] !== '=') i = skipSeparators(field, nameEnd);
    else if (parameters.length === maxParameters) return { main: start.value, parameters, tooMany: true };
    else {
      const name = readName(text.slice(i, nameEnd), defects);
      const read = readValue(field, nameEnd + 1, fileNameParameters.has(name));
      parameters.push({ name, value: read.value, quoted: read.quoted });
      i = skipSeparators(field, read.next);
    }
  }
  return { main: start.value, parameters, tooMany: false };
}

const equalsSign = 61;
const semicolonSign = 59;
const quoteSign = 34;

/**
 * A field as it should be, which most are, without the care that the others need; null for any other. By character
 * codes, as each part comes by here: expressions with groups took three times as long.
 */
function parseRegular(text: string, maxParameters: number): ParameterizedValue | null {
  const mainEnd = endOfRegular(text, 0);
  const main = text.slice(0, mainEnd);
  if (mainEnd === 0 || main.includes(':') || !endsParameter(text, mainEnd)) return null;
  const parameters: Parameter[] = [];
  for (let at = mainEnd; at < text.length; ) {
    const nameStart = skipBlanks(text, at + 1);
    const nameEnd = endOfParameterName(text, nameStart);
    const behind = nameEnd + 1;
    if (nameEnd === nameStart || behind >= text.length || text.charCodeAt(nameEnd) !== equalsSign) return null;
    const quoted = text.charCodeAt(behind) === quoteSign;
    const valueStart = quoted ? behind + 1 : behind;
    const valueEnd = quoted ? endOfRegularQuoted(text, valueStart) : endOfRegular(text, valueStart);
    const end = quoted ? valueEnd + 1 : valueEnd;
    if ((valueEnd === valueStart && !quoted) || !endsParameter(text, end)) return null;
    if (parameters.length === maxParameters) return null;
    const name = text.slice(nameStart, nameEnd).toLowerCase();
    parameters.push({ name, value: text.slice(valueStart, valueEnd), quoted });
    at = end;
  }
  return { main, parameters, tooMany: false };
}

function endsParameter(text: string, at: number): boolean {
  return at === text.length || (at < text.length && text.charCodeAt(at) === semicolonSign);
}

/** What takes care where it stands unquoted: white space, controls that senders mean something by, and these marks. */
const irregular = new Uint8Array(256);
for (const character of ' \t\n\v\f\r\xa0\x1b;="\'(),\\') irregular[character.charCodeAt(0)] = 1;

function endOfRegular(text: string, from: number): number {
  let end = from;
  while (end < text.length && irregular[text.charCodeAt(end) & 255] === 0) end++;
  return end;
}

/** The quote that ends a string without a backslash or an escape sequence; beyond the text where there is none. */
function endOfRegularQuoted(text: string, from: number): number {
  let end = from;
  while (end < text.length) {
    const code = text.charCodeAt(end);
    if (code === quoteSign) return end;
    if (code === 92 || code === 0x1b) break;
    end++;
  }
  return text.length + 1;
}

function endOfParameterName(text: string, from: number): number {
  let end = from;
  while (end < text.length && isRegularNameCode(text.charCodeAt(end))) end++;
  return end;
}

/** A letter, a digit, a star or a dash. */
function isRegularNameCode(code: number): boolean {
  return isLetter(code) || (code >= 48 && code <= 57) || code === 42 || code === 45;
}

/** Whether a text ends as a file name does: a dot, and two to five letters and digits, at least one letter. */
export function endsLikeFileName(text: string): boolean {
  return /\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,5}$/.test(text.slice(-6));
}

function readMain(field: Field): Read {
  const { text, defects } = field;
  let end = 0;
  while (end < text.length && !endsMain(text.charCodeAt(end))) end = nextOrPastComment(field, end);
  const before = blankComments(text.slice(0, end));
  if (end >= text.length || text[end] === ';') return { value: before.trim(), next: end };
  defects.add('parameter-malformed');
  if (text[end] === '"' && before.trim() === '') return readQuoted(field, end + 1);
  // No semicolon after the type, as in `application/pdf name="x.pdf"`; or no type at all, as in `filename="x.pdf"`.
  const words = before.trim().split(/[ \t]+/);
  if (text[end] === '"') return { value: withoutMark(words[0] as string), next: indexOfOrEnd(text, ';', end) };
  if (words.length < 2) return { value: '', next: 0 };
  return { value: withoutMark(words[0] as string), next: before.lastIndexOf(words.at(-1) as string) };
}

/** `attachment, filename=x` and `attachment: filename=x`. */
function withoutMark(word: string): string {
  return word.replace(/[,:]$/, '');
}

/** A semicolon, an equals sign or a quote. */
function endsMain(code: number): boolean {
  return code === 59 || code === 61 || code === 34;
}

function findNameEnd(field: Field, from: number): number {
  const { text } = field;
  let i = from;
  while (i < text.length && text[i] !== '=' && text[i] !== ';') i = nextOrPastComment(field, i);
  return i;
}

function nextOrPastComment({ text, comments }: Field, at: number): number {
  return text[at] === '(' ? (comments.get(at) ?? at + 1) : at + 1;
}

/** QUIRK: folding in the middle leaves blanks in a name; a word before it is no part of it. */
function readName(text: string, defects: DefectCollector): string {
  const trimmed = text.trim();
  if (/^[A-Za-z0-9*.-]+$/.test(trimmed)) return trimmed.toLowerCase();
  const words = blankComments(text)
    .replaceAll('"', '')
    .trim()
    .toLowerCase()
    .split(/[ \t]+/);
  if (words.length === 1) return words[0] as string;
  const joined = words.join('');
  if (/^\*\d*\*?$/.test(words.slice(1).join(''))) return joined;
  defects.add('parameter-malformed');
  return knownNames.has(joined.split('*', 1)[0] as string) ? joined : (words.at(-1) as string);
}

function readValue(field: Field, from: number, isFileName: boolean): ReadParameterValue {
  const { text, comments, defects } = field;
  let start = skipBlanks(text, from);
  const afterComment = skipBlanks(text, comments.get(start) ?? start);
  if (text[afterComment] === '"') start = afterComment;
  if (text[start] === '"') return { ...readQuoted(field, start + 1), quoted: true };
  const single = isFileName && text[start] === "'" ? readSingleQuoted(field, start + 1) : null;
  if (single === null) return { ...readUnquoted(field, start, isFileName), quoted: false };
  defects.add('parameter-malformed');
  return { ...single, quoted: true };
}

/** Up to a semicolon, a comment, or what reads as another parameter. Blanks belong to it. */
function readUnquoted(field: Field, from: number, isFileName: boolean): Read {
  const { text, comments, defects } = field;
  let end = from;
  /** Text up to here holds no comment that could end the value. */
  let refusedTo = from;
  for (; end < text.length && text[end] !== ';'; end++) {
    if (text[end] === '(' && end >= refusedTo && isBlankAt(text, end - 1)) {
      const after = comments.get(end);
      const isComment = after !== undefined && endsValue(field, after);
      // `Order (copy)` is rather a name than an order with a comment.
      const isPartOfName = isFileName && !endsLikeFileName(text.slice(Math.max(from, end - 8), end).trim());
      if (isComment && !isPartOfName) break;
      refusedTo = after === undefined ? end : skipBlanksAndComments(field, after);
    } else if ((isBlankAt(text, end) && !isBlankAt(text, end - 1)) || text[end] === ',') {
      if (!startsParameter(text, skipBlanks(text, end + 1), 'without-semicolon')) continue;
      defects.add('parameter-malformed');
      break;
    }
  }
  const value = text.slice(from, end).trim();
  if (!isFileName || !value.endsWith('"') || !endsLikeFileName(value.slice(-7, -1))) return { value, next: end };
  defects.add('parameter-malformed');
  return { value: value.slice(0, -1), next: end };
}

/** Null when there is no quote at the end; an apostrophe may begin a name. */
function readSingleQuoted(field: Field, from: number): Read | null {
  const { text } = field;
  for (let i = from; i < text.length; i++) {
    if (text[i] === "'" && endsValue(field, i + 1)) return { value: text.slice(from, i), next: i + 1 };
    if (text[i] === ';' && startsParameter(text, skipBlanks(text, i + 1), 'after-semicolon')) return null;
    if (isBlankAt(text, i) && startsParameter(text, i + 1, 'without-semicolon')) return null;
  }
  return null;
}

/**
 * The text of a quoted string, from behind its first quote. Many senders leave quotes inside as they are: a quote ends
 * the string only where what follows can follow a value.
 */
function readQuoted(field: Field, from: number): Read {
  const { text, defects, twoByteCharset } = field;
  const out: string[] = [];
  let plainFrom = from;
  let innerQuotes = 0;
  let firstQuote = -1;
  /** A semicolon with a parameter behind it: where the string ended, should it turn out to have no quote at its end. */
  let parameterAt = -1;
  const upTo = (end: number): string => out.join('') + text.slice(plainFrom, Math.max(plainFrom, end));
  for (let i = from; i < text.length; i++) {
    const character = text[i];
    if (twoByteCharset !== null && isLeadByte(text.charCodeAt(i), twoByteCharset)) i++;
    else if (character === '\\') {
      // A backslash quotes only a quote or itself: Windows programs send paths with bare backslashes.
      if (text[i + 1] === '"' || text[i + 1] === '\\') {
        out.push(text.slice(plainFrom, i));
        plainFrom = i + 1;
      }
      i++;
    } else if (character === ';') {
      if (parameterAt < 0 && startsParameter(text, skipBlanks(text, i + 1), 'after-semicolon')) parameterAt = i;
    } else if (character === '"') {
      if (endsValue(field, i + 1)) {
        if (text[skipBlanksAndComments(field, i + 1)] !== ';' && skipBlanksAndComments(field, i + 1) < text.length)
          defects.add('parameter-malformed');
        return { value: innerQuotes === 0 ? upTo(i) : withoutOuterQuotes(upTo(i), innerQuotes), next: i + 1 };
      }
      defects.add('parameter-malformed');
      if (parameterAt >= 0 && isBehindEquals(text, i)) return readUnended(field, from, firstQuote, parameterAt);
      const goesOnAt = nextString(field, i);
      if (goesOnAt >= 0) {
        out.push(text.slice(plainFrom, i));
        i = goesOnAt;
        plainFrom = i + 1;
        continue;
      }
      if (firstQuote < 0) firstQuote = i;
      innerQuotes++;
      // A doubled quote, as in CSV, is one.
      if (i > from && text[i + 1] === '"' && !endsValue(field, i + 2)) {
        out.push(text.slice(plainFrom, i));
        plainFrom = ++i;
      }
    }
  }
  defects.add('parameter-malformed');
  return readUnended(field, from, firstQuote, parameterAt);
}

/** A string without a quote at its end: it ends before the next parameter, or at a quote with something else behind it. */
function readUnended({ text }: Field, from: number, firstQuote: number, parameterAt: number): Read {
  const end = parameterAt >= 0 ? parameterAt : text.length;
  const whole = withoutBackslashes(text.slice(from, end).trim());
  if (firstQuote < 0 || firstQuote > end) return { value: withoutSemicolon(whole), next: end };
  const quoted = withoutBackslashes(text.slice(from, firstQuote));
  return !endsLikeFileName(quoted) && endsLikeFileName(whole)
    ? { value: whole, next: end }
    : { value: quoted, next: indexOfOrEnd(text, ';', firstQuote) };
}

function withoutBackslashes(text: string): string {
  return text.replace(/\\(["\\])/g, '$1');
}

function withoutSemicolon(text: string): string {
  return text.endsWith(';') && endsLikeFileName(text.slice(0, -1)) ? text.slice(0, -1) : text;
}

/** `""order.pdf""` was quoted twice. */
function withoutOuterQuotes(text: string, innerQuotes: number): string {
  return innerQuotes === 2 && text.length > 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

/**
 * Where a second quoted string begins that goes on with the one which ends at `quote`, else -1. QUIRK: some senders
 * quote each encoded word, or each line, on its own.
 */
function nextString(field: Field, quote: number): number {
  const { text } = field;
  const open = skipBlanks(text, quote + 1);
  if (text[open] !== '"') return -1;
  if (open === quote + 1) return text.startsWith('?=""=?', quote - 2) ? open : -1;
  const close = text.indexOf('"', open + 1);
  if (close < 0) return -1;
  return endsValue(field, close + 1) || text[skipBlanks(text, close + 1)] === '"' ? open : -1;
}

/** Whether a value can end before `at`: there is nothing, or a semicolon with nothing or a parameter, or a parameter. */
function endsValue(field: Field, at: number): boolean {
  const { text } = field;
  const next = skipBlanksAndComments(field, at);
  if (next >= text.length) return true;
  if (text[next] !== ';' && text[next] !== ',') return startsParameter(text, next, 'without-semicolon');
  const after = skipSeparators(field, next);
  if (after >= text.length) return true;
  return text[next] === ';'
    ? startsParameter(text, after, 'after-semicolon') || isBareWord(text, after)
    : startsParameter(text, after, 'without-semicolon');
}

/** `name=`; without a semicolon before it, only a known name or a quoted value tells it from text. */
function startsParameter(text: string, at: number, where: 'after-semicolon' | 'without-semicolon'): boolean {
  let end = at;
  while (end < text.length && isNameCode(text.charCodeAt(end))) end++;
  const equals = skipBlanks(text, end);
  if (end === at || text[equals] !== '=') return false;
  if (where === 'after-semicolon') return true;
  const base = text.slice(at, end).toLowerCase().split('*', 1)[0] as string;
  return knownNames.has(base) || base.startsWith('x-') || text[skipBlanks(text, equals + 1)] === '"';
}

/** A word between two semicolons, or at the end: no parameter, and no part of a name. */
function isBareWord(text: string, at: number): boolean {
  let end = at;
  while (end < text.length && isLetter(text.charCodeAt(end))) end++;
  const next = skipBlanks(text, end);
  return end > at && (next === text.length || text[next] === ';');
}

function isBehindEquals(text: string, at: number): boolean {
  let before = at - 1;
  while (isBlankAt(text, before)) before--;
  return text[before] === '=';
}

/** Blanks, semicolons, commas and comments. */
function skipSeparators({ text, comments }: Field, from: number): number {
  let i = from;
  for (;;) {
    const character = text[i];
    if (isBlankAt(text, i) || character === ';' || character === ',') i++;
    else if (character === '(' && comments.has(i)) i = comments.get(i) as number;
    else return i;
  }
}

function skipBlanksAndComments({ text, comments }: Field, from: number): number {
  let i = skipBlanks(text, from);
  while (text[i] === '(' && comments.has(i)) i = skipBlanks(text, comments.get(i) as number);
  return i;
}

function skipBlanks(text: string, from: number): number {
  let i = from;
  while (i < text.length && isBlankAt(text, i)) i++;
  return i;
}

function isBlankAt(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 32 || code === 9 || code === 13 || code === 10;
}

function isLetter(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
}

/** Letters, digits, and the marks in names of parameters: `*`, `-`, `.`, `_`. */
function isNameCode(code: number): boolean {
  return isLetter(code) || (code >= 48 && code <= 57) || code === 42 || code === 45 || code === 46 || code === 95;
}

function indexOfOrEnd(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at < 0 ? text.length : at;
}
