/**
 * What `DATABASE_URL` leaves out, filled from libpq's variables, so that one text holds all of it and nothing behind this
 * folder has to read the environment.
 */
import type { MergedEnvironment } from './environment.ts';

/** The variables that count beside `DATABASE_URL`: what operators keep apart from it, secrets and certificates above all. */
const FILLING = ['PGPASSWORD', 'PGSSLMODE', 'PGSSLROOTCERT', 'PGOPTIONS'] as const;

/** Those of libpq and of the driver. Not `PGBOUNCER_PORT` and the like, which Kubernetes makes from the name of a Service. */
const CONNECTION_VARIABLE = /^PG([A-Z]+|CONNECT_TIMEOUT|CLIENT_ENCODING)$/;
/** Of the server's programs; no client reads it. */
const OF_THE_SERVER = 'PGDATA';

/**
 * `prefer`, `require` and `verify-ca` check certificate and name as `verify-full` does, as they always have here: more
 * than libpq does, never less. The driver does the same, with a warning of its own on standard error.
 */
const SSL_MODES: Readonly<Record<string, string>> = {
  disable: 'disable',
  'no-verify': 'no-verify',
  prefer: 'verify-full',
  require: 'verify-full',
  'verify-ca': 'verify-full',
  'verify-full': 'verify-full',
};

/** Shape: the whole URL; the text as it stands where there is nothing to add. `problems` gets a line for each mistake. */
export function wholeDatabaseUrl(text: string, { values }: MergedEnvironment, problems: string[]): string {
  problems.push(...strangers(values));
  const url = new URL(text);
  const before = url.href;
  fill(url, values);
  problems.push(...settleSslMode(url));
  // Written anew, a URL may differ in its encoding alone, which the driver reads in its own way.
  return url.href === before ? text : url.href;
}

function strangers(values: ReadonlyMap<string, string>): readonly string[] {
  const filling: ReadonlySet<string> = new Set(FILLING);
  return [...values.keys()]
    .filter((name) => CONNECTION_VARIABLE.test(name) && name !== OF_THE_SERVER && !filling.has(name))
    .map(
      (name) =>
        `${name} is set, and beside DATABASE_URL only ${FILLING.join(', ')} count: ` +
        'write it into DATABASE_URL, or unset it',
    );
}

function fill(url: URL, values: ReadonlyMap<string, string>): void {
  const { searchParams } = url;
  const [password, sslMode, rootCertificate, options] = FILLING.map((name) => values.get(name));
  if (password !== undefined && !hasPassword(url.href)) setPassword(url, password);
  if (sslMode !== undefined && !searchParams.has('sslmode') && !searchParams.has('ssl')) {
    searchParams.set('sslmode', sslMode);
  }
  if (rootCertificate !== undefined && !searchParams.has('sslrootcert') && usesTls(searchParams)) {
    searchParams.set('sslrootcert', rootCertificate);
  }
  if (options !== undefined && !searchParams.has('options')) searchParams.set('options', options);
}

export function hasPassword(text: string): boolean {
  const { password, searchParams } = new URL(text);
  return password !== '' || searchParams.has('password');
}

/** A URL whose host stands behind the `?` can hold no password before it. */
function setPassword(url: URL, password: string): void {
  if (url.hostname === '') url.searchParams.set('password', password);
  else url.password = encodeURIComponent(password);
}

const usesTls = (parameters: URLSearchParams): boolean =>
  parameters.get('sslmode') !== 'disable' && !['0', 'false'].includes(parameters.get('ssl') ?? '');

function settleSslMode({ searchParams }: URL): readonly string[] {
  // The system's certificates are what counts where no other is named.
  if (searchParams.get('sslrootcert') === 'system') searchParams.delete('sslrootcert');
  const given = searchParams.get('sslmode');
  if (given === null) return [];
  const settled = SSL_MODES[given];
  if (settled === undefined) {
    return [
      `DATABASE_URL, PGSSLMODE: the sslmode ${JSON.stringify(given.slice(0, 40))} is not one of ${Object.keys(SSL_MODES).join(', ')}`,
    ];
  }
  // With this word of the driver's own, its modes are libpq's.
  if (searchParams.get('uselibpqcompat') !== 'true' && settled !== given) searchParams.set('sslmode', settled);
  return [];
}

/** Whether a URL names several hosts, before or behind the `?`. */
export function namesSeveralHosts(text: string): boolean {
  const authority = /^[a-z]+:\/\/([^/?#]*)/i.exec(text)?.[1] ?? '';
  if (authority.slice(authority.lastIndexOf('@') + 1).includes(',')) return true;
  const parameters = new URLSearchParams(text.includes('?') ? text.slice(text.indexOf('?')) : '');
  return ['host', 'hostaddr', 'port'].some((name) => parameters.get(name)?.includes(',') === true);
}
