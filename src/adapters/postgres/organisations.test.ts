import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addOrganisation, openTestPool } from '../../testing/postgres-fixtures.ts';
import { createPostgresBlockList, createPostgresOrganisations } from './organisations.ts';

test('who stops waiting for the directory hears so at once, and the connection stays good', async (t) => {
  const { pool } = await openTestPool(t);
  const orgId = await addOrganisation(pool, 'acme');
  const locker = await pool.connect();
  await locker.query('BEGIN; LOCK TABLE org, blocked_sender');
  const questions = [
    (signal: AbortSignal) => createPostgresOrganisations({ pool }).findBySlug('acme', signal),
    (signal: AbortSignal) => createPostgresBlockList({ pool }).blockedBy('a@b', signal),
  ];
  for (const question of questions) {
    const gone = new AbortController();
    const answer = question(gone.signal);
    setTimeout(() => gone.abort(new Error('the client is gone')), 50);
    await assert.rejects(answer, /the client is gone/);
    await assert.rejects(question(gone.signal), /the client is gone/);
  }
  const before = pool.totalCount;
  await locker.query('COMMIT');
  locker.release();
  const { signal } = new AbortController();
  assert.equal((await createPostgresOrganisations({ pool }).findBySlug('acme', signal))?.id, orgId);
  assert.deepEqual(await createPostgresBlockList({ pool }).blockedBy('a@b', signal), new Set());
  assert.equal(pool.totalCount, before);
});
