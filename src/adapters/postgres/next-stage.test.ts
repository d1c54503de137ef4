/** What the next stage and the worker may write of documents and messages, held by the database: migrations/0010_next_stage.sql. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { addOrganisation, createTestPool, newMessage } from '../../testing/postgres-fixtures.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { nextStageRole, provideNextStageRole } from './next-stage-role.ts';
import { asOrganisation } from './tenant.ts';

const STATUSES = ['UPLOADED', 'STORED', 'PROCESSING', 'EXTRACTED', 'FAILED'] as const;
const ALLOWED: ReadonlySet<string> = new Set([
  'UPLOADED STORED',
  'UPLOADED FAILED',
  'STORED PROCESSING',
  'STORED EXTRACTED',
  'STORED FAILED',
  'PROCESSING EXTRACTED',
  'PROCESSING FAILED',
  'FAILED PROCESSING',
  'FAILED EXTRACTED',
]);
const DENIED = { code: '42501' };
const REFUSED = { code: '23514' };

interface Document {
  readonly id: string;
  readonly orgId: string;
  readonly messageId: string;
}

describe('what may be written of documents', () => {
  let pool: pg.Pool;
  let url: string;
  let close: () => Promise<void>;
  let acme: string;
  let globex: string;
  const login = `consumer_${randomBytes(4).toString('hex')}`;
  let consumer: pg.Pool;

  before(async () => {
    ({ pool, url, close } = await createTestPool());
    [acme, globex] = [await addOrganisation(pool, 'acme'), await addOrganisation(pool, 'globex')];
    // As docs/next-stage.md has an operator do it.
    await pool.query(`CREATE ROLE ${login} LOGIN PASSWORD 'p'`);
    await pool.query(`GRANT orderflow_next_stage TO ${login}`);
    const of = new URL(url);
    Object.assign(of, { username: login, password: 'p' });
    consumer = new pg.Pool({ connectionString: of.href, max: 2 });
    consumer.on('error', () => {});
  });

  after(async () => {
    await consumer.end();
    await pool.query(`DROP ROLE ${login}`);
    await close();
  });

  async function stored(orgId = acme, status = 'STORED', over: { storageKey?: null } = {}): Promise<Document> {
    const message = newMessage(orgId);
    await createPostgresMessageStore({ pool }).record([[message]]);
    const id = randomUUID();
    await pool.query(
      `INSERT INTO document (id, org_id, inbound_message_id, part_path, file_name, mime_type, size_bytes, sha256, storage_key,
         status) VALUES ($1, $2, $3, '1', 'order.pdf', 'application/pdf', 1, repeat('0', 64), $4, $5)`,
      [id, orgId, message.id, over.storageKey === null ? null : `${orgId}/2026/03/${id}.pdf`, status],
    );
    return { id, orgId, messageId: message.id };
  }

  const asConsumer = async (orgId: string, ...statements: readonly string[]): Promise<pg.QueryResult> => {
    const client = await consumer.connect();
    try {
      await client.query('BEGIN');
      await client.query(`SELECT set_config('app.org_id', $1, true)`, [orgId]);
      let result: pg.QueryResult | undefined;
      for (const statement of statements) result = await client.query(statement);
      await client.query('COMMIT');
      return result ?? assert.fail();
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    } finally {
      client.release();
    }
  };
  const asWorker = (orgId: string, statement: string): Promise<pg.QueryResult> =>
    asOrganisation(pool, orgId, (client) => client.query(statement));
  const set = ({ id }: Document, columns: string): string => `UPDATE document SET ${columns} WHERE id = '${id}'`;

  it('goes along the specification; out of EXTRACTED not even the owner takes it', async () => {
    for (const from of STATUSES) {
      for (const to of STATUSES.filter((one) => one !== from)) {
        const allowed = ALLOWED.has(`${from} ${to}`);
        const owner = pool.query(set(await stored(acme, from), `status = '${to}'`));
        if (from !== 'EXTRACTED') await owner;
        else await assert.rejects(owner, REFUSED, `owner: ${from} → ${to}`);
        const next = asConsumer(acme, set(await stored(acme, from), `status = '${to}'`));
        if (allowed) assert.equal((await next).rowCount, 1);
        else await assert.rejects(next, REFUSED, `next stage: ${from} → ${to}`);
      }
    }
  });

  it('tries nothing again of what was never stored', async () => {
    const lost = await stored(acme, 'FAILED', { storageKey: null });
    await assert.rejects(asConsumer(acme, set(lost, `status = 'PROCESSING'`)), REFUSED);
    await assert.rejects(asConsumer(acme, set(lost, `error_json = '{}'`)), DENIED);
  });

  it('the next stage sees the documents of its organisation, and none without one', async () => {
    const [own, other] = [await stored(), await stored(globex)];
    const ids = (result: pg.QueryResult): unknown[] => result.rows.map(({ id }) => id);
    const seen = ids(await asConsumer(acme, 'SELECT id FROM document'));
    assert.ok(seen.includes(own.id) && !seen.includes(other.id));
    assert.deepEqual(ids(await asConsumer('', 'SELECT id FROM document')), []);
    assert.equal((await asConsumer(acme, set(other, `status = 'EXTRACTED'`))).rowCount, 0);
    assert.equal(
      (await asConsumer(acme, set(own, `status = 'FAILED', error_json = '{"code":"no-table"}'`))).rowCount,
      1,
    );
  });

  it('the next stage may write nothing but status and error_json, and see nothing but documents', async () => {
    const own = await stored();
    for (const statement of [
      set(own, `storage_key = '${globex}/2026/03/${own.id}.pdf'`),
      set(own, `sha256 = ''`),
      set(own, `file_name = 'x'`),
      set(own, `org_id = '${globex}'`),
      set(own, 'updated_at = now()'),
      `DELETE FROM document`,
      `INSERT INTO document (org_id, inbound_message_id, file_name, mime_type, status, part_path)
       VALUES ('${acme}', '${own.messageId}', 'x', 'x', 'FAILED', '2')`,
      'SELECT FROM inbound_message',
      'SELECT FROM inbound_conflict',
      'SELECT FROM org',
      'SELECT FROM audit_log',
      'SELECT FROM graphile_worker._private_jobs',
      'SELECT FROM schema_migration',
    ]) {
      await assert.rejects(asConsumer(acme, statement), DENIED, statement);
    }
    await asConsumer(acme, set(own, `status = 'EXTRACTED', error_json = '{"code":"one-page-skipped"}'`));
    await assert.rejects(asConsumer(acme, set(own, 'error_json = NULL')), DENIED);
  });

  it('the worker writes no document but beside the end of its message’s reading, and none onto the object of another', async () => {
    const [own, other] = [await stored(), await stored(globex)];
    const touch = `UPDATE inbound_message SET status = 'STORED' WHERE id = '${own.messageId}'; `;
    for (const [columns, begin] of [
      [`storage_key = '${acme}/2026/03/${own.id}.pdf'`, ''],
      [`sha256 = repeat('1', 64)`, ''],
      [`file_name = 'x'`, ''],
      [`storage_key = '${globex}/2026/03/${other.id}.pdf'`, touch],
      [`storage_key = '${globex}/2026/03/${own.id}.pdf'`, touch],
      [`storage_key = '${acme}/2026/03/../../${globex}/2026/03/${own.id}.pdf'`, touch],
    ] as const) {
      await assert.rejects(asWorker(acme, begin + set(own, columns)), DENIED, columns);
    }
    for (const columns of ['id = gen_random_uuid()', `part_path = '2'`, 'created_at = now()']) {
      await assert.rejects(asWorker(acme, touch + set(own, columns)), DENIED, columns);
    }
    await assert.rejects(
      asWorker(
        acme,
        `INSERT INTO document (id, org_id, inbound_message_id, file_name, mime_type, status, part_path)
         VALUES (gen_random_uuid(), '${acme}', '${own.messageId}', 'x', 'x', 'FAILED', '2')`,
      ),
      DENIED,
    );
    await asWorker(acme, touch + set(own, `file_name = 'x'`));
  });

  it('the worker writes what it found in a message once: with the end of the reading', async () => {
    const { messageId } = await stored();
    const write = (columns: string) =>
      asWorker(acme, `UPDATE inbound_message SET ${columns} WHERE id = '${messageId}'`);
    const findings = ['error_json', 'parts_json', 'notes_json'].map((column) => `${column} = '[{"x":1}]'`);
    for (const finding of [...findings, 'parser_version = 9']) {
      await assert.rejects(write(finding), DENIED, finding);
      await assert.rejects(write(`status = 'STORED', ${finding}`), DENIED, finding);
    }
    await write(`status = 'STORED'`);
    await write(`status = 'PARSED', parts_json = '[]', notes_json = '[]', parser_version = 1`);
    for (const finding of findings) await assert.rejects(write(finding), DENIED, finding);
  });

  it('the role is made and given its rights once more where both are missing', async () => {
    const client = await pool.connect();
    try {
      assert.deepEqual(await nextStageRole(client), { granted: true });
      await client.query('REVOKE ALL ON document FROM orderflow_next_stage');
      await client.query('REVOKE UPDATE (status, error_json) ON document FROM orderflow_next_stage');
      assert.deepEqual(await nextStageRole(client), { granted: false });
      await provideNextStageRole(client);
      assert.deepEqual(await nextStageRole(client), { granted: true });
    } finally {
      client.release();
    }
  });
});
