/** A lock of the whole database, held by a session of its own. */
import pg from 'pg';
import type { ConnectionUrl } from '../../ports/renewable-url.ts';
import { connectWith } from './login.ts';

/** Any numbers that nothing else on this database uses for an advisory lock. */
const RECONCILE_LOCK = 0x0f_1e_c0;
const VERIFY_LOCK = 0x0f_1e_c1;

export interface HeldLock {
  release(): Promise<void>;
}

/** null when another process reconciles. The database drops it when its holder is gone. */
export const tryReconcileLock = (url: ConnectionUrl): Promise<HeldLock | null> => tryLock(url, RECONCILE_LOCK);

/** The same for `reconcile --verify`, which may take days, and keeps nobody from mending. */
export const tryVerifyLock = (url: ConnectionUrl): Promise<HeldLock | null> => tryLock(url, VERIFY_LOCK);

async function tryLock(url: ConnectionUrl, key: number): Promise<HeldLock | null> {
  const client = await connectWith(url, open);
  const { rows } = await client.query<{ held: boolean }>('SELECT pg_try_advisory_lock($1) AS held', [key]);
  if (rows[0]?.held === true) return { release: () => client.end() };
  await client.end();
  return null;
}

function open(url: string): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'orderflow-reconcile',
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  });
  client.on('error', () => {}); // Two at once do each other no harm: each step looks again before it changes anything.
  return client;
}
