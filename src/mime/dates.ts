/**
 * The Date field in its present form and the obsolete ones: names of zones, years of two digits, comments, the day's
 * name missing, day and month exchanged. A date without a zone is read as UTC. Spec: RFC 5322 §3.3, §4.3.
 */
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const longMonths = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
];
const days = new Set(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']);
/** Hours from UTC; military letters say nothing that can be trusted (RFC 5322 §4.3), so they are UTC. */
const zoneHours: ReadonlyMap<string, number> = new Map([
  ['UT', 0],
  ['UTC', 0],
  ['GMT', 0],
  ['Z', 0],
  ['AST', -4],
  ['ADT', -3],
  ['EST', -5],
  ['EDT', -4],
  ['CST', -6],
  ['CDT', -5],
  ['MST', -7],
  ['MDT', -6],
  ['PST', -8],
  ['PDT', -7],
]);

/** Null when the text is no date. */
export function parseDate(text: string): Date | null {
  const words = splitWords(text);
  if (words.length < 4) return null;
  let [day, month, year, time, zone = ''] = words as [string, string, string, string, string?];
  if (monthNumber(month) < 0) [day, month] = [month, day];
  if (year.includes(':')) [year, time] = [time, year];
  if (!/^\d/.test(year)) [year, zone] = [zone, year];
  const clock = parseClock(time.replace(/,$/, ''));
  const monthIndex = monthNumber(month);
  const dayNumber = wholeNumber(day.replace(/,$/, ''));
  const yearNumber = fullYear(wholeNumber(year.replace(/,$/, '')));
  if (clock === null || monthIndex < 0 || dayNumber === null || yearNumber === null) return null;
  return toDate(yearNumber, monthIndex, dayNumber, clock, zoneSeconds(zone));
}

function splitWords(text: string): string[] {
  // Longest form: `Wednesday, 21 September 2022 14:30:00 +0000`; what follows a bound like this is no date.
  const words = withoutComments(text.slice(0, 1_000))
    .split(/\s+/)
    .filter((word) => word !== '');
  const first = words[0] ?? '';
  if (first.endsWith(',') || days.has(first.toLowerCase())) words.shift();
  else if (first.includes(',')) words[0] = first.slice(first.lastIndexOf(',') + 1);
  // RFC 850: 21-Sep-22 14:30:00 GMT
  const dashed = words[0]?.split('-') ?? [];
  if (words.length === 3 && dashed.length === 3) words.splice(0, 1, ...dashed);
  const last = words[3] ?? '';
  const sign = words.length === 4 ? last.search(/[+-]/) : -1;
  if (sign > 0) words.splice(3, 1, last.slice(0, sign), last.slice(sign));
  return words.slice(0, 5);
}

function withoutComments(text: string): string {
  let out = '';
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')' && depth > 0) depth--;
    else if (depth === 0) out += text[i];
  }
  return out;
}

function monthNumber(word: string): number {
  const lower = word.toLowerCase();
  const short = months.indexOf(lower);
  return short >= 0 ? short : longMonths.indexOf(lower);
}

function parseClock(text: string): readonly [number, number, number] | null {
  const pieces = text.includes(':') ? text.split(':') : text.split('.');
  if (pieces.length !== 2 && pieces.length !== 3) return null;
  const [hour, minute, second] = [pieces[0], pieces[1], pieces[2] ?? '0'].map((piece) => wholeNumber(piece ?? ''));
  if (hour == null || minute == null || second == null || hour > 23 || minute > 59 || second > 60) return null;
  return [hour, minute, second];
}

function wholeNumber(text: string): number | null {
  return /^\d{1,4}$/.test(text) ? Number(text) : null;
}

/** RFC 5322 §4.3 for years of two and three digits. */
function fullYear(year: number | null): number | null {
  if (year === null || year >= 1000) return year;
  if (year >= 100) return year + 1900;
  return year > 68 ? year + 1900 : year + 2000;
}

function zoneSeconds(zone: string): number {
  const named = zoneHours.get(zone.toUpperCase());
  if (named !== undefined) return named * 3600;
  if (!/^[+-]?\d{1,4}$/.test(zone)) return 0;
  const digits = Math.abs(Number(zone));
  return Math.sign(Number(zone)) * (Math.floor(digits / 100) * 3600 + (digits % 100) * 60);
}

function toDate(
  year: number,
  month: number,
  day: number,
  clock: readonly [number, number, number],
  zone: number,
): Date | null {
  const utc = new Date(Date.UTC(year, month, day, ...clock));
  if (utc.getUTCMonth() !== month || utc.getUTCDate() !== day) return null;
  return new Date(utc.getTime() - zone * 1000);
}
