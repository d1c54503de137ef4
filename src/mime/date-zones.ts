/**
 * Time zones of dates, as minutes from UTC. Names that stand for several zones (IST, SST, GST) are not in the list, since
 * a wrong instant is worse than none; BST is the British one, and those of RFC 5322 §4.3 are the American ones.
 */
const zoneHours: Readonly<Record<string, number>> = {
  UT: 0,
  UTC: 0,
  GMT: 0,
  Z: 0,
  NST: -3.5,
  NDT: -2.5,
  AST: -4,
  ADT: -3,
  EST: -5,
  EDT: -4,
  CST: -6,
  CDT: -5,
  MST: -7,
  MDT: -6,
  PST: -8,
  PDT: -7,
  AKST: -9,
  AKDT: -8,
  HST: -10,
  BRT: -3,
  WET: 0,
  WEST: 1,
  BST: 1,
  CET: 1,
  CEST: 2,
  MET: 1,
  MEST: 2,
  MEZ: 1,
  MESZ: 2,
  EET: 2,
  EEST: 3,
  MSK: 3,
  SAST: 2,
  HKT: 8,
  JST: 9,
  KST: 9,
  AWST: 8,
  ACST: 9.5,
  ACDT: 10.5,
  AEST: 10,
  AEDT: 11,
  NZST: 12,
  NZDT: 13,
};

const zones: ReadonlyMap<string, number> = new Map(
  Object.entries(zoneHours).map(([name, hours]) => [name, hours * 60]),
);

/** The easternmost zone; further offsets are slips. */
const maxOffsetMinutes = 14 * 60;

/** A name, an offset, or both (`GMT+0100`); null when it is not known. */
export function zoneMinutes(text: string): number | null {
  const sign = text.search(/[+-]/);
  if (sign <= 0) return offsetMinutes(text) ?? namedZoneMinutes(text);
  return agreedMinutes(namedZoneMinutes(text.slice(0, sign).trim()), offsetMinutes(text.slice(sign)));
}

/** Single letters other than Z and J are military zones: RFC 5322 §4.3 reads them as UTC, for their signs were mixed up. */
export function namedZoneMinutes(name: string): number | null {
  const upper = name.toUpperCase();
  return zones.get(upper) ?? (/^[A-IK-Y]$/.test(upper) ? 0 : null);
}

/** `+0100`, `+01:00`, `+100`, `+01`, `+1`. */
export function offsetMinutes(text: string): number | null {
  const match = /^([+-])(\d{1,2}?)(?::?(\d{2}))?$/.exec(text);
  if (match === null) return null;
  const minutes = Number(match[3] ?? 0);
  const offset = Number(match[2]) * 60 + minutes;
  if (minutes > 59 || offset > maxOffsetMinutes) return null;
  return match[1] === '-' ? 0 - offset : offset;
}

/**
 * The offset, unless the name says something else: in `EST+5` the sign is that of POSIX. An hour between them is
 * summer time under the name of the winter, and `UTC+1` gives the offset alone.
 */
export function agreedMinutes(named: number | null, offset: number | null): number | null {
  if (named === null || offset === null || named === 0) return offset;
  return Math.abs(named - offset) <= 60 ? offset : null;
}
