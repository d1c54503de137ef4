/** What work reads of the tables and their indexes, in pages of 8 KB: how it grows with them is seen without a clock. */
import type pg from 'pg';
import { waitFor } from './wait-for.ts';

const PAGES = `
  SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))::bigint AS pages
  FROM pg_statio_user_tables`;

/**
 * `work` must close the connections that it opens, because a session tells what it has read when it ends; they are known by
 * this name. `pool` is for looking only, and must not be used meanwhile: what it reads itself would be counted too.
 */
export async function pagesRead(pool: pg.Pool, applicationName: string, work: () => Promise<void>): Promise<number> {
  const before = await counted(pool);
  await work();
  const gone = async () =>
    (await pool.query('SELECT FROM pg_stat_activity WHERE application_name = $1', [applicationName])).rowCount === 0;
  await waitFor(gone, { what: `the end of the sessions of ${applicationName}` });
  return (await counted(pool)) - before;
}

async function counted(pool: pg.Pool): Promise<number> {
  const client = await pool.connect();
  try {
    await client.query('SELECT pg_stat_force_next_flush()');
    return (await client.query<{ pages: number }>(PAGES)).rows[0]?.pages ?? 0;
  } finally {
    client.release();
  }
}
