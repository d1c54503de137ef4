/** Is there a pooler between us and PostgreSQL, does it leave us our sessions, and how many connections does it give? */
import pg from 'pg';
import { isServerError } from './pool.ts';
import { CONNECT_TIMEOUT_MS } from './session.ts';

/** Enough that a pooler that is busy with others gives itself away as well. */
const ROUNDS = 5;
/** What PgBouncer answers to BEGIN in statement mode. */
const PROTOCOL_VIOLATION = '08P01';

/**
 * Whether something changes the server process behind a session between its transactions (transaction or statement mode).
 * While the other session holds its process by a transaction, the first one must find its own again, and the two can
 * never have the same.
 */
export async function handsSessionsOver(one: pg.Client, other: pg.Client): Promise<boolean> {
  for (let round = 0; round < ROUNDS; round++) {
    const before = await serverProcess(one);
    try {
      await other.query('BEGIN');
      const held = await serverProcess(other);
      if (held === before || (await serverProcess(one)) !== before) return true;
    } catch (error) {
      if (isServerError(error) && error.code === PROTOCOL_VIOLATION) return true;
      throw error;
    } finally {
      await other.query('ROLLBACK').catch(() => {});
    }
  }
  return false;
}

async function serverProcess(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]?.pid;
}

/** The process id that the greeting named is the server's own, unless a pooler has greeted us. */
export async function isBehindPooler(client: pg.Client): Promise<boolean> {
  const { processID } = client as unknown as { readonly processID: number | null };
  return processID !== (await serverProcess(client));
}

/** PgBouncer's `default_pool_size` where nobody has set it: connections for each database and login. */
export const PGBOUNCER_DEFAULT_POOL_SIZE = 20;

interface DatabaseOfPooler {
  readonly name: string;
  readonly pool_size: number | string;
  readonly max_connections: number | string;
}

/**
 * How many connections PgBouncer gives to our login and database.
 * Shape: null when that cannot be seen: another pooler, or a login that its administrator has not allowed to look.
 */
export async function readPoolSize(url: string, database: string): Promise<number | null> {
  const console = new URL(url);
  console.pathname = '/pgbouncer';
  const client = new pg.Client({
    connectionString: console.href,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    const config = await client.query<{ key: string; value: string }>('SHOW CONFIG');
    const databases = await client.query<DatabaseOfPooler>('SHOW DATABASES');
    const configured = (name: string): number =>
      Number(config.rows.find(({ key }) => key === name)?.value ?? Number.NaN);
    const own = databases.rows.find(({ name }) => name === database);
    const bounds = [
      Number(own?.pool_size ?? configured('default_pool_size')),
      Number(own?.max_connections ?? configured('max_db_connections')),
      configured('max_user_connections'),
      configured('max_client_conn'),
    ].filter((bound) => bound > 0); // 0: none
    return bounds.length === 0 ? null : Math.min(...bounds);
  } catch {
    return null;
  } finally {
    await client.end().catch(() => {});
  }
}
