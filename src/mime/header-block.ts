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

/** What the line [start, end) is, its line feed not counted. */
export function classifyLine(bytes: Buffer, start: number, end: number, inField: boolean): HeaderLine {
  const last = end > start && bytes[end - 1] === carriageReturn ? end - 1 : end;
  if (last === start) return 'empty';
  const first = bytes[start] as number;
  if (first === space || first === tab) return inField ? 'continuation' : 'none';
  if (fieldNameEnd(bytes, start, last) >= 0) return 'field';
  if (isEnvelopeLine(bytes, start, last)) return 'envelope';
  if (inField && goesOnUnindented(bytes, start, last)) return 'unindented';
  return first === dash && bytes[start + 1] === dash ? 'dashes' : 'none';
}

/** RFC 5322 §2.1.1 ends a line after 998 characters: what has no colon by then is no field, however it goes on. */
export const maxFieldNameBytes = 998;

/** Where the name ends when the line starts a field (white space may stand before the colon), else -1. */
function fieldNameEnd(bytes: Buffer, start: number, lineEnd: number): number {
  const end = Math.min(lineEnd, start + maxFieldNameBytes);
  let i = start;
  while (i < end && isNameByte(bytes[i] as number)) i++;
  if (i === start) return -1;
  const nameEnd = i;
  while (i < end && (bytes[i] === space || bytes[i] === tab)) i++;
  return bytes[i] === colon && i < end ? nameEnd : -1;
}

function isNameByte(byte: number): boolean {
  return byte > 32 && byte < 127 && byte !== colon;
}

/** `From x@y Mon …` of a mailbox file, also quoted. */
function isEnvelopeLine(bytes: Buffer, start: number, end: number): boolean {
  const at = bytes[start] === 0x3e ? start + 1 : start;
  return end - at >= 5 && bytes.toString('latin1', at, at + 5) === 'From ';
}

/** QUIRK: some gateways fold without white space: a line `filename="x.pdf"` after one that ends in a semicolon. */
function goesOnUnindented(bytes: Buffer, start: number, lineEnd: number): boolean {
  let before = start - 1;
  while (before > 0 && isBlankByte(bytes[before] as number)) before--;
  if (bytes[before] !== semicolon) return false;
  let i = start;
  const end = Math.min(lineEnd, start + maxFieldNameBytes);
  while (i < end && isTokenByte(bytes[i] as number)) i++;
  return i > start && i < end && bytes[i] === 0x3d;
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

/** The fields of a whole block. Lines that are none are left out and noted, fields beyond `maxFields` not read. Time: linear. */
export function readFields(block: Buffer, defects: DefectCollector, maxFields: number): readonly HeaderField[] {
  const folded: { readonly name: string; readonly pieces: string[] }[] = [];
  let inField = false;
  for (let start = 0; start < block.length; ) {
    const at = block.indexOf(lineFeed, start);
    const end = at < 0 ? block.length : at;
    const textEnd = end > start && block[end - 1] === carriageReturn ? end - 1 : end;
    const kind = classifyLine(block, start, end, inField);
    if (kind === 'empty') break;
    if (kind === 'continuation' || kind === 'unindented') {
      if (kind === 'unindented') defects.add('header-continuation-unindented');
      folded.at(-1)?.pieces.push(block.toString('latin1', start, textEnd));
    } else if (kind === 'field') {
      if (folded.length === maxFields) break;
      const nameEnd = fieldNameEnd(block, start, textEnd);
      const name = block.toString('latin1', start, nameEnd).toLowerCase();
      folded.push({ name, pieces: [block.toString('latin1', block.indexOf(colon, nameEnd) + 1, textEnd)] });
      inField = true;
    } else {
      inField = false;
      if (kind !== 'envelope') defects.add('header-line-malformed');
    }
    start = end + 1;
  }
  return folded.map(({ name, pieces }) => ({ name, value: stripBlanks(pieces.join('')) }));
}

/** The value of the first field of that name; `name` in lower case. */
export function fieldValue(fields: readonly HeaderField[], name: string): string | null {
  return fields.find((field) => field.name === name)?.value ?? null;
}

function stripBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && (text[start] === ' ' || text[start] === '\t')) start++;
  while (end > start && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--;
  return text.slice(start, end);
}
