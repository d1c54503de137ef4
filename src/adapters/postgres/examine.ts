/** What `doctor` says of the database: can it be reached, does it keep what it commits, may our login do its work? */
import pg from 'pg';
import { clockFinding } from '../../ports/clock-offset.ts';
import { broken, type Finding, ok } from '../../ports/finding.ts';
import { connectFault } from './connect.ts';
import { examineLogin } from './examine-login.ts';
import { examinePostmaster } from './examine-postmaster.ts';
import { examineSchema } from './examine-schema.ts';
import { examineServer } from './examine-server.ts';
import { isServerError } from './pool.ts';

const TIMEOUT_MS = 5_000;
const INSUFFICIENT_PRIVILEGE = '42501';

export interface ExamineDatabaseOptions {
  readonly url: string;
  /** Ours, under DATA_DIR: its clock is this machine's, and nobody sets `DATABASE_URL`. */
  readonly embedded: boolean;
  /** What one process with every role opens. */
  readonly connectionsNeeded: number;
  /** Slug of the organisation that mail to postmaster is recorded for. */
  readonly postmasterOrg: string | null;
}

/** Reads only. Never rejects for a fault of the database: that is a finding. */
export async function examineDatabase(o: ExamineDatabaseOptions): Promise<readonly Finding[]> {
  const [one, other] = [connection(o.url), connection(o.url)];
  try {
    try {
      await Promise.all([one.connect(), other.connect()]);
    } catch (error) {
      return [broken('database', connectFault(o.url, error), whatToMend(o.embedded))];
    }
    return [
      ...(await examineServer(one, o)),
      ...(await examinePooler(one, other)),
      ...(o.embedded ? [] : [await examineClock(one)]),
      ...(await examineLogin(one)),
      ...(await examineSchema(one, o.embedded).catch(unlessDenied)),
      ...(await examinePostmaster(one, o.postmasterOrg).catch(unlessDenied)),
    ];
  } finally {
    await Promise.allSettled([one.end(), other.end()]);
  }
}

/** A login that may not even read them was told so already. */
function unlessDenied(error: unknown): readonly Finding[] {
  if (isServerError(error) && error.code === INSUFFICIENT_PRIVILEGE) return [];
  throw error;
}

const whatToMend = (embedded: boolean): string =>
  embedded ? 'see postgres.log in DATA_DIR/postgres' : 'mend that, or set DATABASE_URL to the right database';

function connection(url: string): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'orderflow-doctor',
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  });
  client.on('error', () => {});
  return client;
}

/** Two connections are never served by one server process, unless something between us hands it from one to the other. */
async function examinePooler(one: pg.Client, other: pg.Client): Promise<readonly Finding[]> {
  for (let round = 0; round < 3; round++) {
    const [mine, its] = [await serverProcess(one), await serverProcess(other)];
    if (mine !== its) continue;
    return [
      broken(
        'database',
        'there is a pooler in between that changes the server process between transactions (transaction mode)',
        'connect directly, or set the pooler to session mode: job queue and locks live in the session',
      ),
    ];
  }
  return [];
}

async function serverProcess(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]?.pid;
}

async function examineClock(client: pg.Client): Promise<Finding> {
  const askedAtMs = Date.now();
  const { rows } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  const answeredAtMs = Date.now();
  const now = rows[0]?.now;
  if (now === undefined) return ok('clock', 'the database server does not tell the time');
  return clockFinding({ other: 'the database server', otherNowMs: now.getTime(), askedAtMs, answeredAtMs });
}
