import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type pg from 'pg';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { readDatabaseCounts } from './gauges.ts';
import { createPostgresMessageStore } from './message-store.ts';

/** Of two organisations: three messages PARSED, two RECEIVED, one FAILED. */
async function sixMessages(t: TestContext): Promise<pg.Pool> {
  const { pool } = await openTestPool(t);
  const [acme, globex] = [await addOrganisation(pool, 'acme'), await addOrganisation(pool, 'globex')];
  const messages = [acme, globex, acme, globex, acme, globex].map((orgId) => newMessage(orgId));
  await createPostgresMessageStore({ pool }).record(messages.map((message) => [message]));
  const become = (status: string, from: number, to: number) =>
    pool.query('UPDATE inbound_message SET status = $1 WHERE id = ANY ($2)', [
      status,
      messages.slice(from, to).map(({ id }) => id),
    ]);
  await become('STORED', 0, 3);
  await become('PARSED', 0, 3);
  await become('FAILED', 3, 4);
  return pool;
}

const countsOf = async (pool: pg.Pool): Promise<Record<string, number>> =>
  Object.fromEntries((await readDatabaseCounts(pool)).messages.map(({ status, count }) => [status, count]));

describe('the counts for the metrics', () => {
  it('are those of all organisations together', async (t) => {
    assert.deepEqual(await countsOf(await sixMessages(t)), { RECEIVED: 2, PARSED: 3, FAILED: 1 });
  });

  it('of a large table are exact for what is not finished, and an estimate for what is', async (t) => {
    const pool = await sixMessages(t);
    const { rows } = await pool.query<{ version: number }>(
      `SELECT current_setting('server_version_num')::int AS version`,
    );
    if ((rows[0]?.version ?? 0) < 180_000) return t.skip('statistics can be given from PostgreSQL 18 on');
    await pool.query(
      `SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', 'inbound_message', 'reltuples', 5000000::real)`,
    );
    assert.deepEqual(await countsOf(pool), { RECEIVED: 2, PARSED: 4_999_997, FAILED: 1 });
  });

  it('of an empty database are none', async (t) => {
    const { pool } = await openTestPool(t);
    assert.deepEqual(await countsOf(pool), { PARSED: 0 });
  });
});
