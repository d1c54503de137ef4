/**
 * The decoded value of a parameter: its RFC 2231 form first, then the plain one with encoded words, which many senders
 * write though RFC 2047 §5 forbids. Time: linear. Spec: RFC 2231 §3–§5.
 */
import { decodeText, decodeUndeclared, isAscii, isKnownCharset } from './charset.ts';
import type { DefectCollector } from './defects.ts';
import { decodeEncodedWords, looksEncoded, unescapeHex } from './encoded-words.ts';
import type { Parameter } from './parameters.ts';
import type { DefectCode } from './types.ts';

/** One of the values a parameter was sent with. */
export interface Candidate {
  readonly text: string;
  /** In the extended form, with bytes that are invalid in the charset it declares. */
  readonly damaged: boolean;
  /** In no charset of its own: senders write what they cannot write there as question marks. */
  readonly plain: boolean;
  readonly defects: ReadonlySet<DefectCode>;
}

/** The decoded value of `name`, null when it is not there or empty. `textCharset`: that of raw bytes, if known. */
export function parameterValue(
  parameters: readonly Parameter[],
  name: string,
  defects: DefectCollector,
  textCharset: string | null = null,
): string | null {
  const atOnce = simpleValue(parameters, name);
  if (atOnce !== undefined) return atOnce;
  let damaged: Candidate | null = null;
  for (const candidate of parameterCandidates(parameters, name, textCharset)) {
    for (const code of candidate.defects) defects.add(code);
    if (!candidate.damaged) return candidate.text;
    damaged ??= candidate;
  }
  return damaged?.text ?? null;
}

/** Text that no rule here would change: most values are that. */
const simple = /^[A-Za-z0-9][A-Za-z0-9 ._()+,-]*$/;

/** The value of `name` when it stands there once and needs no decoding; null when it is absent, else undefined. */
export function simpleValue(parameters: readonly Parameter[], name: string): string | null | undefined {
  let found: Parameter | null = null;
  for (const parameter of parameters) {
    if (!parameter.name.startsWith(name)) continue;
    if (found !== null || parameter.name !== name) return undefined;
    found = parameter;
  }
  if (found === null) return null;
  return simple.test(found.value) ? found.value : undefined;
}

/** Every value of `name` that is not empty, the best form first; those after the one that is used are not decoded. */
export function* parameterCandidates(
  parameters: readonly Parameter[],
  name: string,
  textCharset: string | null,
): Generator<Candidate> {
  const starred = `${name}*`;
  const related = parameters.filter((parameter) => parameter.name === name || parameter.name.startsWith(starred));
  if (related.length === 0) return;
  const extended = related.filter((parameter) => parameter.name === starred).map(({ value }) => value);
  for (const value of extended) {
    const split = splitCharset(value);
    if (split !== null) yield* filled(false, (defects) => decodeSplit(split, defects, textCharset));
  }
  if (related.some((parameter) => parameter.name !== name)) {
    const isPlain = !related.some((parameter) => /\*\d+\*$/.test(parameter.name));
    const { sections, isCut, defects: ofSections } = collectSections(related, starred);
    const decode = (defects: DefectCollector): string => {
      for (const code of ofSections) defects.add(code);
      return sections.length === 0 ? '' : decodeSections(sections, defects, textCharset);
    };
    for (const candidate of filled(isPlain, decode)) yield isCut ? { ...candidate, damaged: true } : candidate;
  }
  for (const { name: form, value } of related) {
    if (form === name) yield* filled(true, (defects) => decodePlain(value, defects, textCharset));
  }
  for (const value of extended) {
    if (splitCharset(value) === null)
      yield* filled(false, (defects) => decodeWithoutCharset(value, defects, textCharset));
  }
}

function* filled(plain: boolean, decode: (defects: DefectCollector) => string): Generator<Candidate> {
  const defects: DefectCollector = new Set();
  const text = decode(defects);
  if (text.trim() !== '') yield { text, damaged: !plain && defects.has('charset-bytes-invalid'), plain, defects };
}

interface Split {
  readonly charset: string;
  readonly rest: string;
  /** Not `charset'language'rest` as it should be. */
  readonly bent: boolean;
}

/** `charset'language'percent-encoded`, also with one apostrophe, and with double quotes for apostrophes. */
function splitCharset(value: string): Split | null {
  // Some senders put the whole into apostrophes.
  const text = value.startsWith("'") && isKnownCharset(leadingLabel(value.slice(1))) ? value.slice(1) : value;
  const label = leadingLabel(text);
  const mark = text[label.length];
  if (mark !== "'" && mark !== '"') return null;
  const behind = text.slice(label.length + 1);
  const language = /^(?:[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3})?(?=['"])/.exec(behind);
  const isCharset = isKnownCharset(label);
  if (language === null) {
    return isCharset && /[A-Za-z]/.test(label) ? { charset: label, rest: behind, bent: true } : null;
  }
  const wellFormed = mark === "'" && behind[language[0].length] === "'" && text === value;
  // An unknown charset has a digit or a dash in its name; `rock''n''roll.pdf` has none.
  if (!isCharset && !(wellFormed && (label === '' || /[0-9-]/.test(label)))) return null;
  const rest = behind.slice(language[0].length + 1);
  return { charset: label, rest: text !== value && rest.endsWith("'") ? rest.slice(0, -1) : rest, bent: !wellFormed };
}

function leadingLabel(text: string): string {
  return /^[A-Za-z0-9._:+-]{0,40}/.exec(text)?.[0] ?? '';
}

function decodeSplit(split: Split, defects: DefectCollector, textCharset: string | null): string {
  if (split.bent) defects.add('parameter-malformed');
  const text = unescapePercent(withoutQuotes(split.rest, defects), defects);
  return decodeBytes(text, split.charset, defects, textCharset);
}

/** QUIRK: quotes around what follows the charset: `utf-8''"a.pdf"`. */
function withoutQuotes(text: string, defects: DefectCollector): string {
  if (text.length < 2 || !text.startsWith('"') || !text.endsWith('"')) return text;
  defects.add('parameter-malformed');
  return text.slice(1, -1);
}

/** An empty charset is UTF-8. QUIRK: encoded words where only percent escapes belong. */
function decodeBytes(text: string, charset: string, defects: DefectCollector, textCharset: string | null): string {
  if (isAscii(text) && looksEncoded(text)) {
    defects.add('parameter-malformed');
    return decodeEncodedWords(text, defects, textCharset);
  }
  return decodeText(Buffer.from(text, 'latin1'), charset || 'utf-8', defects);
}

/** QUIRK: `filename=utf-8''%C3%BC.pdf`, the extended form without its star. */
function decodePlain(value: string, defects: DefectCollector, textCharset: string | null): string {
  const split = /^[A-Za-z0-9._:+-]{1,40}'[A-Za-z-]{0,12}'/.test(value) ? splitCharset(value) : null;
  if (split === null || !isKnownCharset(split.charset)) return decodeEncodedWords(value, defects, textCharset);
  defects.add('parameter-malformed');
  return decodeSplit(split, defects, textCharset);
}

/** QUIRK: the extended form without a charset: percent escapes of UTF-8, or encoded words. */
function decodeWithoutCharset(value: string, defects: DefectCollector, textCharset: string | null): string {
  defects.add('parameter-malformed');
  return decodeEncodedWords(unescapePercent(value, defects), defects, textCharset);
}

interface Section {
  readonly index: number;
  readonly encoded: boolean;
  readonly quoted: boolean;
  readonly value: string;
}

interface CollectedSections {
  readonly sections: readonly Section[];
  /** One in the middle is missing, and what stands behind it left out. */
  readonly isCut: boolean;
  readonly defects: DefectCollector;
}

/** In the order of their numbers, whatever order they came in; of a number given twice the first that is not empty. */
function collectSections(parameters: readonly Parameter[], starred: string): CollectedSections {
  const defects: DefectCollector = new Set();
  const byIndex = new Map<number, Section>();
  for (const { name, value, quoted } of parameters) {
    const match = /^(\d{1,9})(\*?)$/.exec(name.slice(starred.length));
    if (match === null || !name.startsWith(starred)) continue;
    const index = Number(match[1]);
    const known = byIndex.get(index);
    if (known !== undefined) defects.add('parameter-malformed');
    if (known === undefined || known.value === '')
      byIndex.set(index, { index, encoded: match[2] === '*', quoted, value });
  }
  const sorted = [...byIndex.values()].sort((a, b) => a.index - b.index);
  const gap = sorted.findIndex((section, i) => section.index !== i);
  if (gap < 0) return { sections: sorted, isCut: false, defects };
  defects.add('parameter-malformed');
  return { sections: gap === 0 ? sorted : sorted.slice(0, gap), isCut: gap > 0, defects };
}

function decodeSections(sections: readonly Section[], defects: DefectCollector, textCharset: string | null): string {
  const first = sections[0] as Section;
  const split = splitCharset(first.value);
  const starless = !first.encoded && split !== null && !split.bent && isKnownCharset(split.charset);
  if (!starless && !sections.some((section) => section.encoded)) {
    return decodeEncodedWords(sections.map((section) => section.value).join(''), defects, textCharset);
  }
  const charset = first.encoded || starless ? (split?.charset ?? null) : null;
  if (starless || split?.bent || (first.encoded && split === null)) defects.add('parameter-malformed');
  const pieces = sections.map((section, i): Piece => {
    const escaped = section.encoded || (starless && i === 0);
    const rest = charset === null ? section.value : withoutCharset(section.value, i, split, charset);
    return { escaped, missesStar: !escaped && charset !== null && looksEscaped(section, starless), text: rest };
  });
  if (pieces.some((piece) => piece.missesStar)) {
    const ofMending: DefectCollector = new Set(['parameter-malformed']);
    const mended = decodePieces(pieces, true, charset, ofMending, textCharset);
    if (!ofMending.has('charset-bytes-invalid')) {
      for (const code of ofMending) defects.add(code);
      return mended;
    }
  }
  return decodePieces(pieces, false, charset, defects, textCharset);
}

interface Piece {
  readonly escaped: boolean;
  /** Plain by its name, percent-encoded by its look. */
  readonly missesStar: boolean;
  readonly text: string;
}

/** Pieces with escapes are joined before these are read: some senders cut inside one. */
function decodePieces(
  pieces: readonly Piece[],
  mend: boolean,
  charset: string | null,
  defects: DefectCollector,
  textCharset: string | null,
): string {
  const out: string[] = [];
  let escaped: string[] = [];
  const flush = () => {
    out.push(unescapePercent(escaped.join(''), defects));
    escaped = [];
  };
  for (const piece of pieces) {
    if (piece.escaped || (mend && piece.missesStar)) escaped.push(piece.text);
    else {
      flush();
      out.push(piece.text);
    }
  }
  flush();
  const text = out.join('');
  if (charset !== null) return decodeBytes(text, charset, defects, textCharset);
  return isAscii(text) ? text : decodeUndeclared(Buffer.from(text, 'latin1'), defects, textCharset);
}

/** QUIRK: some senders repeat the charset in each section. */
function withoutCharset(value: string, index: number, split: Split | null, charset: string): string {
  if (index === 0) return split?.rest ?? value;
  return charset !== '' && value.startsWith(`${charset}''`) ? value.slice(charset.length + 2) : value;
}

/**
 * A section without its star whose percent signs are all escapes. In a quoted one, `%20` may be what the file is called;
 * an escape of a character beyond ASCII is none of that.
 */
function looksEscaped({ value, quoted }: Section, starless: boolean): boolean {
  if (!value.includes('%') || /%(?![0-9A-Fa-f]{2})/.test(value)) return false;
  return starless || !quoted || /%[89A-Fa-f]/.test(value);
}

function unescapePercent(value: string, defects: DefectCollector): string {
  return value.includes('%') ? unescapeHex(value, '%', () => defects.add('parameter-malformed')) : value;
}
