/** Times as people write and read them: in the zone of this machine. Programs get UTC. */
import { InvalidArgumentError } from 'commander';
import type { Output } from './output.ts';

const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const ISO = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:\d{2})?)?$/i;

/** `today`, `yesterday` and a date are its first moment here; `2h` is two hours ago; a time without a zone is one of here. */
export function timeArgument(text: string): Date {
  const found = timeOf(text.trim(), new Date());
  if (found !== null) return found;
  throw new InvalidArgumentError(
    'It is today, yesterday, 30m, 2h or 3d (ago), 2026-03-01, or a time such as 2026-03-01T14:00 or 2026-03-01T14:00Z.',
  );
}

function timeOf(text: string, now: Date): Date | null {
  const word = text.toLowerCase();
  if (word === 'today') return midnight(now, 0);
  if (word === 'yesterday') return midnight(now, -1);
  const [, count, unit] = /^(\d{1,5})([mhd])$/.exec(word) ?? [];
  if (count !== undefined) return new Date(now.getTime() - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS]);
  const [, date, time = '00:00', zone = ''] = ISO.exec(text) ?? [];
  if (date === undefined) return null;
  const at = new Date(`${date}T${time}${zone.toUpperCase()}`);
  // 2026-02-31 would be a day of March.
  return Number.isNaN(at.getTime()) || !isDate(date) ? null : at;
}

const isDate = (date: string): boolean => {
  const at = new Date(`${date}T00:00:00Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(date);
};

const midnight = (now: Date, days: number): Date => new Date(now.getFullYear(), now.getMonth(), now.getDate() + days);

/** How times are shown there: to a person with the offset of here, so that they can be told from UTC. */
export function timesFor({ isTerminal }: Pick<Output, 'isTerminal'>): (time: Date) => string {
  return isTerminal ? localTime : (time) => time.toISOString();
}

function localTime(time: Date): string {
  const minutes = -time.getTimezoneOffset();
  const shifted = new Date(time.getTime() + minutes * 60_000).toISOString();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${shifted.slice(0, 10)} ${shifted.slice(11, 19)} ${minutes < 0 ? '-' : '+'}${two(hours)}:${two(rest)}`;
}
