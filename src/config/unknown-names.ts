/**
 * Finds mistyped settings. A name that nobody reads would be passed over in silence, and the program would start on its
 * defaults: another database, another store.
 */
import { type SettingName, settingNames } from './definition.ts';
import type { MergedEnvironment } from './environment.ts';
import { secretFileNames } from './secrets.ts';

const ourRanges = ['SMTP_', 'HTTP_', 'OBJECT_STORAGE_'] as const;

/** Those of the settings first: of two that are as near, the first is meant. */
const ourNames: readonly string[] = [...settingNames, ...secretFileNames];

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

/** What other programs call it. Refused only where ours is not set, for then it may be theirs. */
const aliases: Readonly<Partial<Record<string, SettingName>>> = {
  DATABASE_URI: 'DATABASE_URL',
  DATABASE_DSN: 'DATABASE_URL',
  DB_URL: 'DATABASE_URL',
  DB_URI: 'DATABASE_URL',
  PG_URL: 'DATABASE_URL',
  POSTGRES_URL: 'DATABASE_URL',
  POSTGRES_URI: 'DATABASE_URL',
  POSTGRESQL_URL: 'DATABASE_URL',
  REDIS_URI: 'REDIS_URL',
  REDIS_DSN: 'REDIS_URL',
  BULLMQ_REDIS_URL: 'REDIS_URL',
  S3_ENDPOINT: 'OBJECT_STORAGE_ENDPOINT',
  S3_ENDPOINT_URL: 'OBJECT_STORAGE_ENDPOINT',
  S3_URL: 'OBJECT_STORAGE_ENDPOINT',
  S3_REGION: 'OBJECT_STORAGE_REGION',
  S3_BUCKET: 'OBJECT_STORAGE_BUCKET',
  S3_BUCKET_NAME: 'OBJECT_STORAGE_BUCKET',
  AWS_S3_BUCKET: 'OBJECT_STORAGE_BUCKET',
  AWS_BUCKET: 'OBJECT_STORAGE_BUCKET',
  S3_ACCESS_KEY: 'OBJECT_STORAGE_ACCESS_KEY',
  S3_ACCESS_KEY_ID: 'OBJECT_STORAGE_ACCESS_KEY',
  S3_SECRET_KEY: 'OBJECT_STORAGE_SECRET_KEY',
  S3_SECRET_ACCESS_KEY: 'OBJECT_STORAGE_SECRET_KEY',
  STORAGE_BUCKET: 'OBJECT_STORAGE_BUCKET',
  DATA_DIRECTORY: 'DATA_DIR',
  DATA_PATH: 'DATA_DIR',
  MAIL_DOMAIN: 'SMTP_DOMAIN',
};

/**
 * One line per name that was meant to be a setting, and in the `.env` file, which is ours alone, per name that is none.
 * `value` is not shown, it may be a secret under a mistyped name.
 */
export function unknownNameProblems({ values, fromFile }: MergedEnvironment): string[] {
  const problems: string[] = [];
  for (const [name, value] of values) {
    const problem = problemOf(name, value, values, fromFile.has(name));
    if (problem !== null) problems.push(problem);
  }
  return problems;
}

function problemOf(name: string, value: string, values: ReadonlyMap<string, string>, inFile: boolean): string | null {
  const upper = name.toUpperCase();
  const known = ourNames.find((candidate) => candidate === upper);
  if (known === name) return null;
  const told = `${name}${inFile ? ' (from .env)' : ''} is not a setting`;
  if (known !== undefined) return `${told}: names are upper case, write ${known}`;
  if (ourRanges.some((range) => name.startsWith(range)) && !isForeign(name, value)) return `${told}${suggestion(name)}`;
  const meant = aliases[upper] ?? nearest(upper);
  if (meant !== undefined && !values.has(meant)) return `${told}: did you mean ${meant}?`;
  if (inFile && !name.startsWith('PG')) return `${told}: remove it, the file is read by this program alone`;
  return null;
}

/** A setting that differs by a slip of the fingers: two letters, in a short name one. */
function nearest(typed: string): string | undefined {
  return ourNames.find((known) => editDistance(typed, known) <= (known.length < 10 ? 1 : 2));
}

function suggestion(name: string): string {
  const range = ourRanges.find((prefix) => name.startsWith(prefix)) ?? '';
  const inRange = settingNames.filter((known) => known.startsWith(range));
  const typed = name.slice(range.length);
  const near = ourNames
    .filter((known) => known.startsWith(range))
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

/** Levenshtein with two neighbours swapped as one step (optimal string alignment); names are short. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : substitution;
      next.push(Math.min(substitution, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
