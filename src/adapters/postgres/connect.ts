import pg from 'pg';
import { type ConnectionUrl, renewable } from '../../ports/renewable-url.ts';
import { connectWith } from './login.ts';
import { isServerError } from './pool.ts';
import { CONNECT_TIMEOUT_MS } from './session.ts';

/** graphile-worker wants 12, `UNIQUE NULLS NOT DISTINCT` wants 15. */
export const MIN_VERSION = 15;

/** The database cannot be used as configured; the message is for the operator and holds no secret. */
export class DatabaseConnectError extends Error {
  override readonly name = 'DatabaseConnectError';
}

/**
 * One connection, for the commands that only look.
 * Errors: `DatabaseConnectError` saying what to mend.
 */
export async function checkDatabase(url: ConnectionUrl): Promise<void> {
  let client: pg.Client | undefined;
  try {
    client = await connectWith(url, openForExamination);
    await assertVersion(client);
  } catch (error) {
    if (error instanceof DatabaseConnectError) throw error;
    throw new DatabaseConnectError(`DATABASE_URL: ${connectFault(renewable(url).current, error)}`, { cause: error });
  } finally {
    await client?.end().catch(() => {});
  }
}

/** Still to be connected. Errors: throws when a file that the URL names cannot be read. */
export function openForExamination(url: string): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'orderflow-doctor',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => {});
  return client;
}

/** Errors: `DatabaseConnectError` when it is older than we need. */
export async function assertVersion(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: number }>(
    `SELECT current_setting('server_version_num')::int / 10000 AS version`,
  );
  const version = rows[0]?.version ?? 0;
  if (version >= MIN_VERSION) return;
  throw new DatabaseConnectError(`DATABASE_URL: PostgreSQL ${version} is too old; ${MIN_VERSION} or newer is needed`);
}

/** Why this database cannot be connected to, in words and without a secret. */
export function connectFault(url: string, error: unknown): string {
  return `${where(url)} ${inWords(error)}`;
}

function where(url: string): string {
  try {
    const { hostname, port, pathname, searchParams } = new URL(url);
    const host = searchParams.get('host') || hostname || 'localhost';
    const address = host.startsWith('/') ? host : `${host}:${searchParams.get('port') || port || '5432'}`;
    return `PostgreSQL at ${address}, database "${decodeURIComponent(pathname.slice(1))}",`;
  } catch {
    return 'PostgreSQL';
  }
}

const UNKNOWN_AUTHORITY =
  'has a certificate of an authority that is not known here: name its file (sslrootcert, or PGSSLROOTCERT)';

/** By SQLSTATE or system error code. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections: is it running, and is that its address?',
  ENOTFOUND: 'cannot be found: the host name does not resolve',
  EAI_AGAIN: 'cannot be found: the name service does not answer',
  ETIMEDOUT: 'cannot be reached: the connection timed out',
  ECONNRESET: 'closed the connection',
  '28P01': 'refuses the password',
  '28000': 'refuses the user name',
  '3D000': 'does not exist on that server: create it first',
  '53300': 'has no connection left: raise max_connections',
  '57P03': 'is starting up or shutting down: try again in a moment',
  // Of TLS, as Node names them.
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  CERT_HAS_EXPIRED: 'has a certificate that has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for another name: connect by the name that it is for',
};

/** Of the driver, where it has no code. */
const REASONS_BY_MESSAGE: Readonly<Record<string, string>> = {
  'The server does not support SSL connections': 'offers no TLS, and sslmode asks for it',
  'Query read timeout':
    'lets us connect, and then does not answer: a pooler in between may have none of its connections free',
};

function inWords(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  const known = typeof code === 'string' ? REASONS[code] : undefined;
  if (known !== undefined) return known;
  if (isServerError(error)) return `refuses: ${error.message}`;
  const message = error instanceof Error ? error.message || error.name : String(error);
  return REASONS_BY_MESSAGE[message] ?? `cannot be reached: ${message}`;
}
