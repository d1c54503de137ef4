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

  it('of jobs are by task, those under way included, with the age of the oldest', async (t) => {
    const { pool } = await openTestPool(t);
    await addJobs(pool, 3);
    await pool.query(
      `UPDATE graphile_worker._private_jobs SET locked_at = now(), created_at = now() - interval '1 hour'
       WHERE id = (SELECT max(id) FROM graphile_worker._private_jobs)`,
    );
    const [attachments, documents] = (await readDatabaseCounts(pool)).jobs;
    assert.deepEqual(attachments, { task: 'extract_attachments', count: 0, oldestAgeSeconds: 0 });
    assert.equal(documents?.count, 3);
    assert.equal(Math.floor((documents?.oldestAgeSeconds ?? 0) / 60), 60);
  });

  it('of very many jobs are an estimate, that is no less than what was counted', async (t) => {
    const { pool } = await openTestPool(t);
    await pool.query('ALTER TABLE graphile_worker._private_jobs SET (autovacuum_enabled = off)');
    const count = async () => (await readDatabaseCounts(pool, { countedJobs: 10 })).jobs[1]?.count;
    await addJobs(pool, 2_000);
    assert.equal(await count(), 10);
    await pool.query('ANALYZE graphile_worker._private_jobs');
    assert.equal(await count(), 2_000);
    await addJobs(pool, 2_000);
    const grown = (await count()) ?? 0;
    assert.ok(grown > 3_000 && grown < 5_000, `${grown}, where 4000 wait`);
  });
});

const addJobs = (pool: pg.Pool, count: number) =>
  pool.query(
    `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
       SELECT ('extract_document', '{}', NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec
       FROM generate_series(1, $1::int)))`,
    [count],
  );
