/** Finds mistyped settings: names in our own ranges that mean nothing to us. */
import { settingNames } from './definition.ts';

const ourRanges = ['SMTP_', 'HTTP_', 'OBJECT_STORAGE_'] as const;

/** Names in our ranges that other software reads. */
const foreign: ReadonlySet<string> = new Set([
  'HTTP_PROXY',
  'HTTP_PROXY_USER',
  'HTTP_PROXY_PASSWORD',
  'HTTP_PROXY_REQUEST_FULLURI',
  'HTTP_NO_PROXY',
]);

/** Kubernetes and Docker links describe every Service `smtp-x` as `SMTP_X_SERVICE_HOST`, `SMTP_X_PORT_25_TCP_ADDR` … */
const serviceLink = /_SERVICE_(HOST|PORT(_.+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/;

function isForeign(name: string, value: string): boolean {
  if (foreign.has(name) || serviceLink.test(name)) return true;
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value);
}

/** One line per unknown name; `value` is not shown, it may be a secret under a mistyped name. */
export function unknownNameProblems(environment: ReadonlyMap<string, string>): string[] {
  const problems: string[] = [];
  for (const [name, value] of environment) {
    const upper = name.toUpperCase();
    const known = settingNames.find((candidate) => candidate === upper);
    if (known === name) continue;
    if (known !== undefined) problems.push(`${name} is not a setting: names are upper case, write ${known}`);
    else if (ourRanges.some((range) => name.startsWith(range)) && !isForeign(name, value)) {
      problems.push(`${name} is not a setting${suggestion(name)}`);
    }
  }
  return problems;
}

function suggestion(name: string): string {
  const range = ourRanges.find((prefix) => name.startsWith(prefix)) ?? '';
  const inRange = settingNames.filter((known) => known.startsWith(range));
  const typed = name.slice(range.length);
  const near = inRange
    .map((candidate) => ({ candidate, distance: distance(typed, candidate.slice(range.length)) }))
    .filter((one) => one.distance <= Math.max(2, Math.floor(typed.length / 4)))
    .sort((a, b) => a.distance - b.distance)[0];
  if (near !== undefined) return `: did you mean ${near.candidate}?`;
  return `; those that begin with ${range} are ${inRange.join(', ')}`;
}

/** A name with words left out (`MAX_SIZE` for `MAX_MESSAGE_SIZE`) is nearer than any with letters mistyped. */
function distance(typed: string, known: string): number {
  const words = known.split('_');
  return typed.split('_').every((word) => words.includes(word)) ? 0 : editDistance(typed, known);
}

/** Levenshtein; names are short. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
