/** What the user typed, checked before anything is opened. Each throws commander's error: exit 2 and one line. */
import { Resolver } from 'node:dns';
import { InvalidArgumentError } from 'commander';
import { isHostName, isSlug, maxSlugLength } from '../config/forms.ts';
import { type DocumentStatus, documentStatuses, type ViewStatus } from '../ports/message-view.ts';
import { unquotedLocalPart } from '../ports/organisations.ts';
import { asciiDomain } from '../smtp/index.ts';
import { type Role, roles } from './context.ts';

export function slugArgument(text: string): string {
  const slug = text.toLowerCase();
  if (isSlug(slug)) return slug;
  throw new InvalidArgumentError(`A slug is 1 to ${maxSlugLength} of a-z, 0-9 and hyphen, such as acme.`);
}

export function idArgument(text: string): string {
  const id = text.toLowerCase();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return id;
  throw new InvalidArgumentError('An id looks like 01890a5d-ac96-774b-bcce-b302099a8057; messages list shows them.');
}

export function limitArgument(text: string): number {
  const limit = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= 100_000) return limit;
  throw new InvalidArgumentError('It is a whole number from 1 to 100000.');
}

/** A thousandth of a megabyte would never end, and no store is faster than a terabyte. */
const [minRate, maxRate] = [0.01, 1_000_000];

/** Units: megabytes of a million bytes a second become bytes a second. */
export function rateArgument(text: string): number {
  const rate = /^[0-9]{1,7}(\.[0-9]{1,3})?$/.test(text) ? Number(text) : 0;
  if (rate >= minRate && rate <= maxRate) return rate * 1_000_000;
  throw new InvalidArgumentError(`It is megabytes a second, from ${minRate} to ${maxRate}, such as 20 or 0.5.`);
}

export const statuses: readonly ViewStatus[] = ['RECEIVED', 'STORED', 'PARSED', 'FAILED', 'CONFLICT'];

export function statusArgument(text: string): ViewStatus {
  const status = statuses.find((one) => one === text.toUpperCase());
  if (status !== undefined) return status;
  throw new InvalidArgumentError(`It is one of ${statuses.join(', ')}.`);
}

export function documentStatusArgument(text: string): DocumentStatus {
  const status = documentStatuses.find((one) => one === text.toUpperCase());
  if (status !== undefined) return status;
  throw new InvalidArgumentError(`It is one of ${documentStatuses.join(', ')}.`);
}

export function partArgument(text: string): string {
  if (text.trim() !== '') return text.trim();
  throw new InvalidArgumentError('It is a part of the text to look for, at least one character.');
}

export function reasonArgument(text: string): string {
  const reason = text.toLowerCase();
  if (/^[a-z][a-z-]{0,63}$/.test(reason)) return reason;
  throw new InvalidArgumentError('It is a code such as object-missing or no-part-readable; messages show tells it.');
}

const AGE_UNITS_MS: ReadonlyMap<string, number> = new Map([
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 24 * 3_600_000],
]);
const TIME = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/i;

/** A moment, or how long ago it was. Without a zone it is this machine's, also where there is a date only. */
export function timeArgument(text: string): Date {
  const age = /^(\d{1,6})([smhd])$/.exec(text);
  const ageMs = Number(age?.[1]) * (AGE_UNITS_MS.get(age?.[2] ?? '') ?? Number.NaN);
  const written = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text;
  const time = new Date(age === null ? (TIME.test(text) ? written : Number.NaN) : Date.now() - ageMs);
  if (!Number.isNaN(time.getTime())) return time;
  throw new InvalidArgumentError(
    'It is a time such as 2026-03-01T10:00:00Z or 2026-03-01, or an age such as 30m, 2h or 7d.',
  );
}

export function rolesArgument(text: string): readonly Role[] {
  const named = text.split(',').map((name) => name.trim().toLowerCase());
  const chosen = roles.filter((role) => named.includes(role));
  if (named.every((name) => roles.some((role) => role === name))) return chosen;
  throw new InvalidArgumentError(`They are one or more of ${roles.join(', ')}, separated by commas.`);
}

/** More than any machine needs; each holds connections to the database. */
const maxProcesses = 64;

export function processesArgument(text: string): number {
  const processes = /^[0-9]{1,4}$/.test(text) ? Number(text) : 0;
  if (processes >= 1 && processes <= maxProcesses) return processes;
  throw new InvalidArgumentError(`It is a whole number from 1 to ${maxProcesses}.`);
}

/** Of a repeated option. */
export function domainArgument(text: string, before: readonly string[] = []): readonly string[] {
  const domain = domainForm(text.trim().replace(/\.$/, '').toLowerCase());
  if (domain !== null) return [...new Set([...before, domain])];
  throw new InvalidArgumentError('It is a domain such as orders.example.com.');
}

/** Shape: as `setServers` of node:dns takes them. */
export function nameServersArgument(text: string): readonly string[] {
  const servers = text.split(',').map((server) => server.trim());
  try {
    new Resolver().setServers(servers);
    return servers;
  } catch {
    throw new InvalidArgumentError(
      'They are addresses separated by commas, such as 9.9.9.9, 127.0.0.1:5353 or [::1]:53.',
    );
  }
}

/** An address, at least in outline: the server has the last word. */
const localPart = /^[^\s@<>\u0000-\u001f\u007f]{1,64}$/u;
/** The one form of a domain that senders are compared in; null when it is none. */
function domainForm(text: string): string | null {
  const domain = asciiDomain(text);
  return domain !== null && isHostName(domain) ? domain : null;
}

export function blockPatternArgument(text: string): string {
  const pattern = text.trim().toLowerCase();
  const at = pattern.lastIndexOf('@');
  const written = pattern.slice(at + 1);
  const below = at === 0 && written.startsWith('.') ? '.' : '';
  const domain = domainForm(written.slice(below.length));
  if (at >= 0 && domain !== null && (at === 0 || localPart.test(pattern.slice(0, at))))
    return `${unquotedLocalPart(pattern.slice(0, at))}@${below}${domain}`;
  const hint = at < 0 && domain !== null ? ` Did you mean @${written}?` : '';
  throw new InvalidArgumentError(
    `It is an address such as spam@example.net, a whole domain such as @example.net, or @.example.net for that and all below it.${hint}`,
  );
}

export function addressArgument(text: string): string {
  const at = text.lastIndexOf('@');
  if (at > 0 && localPart.test(text.slice(0, at)) && /^\S+$/.test(text.slice(at + 1))) return text;
  throw new InvalidArgumentError('It is an address such as buyer@example.com.');
}

/** Shape: a slug, or a whole address. */
export function recipientArgument(text: string): string {
  return text.includes('@') ? addressArgument(text) : slugArgument(text);
}

export function endpointArgument(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InvalidArgumentError('It is host:port such as 127.0.0.1:2525 or [::1]:2525.');
}
