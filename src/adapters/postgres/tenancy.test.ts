import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type pg from 'pg';
import type { MessageToExtract } from '../../ports/extraction-store.ts';
import { addOrganisation, createTestPool, newMessage } from '../../testing/postgres-fixtures.ts';
import { createPostgresExtractionStore } from './extraction-store.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { createPostgresMessageViews } from './message-views.ts';
import { inTransaction } from './pool.ts';
import { asOrganisation } from './tenant.ts';

const TABLES_WITH_AN_ORGANISATION = [
  'audit_log',
  'blocked_sender',
  'document',
  'inbound_conflict',
  'inbound_message',
  'org',
];

describe('row-level security: an organisation and the rows of another', () => {
  let pool: pg.Pool;
  let acme: string;
  let globex: string;
  let acmeMessage: MessageToExtract;

  let close: () => Promise<void>;

  after(() => close());

  before(async () => {
    ({ pool, close } = await createTestPool());
    acme = await addOrganisation(pool, 'acme');
    globex = await addOrganisation(pool, 'globex');
    const store = createPostgresMessageStore({ pool });
    for (const orgId of [acme, globex]) {
      const message = newMessage(orgId);
      await store.record([[message]]);
      const conflict = { sourceMessageId: message.sourceMessageId, contentSha256: 'f'.repeat(64) };
      await store.record([[newMessage(orgId, conflict)]]);
      await pool.query(`INSERT INTO audit_log (org_id, actor, action) VALUES ($1, 'somebody', 'message.retry')`, [
        orgId,
      ]);
      await pool.query('INSERT INTO blocked_sender (org_id, pattern) VALUES ($1, $2)', [orgId, 'a@b.example']);
      await pool.query(
        `INSERT INTO document (org_id, inbound_message_id, file_name, mime_type, status, part_path)
         VALUES ($1, $2, 'order.pdf', 'application/pdf', 'FAILED', '9')`,
        [orgId, message.id],
      );
      if (orgId === acme)
        acmeMessage = (await createPostgresExtractionStore({ pool }).take(message.id, orgId)) ?? assert.fail();
    }
  });

  it('guards every table that names an organisation', async () => {
    const { rows } = await pool.query<{ table: string; guarded: boolean; policies: number }>(`
      SELECT c.relname AS table, c.relrowsecurity AS guarded,
        (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) AS policies
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'public' AND c.relkind = 'r' AND (c.relname = 'org' OR EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'org_id'))
      ORDER BY 1`);
    assert.deepEqual(
      rows.map(({ table }) => table),
      TABLES_WITH_AN_ORGANISATION,
    );
    for (const row of rows) assert.ok(row.guarded && row.policies > 0, row.table);
  });

  for (const table of TABLES_WITH_AN_ORGANISATION) {
    it(`shows an organisation only its own rows of ${table}`, async () => {
      const column = table === 'org' ? 'id' : 'org_id';
      const seen = await asOrganisation(pool, acme, (client) => client.query(`SELECT ${column} AS org FROM ${table}`));
      assert.deepEqual(seen.rows, [{ org: acme }]);
    });

    it(`shows nothing of ${table} when no organisation is named`, async () => {
      const seen = await inTransaction(pool, async (client) => {
        await client.query('SET LOCAL ROLE orderflow_tenant');
        return client.query(`SELECT count(*) AS count FROM ${table}`);
      });
      assert.deepEqual(seen.rows, [{ count: 0 }]);
    });
  }

  it('changes nothing of another organisation, however the statement is written', async () => {
    const changed = await asOrganisation(pool, globex, (client) =>
      client.query(`UPDATE inbound_message SET status = 'FAILED' WHERE id = $1 OR true RETURNING org_id`, [
        acmeMessage.id,
      ]),
    );
    assert.deepEqual(changed.rows, [{ org_id: globex }]);
  });

  it('writes no document into another organisation', async () => {
    await assert.rejects(
      asOrganisation(pool, globex, (client) =>
        client.query(
          `INSERT INTO document (id, org_id, inbound_message_id, file_name, mime_type, status, part_path)
           VALUES ($1, $2, $3, 'x.pdf', 'application/pdf', 'FAILED', '1')`,
          [randomUUID(), acme, acmeMessage.id],
        ),
      ),
      { code: '42501' },
    );
  });

  it('hangs no document of one organisation on a message of another, not even as the owner of the tables', async () => {
    await assert.rejects(
      pool.query(
        `INSERT INTO document (org_id, inbound_message_id, file_name, mime_type, status, part_path)
         VALUES ($1, $2, 'x.pdf', 'application/pdf', 'FAILED', '1')`,
        [globex, acmeMessage.id],
      ),
      { code: '23503' },
    );
  });

  it('may not delete, nor touch the job queue', async () => {
    for (const statement of ['DELETE FROM document', 'SELECT FROM graphile_worker._private_jobs']) {
      await assert.rejects(
        asOrganisation(pool, acme, (client) => client.query(statement)),
        { code: '42501' },
        statement,
      );
    }
  });

  it('does not find a message of another organisation by its id', async () => {
    const views = createPostgresMessageViews({ pool });
    assert.equal(await views.findMessage(acmeMessage.id, globex), null);
    assert.equal((await views.findMessage(acmeMessage.id, acme))?.id, acmeMessage.id);
    const listed = await views.listMessages({ orgId: globex, limit: 10 });
    assert.deepEqual(listed.map(({ orgId, status }) => [orgId, status === 'CONFLICT']).toSorted(), [
      [globex, false],
      [globex, true],
    ]);
  });

  it('finishes no message under another organisation', async () => {
    const store = createPostgresExtractionStore({ pool });
    const stolen = { ...acmeMessage, orgId: globex };
    assert.equal(await store.take(acmeMessage.id, globex), null);
    assert.equal(
      await store.finish(stolen, {
        documents: [],
        parts: [],
        reading: null,
        failure: { code: 'gave-up', message: 'x' },
      }),
      false,
    );
    const { rows } = await pool.query('SELECT status FROM inbound_message WHERE id = $1', [acmeMessage.id]);
    assert.deepEqual(rows, [{ status: 'STORED' }]);
  });

  it('leaves no trace of the organisation on the connection', async () => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(`SELECT set_config('app.org_id', $1, true), set_config('role', 'orderflow_tenant', true)`, [
        acme,
      ]);
      await client.query('COMMIT');
      const { rows } = await client.query(
        `SELECT current_setting('app.org_id', true) AS org, current_user <> session_user AS other`,
      );
      assert.deepEqual(rows, [{ org: '', other: false }]);
    } finally {
      client.release();
    }
  });
});
