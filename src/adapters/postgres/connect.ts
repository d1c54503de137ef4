import pg from 'pg';
import { isServerError } from './pool.ts';

/** graphile-worker wants 12, `UNIQUE NULLS NOT DISTINCT` wants 15. */
export const MIN_VERSION = 15;

/** The database cannot be used as configured; the message is for the operator and holds no secret. */
export class DatabaseConnectError extends Error {
  override readonly name = 'DatabaseConnectError';
}

/**
 * One connection, to find out at start what would otherwise be found out by the first mail.
 * Errors: `DatabaseConnectError` saying what to mend.
 */
export async function checkDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ version: number }>(
      `SELECT current_setting('server_version_num')::int / 10000 AS version`,
    );
    const version = rows[0]?.version ?? 0;
    if (version < MIN_VERSION) {
      throw new DatabaseConnectError(
        `DATABASE_URL: PostgreSQL ${version} is too old; ${MIN_VERSION} or newer is needed`,
      );
    }
  } catch (error) {
    if (error instanceof DatabaseConnectError) throw error;
    throw new DatabaseConnectError(`DATABASE_URL: ${connectFault(url, error)}`, { cause: error });
  } finally {
    await client.end().catch(() => {});
  }
}

/** Why this database cannot be connected to, in words and without a secret. */
export function connectFault(url: string, error: unknown): string {
  return `${where(url)} ${inWords(error)}`;
}

function where(url: string): string {
  try {
    const { hostname, port, pathname } = new URL(url);
    return `PostgreSQL at ${hostname || 'localhost'}:${port || '5432'}, database "${decodeURIComponent(pathname.slice(1))}",`;
  } catch {
    return 'PostgreSQL';
  }
}

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
};

function inWords(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  const known = typeof code === 'string' ? REASONS[code] : undefined;
  if (known !== undefined) return known;
  if (isServerError(error)) return `refuses: ${error.message}`;
  return `cannot be reached: ${error instanceof Error ? error.message || error.name : String(error)}`;
}
