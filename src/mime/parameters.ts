/**
 * `value; name=value; …` of Content-Type and Content-Disposition, read leniently, and the decoded value of one name:
 * its RFC 2231 form first, then the plain one with encoded words, which many senders write though RFC 2047 §5 forbids.
 * Text carries bytes as Latin-1 code points until it is decoded. Time: linear. Spec: RFC 2045 §5.1, RFC 2183, RFC 2231.
 */
import { decodeText, decodeUndeclared, isAscii } from './charset.ts';
import type { DefectCollector } from './defects.ts';
import { decodeEncodedWords, unescapeHex } from './encoded-words.ts';

export interface Parameter {
  /** Lower case, with its RFC 2231 marks: `filename*0*`. */
  readonly name: string;
  readonly value: string;
}

export interface ParameterizedValue {
  readonly main: string;
  readonly parameters: readonly Parameter[];
  /** More parameters were there than allowed; the rest is not read. */
  readonly tooMany: boolean;
}

export function parseParameters(field: string, maxParameters: number, defects: DefectCollector): ParameterizedValue {
  const start = readMain(field, defects);
  const parameters: Parameter[] = [];
  let i = start.next;
  while (i < field.length) {
    while (i < field.length && isSeparator(field.charCodeAt(i))) i++;
    if (i >= field.length) break;
    const nameEnd = indexOfAny(field, '=', ';', i);
    if (field[nameEnd] !== '=') {
      i = nameEnd;
      continue;
    }
    if (parameters.length === maxParameters) return { main: start.main, parameters, tooMany: true };
    const name = field.slice(i, nameEnd).trim().toLowerCase();
    const read = readValue(field, nameEnd + 1, defects);
    parameters.push({ name, value: read.value });
    i = read.next;
  }
  return { main: start.main, parameters, tooMany: false };
}

function readMain(field: string, defects: DefectCollector): { main: string; next: number } {
  let end = 0;
  while (end < field.length && !endsMain(field.charCodeAt(end))) end++;
  if (end >= field.length || field[end] === ';') return { main: field.slice(0, end).trim(), next: end };
  defects.add('parameter-malformed');
  // No semicolon after the type, as in `application/pdf name="x.pdf"`; or no type at all, as in `filename="x.pdf"`.
  const words = /^\s*(\S+)[ \t]+([A-Za-z0-9*]+)$/.exec(field.slice(0, end));
  if (field[end] !== '=' || words === null) return { main: '', next: 0 };
  return { main: words[1] as string, next: end - (words[2] as string).length };
}

/** Semicolons and white space. */
function isSeparator(code: number): boolean {
  return code === 59 || code === 32 || code === 9 || code === 13 || code === 10;
}

/** A semicolon, an equals sign or a quote. */
function endsMain(code: number): boolean {
  return code === 59 || code === 61 || code === 34;
}

function readValue(field: string, from: number, defects: DefectCollector): { value: string; next: number } {
  let i = from;
  while (field[i] === ' ' || field[i] === '\t') i++;
  if (field[i] === '"') return readQuoted(field, i + 1, defects);
  const end = indexOfOrEnd(field, ';', i);
  return { value: field.slice(i, end).trim(), next: end };
}

function readQuoted(field: string, from: number, defects: DefectCollector): { value: string; next: number } {
  let value = '';
  let i = from;
  let plainFrom = from;
  while (i < field.length && field[i] !== '"') {
    // A backslash quotes only a quote or itself: Windows programs send paths with bare backslashes.
    if (field[i] === '\\' && i + 1 < field.length) {
      if (field[i + 1] === '"' || field[i + 1] === '\\') {
        value += field.slice(plainFrom, i);
        plainFrom = i + 1;
      }
      i++;
    }
    i++;
  }
  value += field.slice(plainFrom, i);
  const next = indexOfOrEnd(field, ';', i);
  if (i >= field.length || field.slice(i + 1, next).trim() !== '') defects.add('parameter-malformed');
  return { value, next };
}

/** The decoded value of `name`, null when it is not there. */
export function parameterValue(
  parameters: readonly Parameter[],
  name: string,
  defects: DefectCollector,
): string | null {
  if (!parameters.some((parameter) => parameter.name.startsWith(name))) return null;
  const starred = `${name}*`;
  const extended = parameters.find((parameter) => parameter.name === starred);
  const plain = parameters.find((parameter) => parameter.name === name);
  if (extended !== undefined) return decodeExtended(extended.value, plain?.value ?? null, defects);
  const sections = collectSections(parameters, starred, defects);
  if (sections.length > 0) return decodeSections(sections, defects);
  return plain === undefined ? null : decodeEncodedWords(plain.value, defects);
}

/** `charset'language'percent-encoded`; QUIRK: without the two quotes the plain form wins, else it is read as text. */
function decodeExtended(value: string, plain: string | null, defects: DefectCollector): string {
  const split = splitCharset(value);
  if (split === null) {
    defects.add('parameter-malformed');
    if (plain !== null) return decodeEncodedWords(plain, defects);
    return decodeEncodedWords(unescapePercent(value, defects), defects);
  }
  return decodeText(Buffer.from(unescapePercent(split.rest, defects), 'latin1'), split.charset || 'us-ascii', defects);
}

interface Section {
  readonly index: number;
  readonly encoded: boolean;
  readonly value: string;
}

/** In the order of their numbers, whatever order they came in; a number given twice counts once. */
function collectSections(
  parameters: readonly Parameter[],
  starred: string,
  defects: DefectCollector,
): readonly Section[] {
  const byIndex = new Map<number, Section>();
  for (const parameter of parameters) {
    if (!parameter.name.startsWith(starred)) continue;
    const match = /^(\d{1,9})(\*?)$/.exec(parameter.name.slice(starred.length));
    if (match === null) continue;
    const index = Number(match[1]);
    if (byIndex.has(index)) defects.add('parameter-malformed');
    else byIndex.set(index, { index, encoded: match[2] === '*', value: parameter.value });
  }
  const sorted = [...byIndex.values()].sort((a, b) => a.index - b.index);
  const gap = sorted.findIndex((section, i) => section.index !== i);
  if (gap < 0) return sorted;
  defects.add('parameter-malformed');
  return gap === 0 ? sorted : sorted.slice(0, gap);
}

function decodeSections(sections: readonly Section[], defects: DefectCollector): string {
  if (!sections.some((section) => section.encoded)) {
    return decodeEncodedWords(sections.map((section) => section.value).join(''), defects);
  }
  let charset: string | null = null;
  const texts = sections.map((section, i) => {
    if (!section.encoded) return section.value;
    const split = i === 0 ? splitCharset(section.value) : null;
    if (i === 0 && split === null) defects.add('parameter-malformed');
    if (split !== null) charset = split.charset;
    return unescapePercent(split === null ? section.value : split.rest, defects);
  });
  const text = texts.join('');
  const bytes = Buffer.from(text, 'latin1');
  if (charset) return decodeText(bytes, charset, defects);
  return isAscii(text) ? text : decodeUndeclared(bytes, defects);
}

function splitCharset(value: string): { charset: string; rest: string } | null {
  const first = value.indexOf("'");
  const second = first < 0 ? -1 : value.indexOf("'", first + 1);
  return second < 0 ? null : { charset: value.slice(0, first), rest: value.slice(second + 1) };
}

function unescapePercent(value: string, defects: DefectCollector): string {
  return value.includes('%') ? unescapeHex(value, '%', () => defects.add('parameter-malformed')) : value;
}

function indexOfAny(text: string, a: string, b: string, from: number): number {
  let i = from;
  while (i < text.length && text[i] !== a && text[i] !== b) i++;
  return i;
}

function indexOfOrEnd(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at < 0 ? text.length : at;
}
