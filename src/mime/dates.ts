/**
 * The Date field in its present form, the obsolete ones, and those that programs write by a format of their own: ISO
 * 8601, `date`, JavaScript, AM and PM, German and French months. A date without a zone is read as UTC. A zone that is not
 * known gives no date, and neither do numbers whose order is not known (`03/11/2026`): a wrong instant is worse than
 * none. Spec: RFC 5322 §3.3, §4.3.
 */
import { agreedMinutes, namedZoneMinutes, offsetMinutes, zoneMinutes } from './date-zones.ts';

/** Longest form: `Wednesday, 21 September 2022 14:30:00 +0000 (Central European Standard Time)`. */
const maxDateLength = 1_000;

/** Any beginning of a name will do, when it is long enough and no other month begins so. */
const monthNames: readonly (readonly string[])[] = [
  ['january', 'januar', 'jänner', 'janvier'],
  ['february', 'februar', 'février'],
  ['march', 'märz', 'mrz', 'mars'],
  ['april', 'avril'],
  ['may', 'mai'],
  ['june', 'juni', 'juin'],
  ['july', 'juli', 'juillet'],
  ['august', 'août'],
  ['september', 'septembre'],
  ['october', 'oktober', 'octobre'],
  ['november', 'novembre'],
  ['december', 'dezember', 'décembre'],
];
const minMonthLetters = 3;
/** Each such beginning; null where two months begin so. */
const monthOfBeginning = new Map<string, number | null>();
for (const [month, names] of monthNames.entries()) {
  for (const name of names) {
    for (let length = minMonthLetters; length <= name.length; length++) {
      const beginning = name.slice(0, length);
      const known = monthOfBeginning.get(beginning);
      monthOfBeginning.set(beginning, known === undefined || known === month ? month : null);
    }
  }
}

const dayName = /^(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?$/;
/** Words between date and time that say nothing. */
const fillers = new Set(['at', 'um', 'uhr', 'à']);

interface Clock {
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly millisecond: number;
}

/** What has been read of a date. */
interface Found {
  day?: number;
  month?: number;
  year?: number;
  clock?: Clock;
  meridiem?: 'am' | 'pm';
  /** Minutes from UTC. */
  offset?: number;
  zone?: number | 'unknown';
}

/** What nearly every mail has; read in a tenth of the time. The long way gives the same. */
const regular =
  /^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?(\d{1,2}) ([A-Z][a-z]{2}) ([1-9]\d{3}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)([0-5]\d)(?: \([A-Za-z0-9 +:-]{1,40}\))?$/;
const monthIndexes: ReadonlyMap<string, number> = new Map(
  ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'].map((name, i) => [name, i]),
);

/** `text` is decoded. Null when it is no date, or when the instant is not certain. */
export function parseDate(text: string): Date | null {
  const match = regular.exec(text);
  const month = match === null ? undefined : monthIndexes.get(match[2] as string);
  if (match === null || month === undefined) return parseIrregularDate(text);
  const clock = { hour: Number(match[4]), minute: Number(match[5]), second: Number(match[6]), millisecond: 0 };
  const minutes = offsetMinutes(`${match[7]}${match[8]}${match[9]}`);
  return toDate({ day: Number(match[1]), month, year: Number(match[3]), clock }, minutes);
}

function parseIrregularDate(text: string): Date | null {
  const { outside, comments } = splitComments(text.slice(0, maxDateLength).normalize('NFC'));
  const found: Found = {};
  for (const [index, piece] of splitPieces(outside).entries()) {
    // The first word is the name of a day, in whatever language.
    const isDay = index === 0 && /^\p{L}+\.?$/u.test(piece) && monthIndex(withoutDots(piece)) === null;
    if (!isDay && !take(found, piece) && !isSettled(found)) return null;
  }
  return toDate(found, minutesFromUtc(found, comments));
}

/** With an offset the instant is known, whatever follows. */
function isSettled({ day, month, year, clock, offset }: Found): boolean {
  return [day, month, year, clock, offset].every((value) => value !== undefined);
}

/** Text in brackets behind an offset (`[Europe/Berlin]`) is a comment as well. Comments nest. */
function splitComments(text: string): { readonly outside: string; readonly comments: readonly string[] } {
  const outside: string[] = [];
  const comments: string[] = [];
  let depth = 0;
  for (const piece of text.split(/([()[\]])/)) {
    if (piece === '(' || piece === '[') depth++;
    else if (piece === ')' || piece === ']') depth = Math.max(0, depth - 1);
    else (depth === 0 ? outside : comments).push(piece);
  }
  return { outside: outside.join(' '), comments };
}

const yearFirst = /^(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)/;
const dotted = /^(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)/;
const withMonthName = /^(?:\d{1,4}([-/])\p{L}+\.?\1\d{1,4}|\p{L}+\.?([-/])\d{1,2}\2\d{4})(?!\d)/u;
const clockTime = /^(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d+))?)?(?![:\d])/;
const dottedClock = /^(\d{1,2})\.(\d{2})(?:\.(\d{2}))?$/;
const zoneBeforeOffset = /^[a-z]+(?=[+-]\d)/i;
const gluedForms = [yearFirst, dotted, withMonthName, clockTime, zoneBeforeOffset];

/** Words, numbers, dates, times and offsets; what is written without a blank between is taken apart. */
function splitPieces(text: string): readonly string[] {
  const pieces: string[] = [];
  const plain = text
    .replaceAll('\u2212', '-')
    // ISO 8601 without punctuation.
    .replace(/\b(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/i, '$1-$2-$3 $4:$5:$6')
    // A comma in front of a fraction of a second.
    .replace(/(:\d\d),(?=\d)/, '$1.');
  for (const word of plain.split(/[\s,;"'<>]+/)) {
    for (let rest = word; rest !== ''; ) {
      const piece = gluedForms.map((form) => form.exec(rest)?.[0]).find((match) => match !== undefined) ?? rest;
      pieces.push(piece);
      rest = rest.slice(piece.length).replace(/^[T_:](?=\d)/i, '');
    }
  }
  return pieces;
}

/** False when the piece is not part of a date. */
function take(found: Found, piece: string): boolean {
  const word = withoutDots(piece).toLowerCase();
  if (word === '' || dayName.test(word) || fillers.has(word)) return true;
  return (
    takeWholeDate(found, piece) ||
    takeClock(found, piece) ||
    takeNumber(found, word) ||
    takeMonth(found, word) ||
    takeMeridiem(found, word) ||
    takeZone(found, word)
  );
}

function withoutDots(word: string): string {
  return word.replace(/\.{1,3}$/, '');
}

function takeWholeDate(found: Found, piece: string): boolean {
  if (found.day !== undefined || found.year !== undefined) return false;
  if (withMonthName.test(piece)) return piece.split(/[-/]/).every((part) => take(found, part));
  const [, year, , month, day] = yearFirst.exec(piece) ?? [];
  // Programs that write dots write the day first; with slashes or dashes the order differs.
  const [, dottedDay, dottedMonth, dottedYear] = dotted.exec(piece) ?? [];
  if (year === undefined && dottedYear === undefined) return false;
  found.year = Number(year ?? dottedYear);
  found.month = Number(month ?? dottedMonth) - 1;
  found.day = Number(day ?? dottedDay);
  return true;
}

function takeClock(found: Found, piece: string): boolean {
  const match = clockTime.exec(piece) ?? dottedClock.exec(piece);
  if (match === null || found.clock !== undefined) return false;
  const [, hour, minute, second = '0', fraction = ''] = match;
  found.clock = {
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    millisecond: Number(fraction.slice(0, 3).padEnd(3, '0')),
  };
  return true;
}

/** The day has one or two digits and comes first, unless the year is there already. */
function takeNumber(found: Found, word: string): boolean {
  const digits = /^(\d{1,4})(?:st|nd|rd|th)?$/.exec(word)?.[1];
  if (digits === undefined) return false;
  if (digits.length <= 2 && found.day === undefined) found.day = Number(digits);
  else if (found.year === undefined) found.year = fullYear(Number(digits));
  else return false;
  return true;
}

/** RFC 5322 §4.3 for years of two and three digits. */
function fullYear(year: number): number {
  if (year >= 1000) return year;
  if (year >= 100) return year + 1900;
  return year > 68 ? year + 1900 : year + 2000;
}

function takeMonth(found: Found, word: string): boolean {
  const month = monthIndex(word);
  if (month === null || found.month !== undefined) return false;
  found.month = month;
  return true;
}

function monthIndex(word: string): number | null {
  return monthOfBeginning.get(word.toLowerCase()) ?? null;
}

function takeMeridiem(found: Found, word: string): boolean {
  const letters = word.replace('.', '');
  if ((letters !== 'am' && letters !== 'pm') || found.clock === undefined) return false;
  found.meridiem = letters;
  return true;
}

/** Any other word that follows the time is a zone, known or not. */
function takeZone(found: Found, word: string): boolean {
  if (found.clock === undefined) return false;
  const offset = offsetMinutes(word);
  if (offset !== null) found.offset ??= offset;
  else if (!/^\p{L}/u.test(word)) return false;
  else if (found.offset === undefined) found.zone = nextZone(found.zone, word);
  return true;
}

function nextZone(before: number | 'unknown' | undefined, word: string): number | 'unknown' {
  if (before === undefined) return namedZoneMinutes(word) ?? 'unknown';
  // `MET DST`, and nothing like `GMT Standard Time`.
  return before !== 'unknown' && word === 'dst' ? before + 60 : 'unknown';
}

/** Null when the zone is not known. A comment is asked only when nothing outside says anything. */
function minutesFromUtc({ offset, zone }: Found, comments: readonly string[]): number | null {
  if (offset !== undefined) return agreedMinutes(typeof zone === 'number' ? zone : null, offset);
  if (zone !== undefined) return zone === 'unknown' ? null : zone;
  return comments.map((comment) => zoneMinutes(comment.trim())).find((minutes) => minutes !== null) ?? 0;
}

function toDate({ day, month, year, clock, meridiem }: Found, minutes: number | null): Date | null {
  if (day === undefined || month === undefined || year === undefined || clock === undefined || minutes === null)
    return null;
  const hour = hourOfDay(clock, meridiem);
  // A leap second is the first one of the next minute.
  if (hour === null || clock.minute > 59 || clock.second > 60) return null;
  const midnight = new Date(Date.UTC(year, month, day));
  if (midnight.getUTCFullYear() !== year || midnight.getUTCMonth() !== month || midnight.getUTCDate() !== day)
    return null;
  return new Date(Date.UTC(year, month, day, hour, clock.minute - minutes, clock.second, clock.millisecond));
}

/** 24:00 is the end of the day. `14:30 PM` is what some programs write. */
function hourOfDay({ hour, minute, second }: Clock, meridiem: 'am' | 'pm' | undefined): number | null {
  if (meridiem === undefined) return hour < 24 || (hour === 24 && minute === 0 && second === 0) ? hour : null;
  if (meridiem === 'am') return hour > 12 ? null : hour % 12;
  if (hour === 0 || hour > 23) return null;
  return hour < 12 ? hour + 12 : hour;
}
