/**
 * The name of a part, out of all the places where senders put one. The first that is not empty counts; one whose
 * characters were lost on the way gives way to one that has them.
 */
import type { DefectCollector } from './defects.ts';
import { collapseControls, decodeEncodedWords } from './encoded-words.ts';
import { type Candidate, parameterCandidates, simpleValue } from './parameter-values.ts';
import { endsLikeFileName, type ParameterizedValue } from './parameters.ts';
import type { DefectCode } from './types.ts';

export interface NamePlaces {
  readonly disposition: ParameterizedValue | null;
  readonly type: ParameterizedValue | null;
  /** Of Content-Description, raw. */
  readonly description: string | null;
  /** The charset of raw bytes that are not UTF-8, as far as anyone knows. */
  readonly textCharset: string | null;
}

/** A description that is longer or has more words is prose. */
const maxDescriptionLength = 200;
const maxDescriptionWords = 12;

export function readFileName(places: NamePlaces, defects: DefectCollector): string | null {
  const atOnce = simpleName(places);
  if (atOnce !== undefined) return atOnce;
  let first: Candidate | null = null;
  for (const candidate of nameCandidates(places)) {
    if (first === null) addAll(defects, candidate.defects);
    if (first === null && !candidate.damaged && !hasLost(candidate)) return nameText(candidate);
    if (first === null) first = candidate;
    else if (replaces(candidate, first)) {
      addAll(defects, candidate.defects);
      if (!first.damaged) defects.add('file-name-damaged');
      return nameText(candidate);
    }
  }
  return first === null ? null : nameText(first);
}

/** The name when the first place that has one has nothing to decode; null when there is none, else undefined. */
function simpleName(places: NamePlaces): string | null | undefined {
  for (const [field, name] of parameterPlaces) {
    const value = simpleValue(places[field]?.parameters ?? [], name);
    if (value !== null) return value;
  }
  return places.description === null ? null : undefined;
}

/** Whether a field names a file, as far as a choice between two fields needs to know. */
export function namesFile(field: ParameterizedValue): boolean {
  const noted: NamePlaces = { disposition: field, type: null, description: null, textCharset: null };
  return !nameCandidates(noted).next().done;
}

/** Where names stand, the best place first. */
const parameterPlaces = [
  ['disposition', 'filename'],
  ['disposition', 'name'],
  ['type', 'name'],
  ['type', 'filename'],
  ['type', 'file'],
  ['disposition', 'file'],
] as const;

function* nameCandidates(places: NamePlaces): Generator<Candidate> {
  const { description, textCharset } = places;
  for (const [field, name] of parameterPlaces) {
    const parameters = places[field]?.parameters ?? [];
    if (simpleValue(parameters, name) === null) continue;
    for (const candidate of parameterCandidates(parameters, name, textCharset)) {
      if (nameText(candidate).trim() !== '') yield candidate;
    }
  }
  const described = description === null ? null : readDescription(description, textCharset);
  if (described !== null) yield described;
}

/** QUIRK: some senders put the name into Content-Description only, where others put a line of prose. */
function readDescription(description: string, textCharset: string | null): Candidate | null {
  const defects: DefectCollector = new Set();
  const text = decodeEncodedWords(description, defects, textCharset)
    .trim()
    .replace(/^"(.*)"$/, '$1');
  if (text.length > maxDescriptionLength || !endsLikeFileName(text)) return null;
  const isProse = /[.:;,!?]\s|:\/\/|@/.test(text) || text.split(/\s+/).length > maxDescriptionWords;
  const isDomain = /(?:^www\.|\.(?:com|org|net)$)/i.test(text);
  return isProse || isDomain ? null : { text, damaged: false, plain: true, defects };
}

function nameText(candidate: Candidate): string {
  return collapseControls(candidate.text);
}

/** Characters that someone on the way replaced. */
function hasLost({ text, plain }: Candidate): boolean {
  return text.includes('\ufffd') || (plain && text.includes('?'));
}

/**
 * Whether `candidate` is the name that `damaged` was. One question mark may be part of a name (but on Windows), so it
 * takes a name that has a character beyond ASCII in its place; more of them in a row are no name.
 */
function replaces(candidate: Candidate, damaged: Candidate): boolean {
  if (candidate.damaged || hasLost(candidate)) return false;
  if (damaged.damaged || /\ufffd|\?\?/.test(damaged.text)) return true;
  return fitsLostCharacters(candidate.text, damaged.text);
}

/** Whether the text is `damaged` with something beyond ASCII for each run of question marks. */
function fitsLostCharacters(text: string, damaged: string): boolean {
  const kept = damaged.split(/\?+/);
  let at = 0;
  for (const [i, piece] of kept.entries()) {
    const found = i === kept.length - 1 ? text.length - piece.length : text.indexOf(piece, i === 0 ? 0 : at + 1);
    if (found < at || (i === 0 && found !== 0) || !text.startsWith(piece, found)) return false;
    if (i > 0 && !/[^\0-\x7f]/.test(text.slice(at, found))) return false;
    at = found + piece.length;
  }
  return true;
}

function addAll(defects: DefectCollector, codes: ReadonlySet<DefectCode>): void {
  for (const code of codes) defects.add(code);
}
