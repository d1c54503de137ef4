import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type pg from 'pg';
import type { InboundMessageStatus } from '../../ports/message-store.ts';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { createPostgresMessageRetries } from './message-retries.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { asOrganisation } from './tenant.ts';

async function openHouse(t: TestContext) {
  const { pool } = await openTestPool(t);
  const orgIds = [await addOrganisation(pool, 'acme'), await addOrganisation(pool, 'globex')] as const;
  return { pool, orgIds, retries: createPostgresMessageRetries({ pool }) };
}

async function message(pool: pg.Pool, orgId: string, status: InboundMessageStatus, code = 'object-missing') {
  const made = newMessage(orgId);
  await createPostgresMessageStore({ pool }).record([[made]]);
  await pool.query('DELETE FROM graphile_worker._private_jobs');
  if (status === 'RECEIVED') return made.id;
  if (status !== 'FAILED') await pool.query(`UPDATE inbound_message SET status = 'STORED' WHERE id = $1`, [made.id]);
  const error = status === 'FAILED' ? JSON.stringify({ code, message: 'x' }) : null;
  await pool.query(
    `UPDATE inbound_message SET status = $2, error_json = $3, parser_version = 3, parts_json = '[]',
       notes_json = '[{"code":"field-unstorable"},{"code":"base64-cut"}]' WHERE id = $1`,
    [made.id, status, error],
  );
  return made.id;
}

const row = async (pool: pg.Pool, id: string) =>
  (
    await pool.query(
      'SELECT status, error_json, parts_json, parser_version, notes_json FROM inbound_message WHERE id = $1',
      [id],
    )
  ).rows[0];
const jobs = async (pool: pg.Pool): Promise<readonly string[]> =>
  (
    await pool.query(`SELECT payload->>'inbound_message_id' AS id FROM graphile_worker._private_jobs ORDER BY 1`)
  ).rows.map(({ id }) => id);
const audit = async (pool: pg.Pool) =>
  (await pool.query('SELECT actor, action, target, org_id, count FROM audit_log ORDER BY at, count')).rows;

describe('messages put back', () => {
  it('one: RECEIVED, without error and reading, with a job and an entry', async (t) => {
    const { pool, orgIds, retries } = await openHouse(t);
    const id = await message(pool, orgIds[0], 'FAILED');
    assert.deepEqual(await retries.retry({ id, actor: 'me' }), [id]);
    assert.deepEqual(await row(pool, id), {
      status: 'RECEIVED',
      error_json: null,
      parts_json: null,
      parser_version: null,
      notes_json: [{ code: 'field-unstorable' }],
    });
    assert.deepEqual(await jobs(pool), [id]);
    assert.deepEqual(await audit(pool), [
      { actor: 'me', action: 'message.retry', target: id, org_id: orgIds[0], count: 1 },
    ]);
  });

  it('twenty at the same time: once', async (t) => {
    const { pool, orgIds, retries } = await openHouse(t);
    const ids = await Promise.all([1, 2, 3].map(() => message(pool, orgIds[0], 'FAILED')));
    const answers = await Promise.all(Array.from({ length: 20 }, () => retries.retry({ actor: 'me' })));
    assert.deepEqual(answers.flat().sort(), ids.toSorted());
    assert.deepEqual(await jobs(pool), ids.toSorted());
    assert.equal(
      (await audit(pool)).reduce((sum, { count }) => sum + count, 0),
      3,
    );
  });

  it('all that are FAILED, of an organisation, for a reason; an entry for each organisation, seen by it alone', async (t) => {
    const { pool, orgIds, retries } = await openHouse(t);
    const [acme, globex] = orgIds;
    const lost = await message(pool, acme, 'FAILED');
    const bent = await message(pool, acme, 'FAILED', 'no-part-readable');
    const others = await message(pool, globex, 'FAILED');
    const kept = await Promise.all(
      (['RECEIVED', 'STORED', 'PARSED'] as const).map((status) => message(pool, acme, status)),
    );
    assert.deepEqual(await retries.retry({ id: others, orgId: acme, actor: 'me' }), []);
    for (const id of kept) assert.deepEqual(await retries.retry({ id, actor: 'me' }), []);
    assert.deepEqual(await retries.retry({ orgId: acme, reason: 'no-part-readable', actor: 'me' }), [bent]);
    assert.deepEqual((await retries.retry({ actor: 'me' })).toSorted(), [lost, others].toSorted());
    assert.deepEqual(
      (await audit(pool)).map(({ target, org_id }) => `${target} ${org_id}`).sort(),
      [`failed ${acme}`, `failed ${globex}`, `failed: no-part-readable ${acme}`].sort(),
    );
    const seen = await asOrganisation(pool, globex, (client) => client.query('SELECT org_id FROM audit_log'));
    assert.deepEqual(seen.rows, [{ org_id: globex }]);
  });

  it('a job that was given up, and not forgotten yet, does not give the message up once more', async (t) => {
    const { pool, orgIds, retries } = await openHouse(t);
    const id = await message(pool, orgIds[0], 'FAILED');
    await pool.query(
      `SELECT graphile_worker.add_job('extract_attachments', json_build_object('inbound_message_id', $1::text), max_attempts => 1)`,
      [id],
    );
    await pool.query('UPDATE graphile_worker._private_jobs SET attempts = max_attempts');
    await retries.retry({ id, actor: 'me' });
    const { rows } = await pool.query('SELECT attempts FROM graphile_worker._private_jobs');
    assert.deepEqual(rows, [{ attempts: 0 }]);
  });

  it('more than fit into one transaction', async (t) => {
    const { pool, orgIds, retries } = await openHouse(t);
    await pool.query(
      `INSERT INTO inbound_message (org_id, source, received_at, status) SELECT $1, 'EMAIL', now(), 'RECEIVED' FROM generate_series(1, 2300)`,
      [orgIds[0]],
    );
    await pool.query(`UPDATE inbound_message SET status = 'FAILED'`);
    assert.equal(new Set(await retries.retry({ actor: 'me' })).size, 2300);
    assert.equal(new Set(await jobs(pool)).size, 2300);
    assert.deepEqual(
      (await audit(pool)).map(({ count }) => count),
      [300, 1000, 1000].sort(),
    );
  });
});
