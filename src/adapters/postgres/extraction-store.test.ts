import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type pg from 'pg';
import type { ExtractionResult, ExtractionStore, MessageToExtract, NewDocument } from '../../ports/extraction-store.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { createPostgresExtractionStore } from './extraction-store.ts';
import { createPostgresMessageRetries } from './message-retries.ts';
import { createPostgresMessageStore } from './message-store.ts';

async function taken(t: TestContext): Promise<{ pool: pg.Pool; store: ExtractionStore; message: MessageToExtract }> {
  const { pool } = await openTestPool(t);
  const row = newMessage(await addOrganisation(pool, 'acme'));
  await createPostgresMessageStore({ pool }).record([[row]]);
  const store = createPostgresExtractionStore({ pool });
  const message = await store.take(row.id, row.orgId);
  assert.ok(message);
  return { pool, store, message };
}

const document = (
  { orgId }: MessageToExtract,
  over: Partial<NewDocument> = {},
  id: string = randomUUID(),
): NewDocument => ({
  id,
  partPath: '1',
  fileName: 'order.pdf',
  mimeType: 'application/pdf',
  declaredMimeType: null,
  sizeBytes: 10,
  sha256: '0'.repeat(64),
  storageKey: `${orgId}/2026/11/${id}.pdf`,
  status: 'STORED',
  error: null,
  ...over,
});

const result = (documents: readonly NewDocument[], over: Partial<ExtractionResult> = {}): ExtractionResult => ({
  documents,
  parts: [],
  reading: { parserVersion: 7, notes: [] },
  failure: null,
  ...over,
});

async function written(pool: pg.Pool): Promise<unknown> {
  const { rows: messages } = await pool.query('SELECT status, error_json FROM inbound_message');
  const { rows: documents } = await pool.query('SELECT id, part_path, file_name FROM document ORDER BY part_path');
  const { rows: jobs } = await pool.query(
    `SELECT key FROM graphile_worker.jobs WHERE task_identifier = 'extract_document' ORDER BY key`,
  );
  return { messages, documents, jobs };
}

describe('what becomes of a message in the database', () => {
  it('a message is taken as its organisation, in one turn, and the connection is ours again', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    const [first, second] = [newMessage(orgId), newMessage(orgId)];
    await createPostgresMessageStore({ pool }).record([[first], [second]]);
    await pool.query(`
      CREATE FUNCTION only_tenants() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF current_user <> 'orderflow_tenant' THEN RAISE 'taken as %', current_user; END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER only_tenants BEFORE UPDATE ON inbound_message FOR EACH ROW EXECUTE FUNCTION only_tenants()`);
    const client = await pool.connect();
    cleanUp(t, () => client.release());
    let turns = 0;
    const counted = Object.assign(Object.create(client) as pg.PoolClient, {
      query: (text: string) => {
        turns++;
        return client.query(text);
      },
      release: () => {},
    });
    const store = createPostgresExtractionStore({
      pool: Object.assign(Object.create(pool) as pg.Pool, { connect: async () => counted }),
    });
    assert.equal((await store.take(first.id, orgId))?.status, 'STORED');
    assert.deepEqual([(await store.take(second.id, orgId))?.status, turns], ['STORED', 2]);
    assert.equal((await store.take(first.id, orgId))?.status, 'STORED');
    assert.equal(await store.take(first.id, randomUUID()), null);
    const { rows } = await client.query(
      `SELECT session_user = current_user AS ours, current_setting('app.org_id') AS org`,
    );
    assert.deepEqual(rows, [{ ours: true, org: '' }]);
  });

  it('who comes second changes nothing, whatever it found', async (t) => {
    const { pool, store, message } = await taken(t);
    const first = document(message);
    assert.equal(await store.finish(message, result([first])), true);
    const before = await written(pool);
    assert.deepEqual(before, {
      messages: [{ status: 'PARSED', error_json: null }],
      documents: [{ id: first.id, part_path: '1', file_name: 'order.pdf' }],
      jobs: [{ key: `extract_document:${first.id}` }],
    });
    const another = result([
      document(message, { fileName: 'other.pdf' }, first.id),
      document(message, { partPath: '2' }),
    ]);
    assert.equal(await store.finish(message, another), false);
    const failure = { code: 'gave-up', message: 'late' } as const;
    assert.equal(await store.finish(message, result([], { failure })), false);
    assert.deepEqual(await written(pool), before);
  });

  it('writes what the reading has to say, and the parser it is of; nothing of a mail that was not read', async (t) => {
    const { pool, store, message } = await taken(t);
    const notes = [
      { code: 'base64-cut', part: '2', text: 'order\0.pdf: base64 that stops in the middle' },
      { code: 'more', part: null, text: '3 more notes, not listed', detail: { count: 3 } },
    ];
    const part = { path: '2', mediaType: 'application/pdf', fileName: null, disposition: null, sizeBytes: 1 } as const;
    const parts: ExtractionResult['parts'] = [
      { ...part, decision: 'skipped', reason: 'x', notes: ['base64-cut'] },
      { ...part, path: '3', decision: 'skipped', reason: 'x' },
    ];
    assert.equal(await store.finish(message, result([], { parts, reading: { parserVersion: 7, notes } })), true);
    const row = async () =>
      (
        await pool.query('SELECT notes_json, parser_version, parts_json FROM inbound_message WHERE id = $1', [
          message.id,
        ])
      ).rows[0];
    const { notes_json, parser_version, parts_json } = await row();
    assert.deepEqual(notes_json, [{ ...notes[0], text: 'order\uFFFD.pdf: base64 that stops in the middle' }, notes[1]]);
    assert.equal(parser_version, 7);
    assert.deepEqual(
      parts_json.map((one: { notes?: unknown }) => one.notes),
      [['base64-cut'], undefined],
    );

    const other = await taken(t);
    const failure = { code: 'gave-up', message: 'x' } as const;
    await other.store.finish(other.message, result([], { reading: null, failure }));
    const { rows } = await other.pool.query('SELECT notes_json, parser_version FROM inbound_message');
    assert.deepEqual(rows, [{ notes_json: null, parser_version: null }]);
  });

  it('what the database forgot in a crash is no end of the job', async (t) => {
    const { pool, store, message } = await taken(t);
    // As a crash leaves it that came before the commit of `take` was on disk.
    await pool.query('ALTER TABLE inbound_message DISABLE TRIGGER USER');
    await pool.query(`UPDATE inbound_message SET status = 'RECEIVED'`);
    await pool.query('ALTER TABLE inbound_message ENABLE TRIGGER USER');
    await assert.rejects(store.finish(message, result([document(message)])), /RECEIVED again/);
    const nothing = { messages: [{ status: 'RECEIVED', error_json: null }], documents: [], jobs: [] };
    assert.deepEqual(await written(pool), nothing);
    assert.ok(await store.take(message.id, message.orgId));
    assert.equal(await store.finish(message, result([document(message)])), true);
  });

  it('a message that is gone is done with', async (t) => {
    const { pool, store, message } = await taken(t);
    await pool.query('DELETE FROM inbound_message');
    assert.equal(await store.finish(message, result([document(message)])), false);
  });

  it('ends with its failure where there is no document', async (t) => {
    const { pool, store, message } = await taken(t);
    const failure = { code: 'object-missing', message: 'gone' } as const;
    assert.equal(await store.finish(message, result([], { failure })), true);
    assert.deepEqual(await written(pool), {
      messages: [{ status: 'FAILED', error_json: failure }],
      documents: [],
      jobs: [],
    });
  });

  it('what an earlier run has left is put right; no job for a document that could not be stored', async (t) => {
    const { pool, store, message } = await taken(t);
    const kept = document(message);
    const lost = document(message, {
      partPath: '2',
      storageKey: null,
      sizeBytes: null,
      sha256: null,
      status: 'FAILED',
    });
    await pool.query(
      `INSERT INTO document (id, org_id, inbound_message_id, part_path, file_name, mime_type, status)
       VALUES ($1, $2, $3, '1', 'before.pdf', 'application/pdf', 'FAILED')`,
      [kept.id, message.orgId, message.id],
    );
    assert.equal(await store.finish(message, result([kept, lost])), true);
    assert.deepEqual(await written(pool), {
      messages: [{ status: 'PARSED', error_json: null }],
      documents: [
        { id: kept.id, part_path: '1', file_name: 'order.pdf' },
        { id: lost.id, part_path: '2', file_name: 'order.pdf' },
      ],
      jobs: [{ key: `extract_document:${kept.id}` }],
    });
  });

  it('read again after it FAILED, what the next stage was told of stays and is not handed on twice', async (t) => {
    const { pool, store, message } = await taken(t);
    const failure = { code: 'limit-exceeded', message: 'too many' } as const;
    const [same, changed, fresh] = [
      document(message),
      document(message, { partPath: '2' }),
      document(message, { partPath: '3' }),
    ];
    assert.equal(await store.finish(message, result([same, changed], { failure })), true);
    await pool.query(`DELETE FROM graphile_worker._private_jobs WHERE key IS NOT NULL`);
    await pool.query(`UPDATE document SET status = 'EXTRACTED'`);
    await createPostgresMessageRetries({ pool }).retry({ actor: 'test' });
    const again = await store.take(message.id, message.orgId);
    assert.ok(again !== null);
    assert.equal(await store.finish(again, result([same, { ...changed, sha256: 'other' }, fresh])), true);
    const { rows } = await pool.query('SELECT id, status FROM document ORDER BY part_path');
    assert.deepEqual(rows, [
      { id: same.id, status: 'EXTRACTED' },
      { id: changed.id, status: 'STORED' },
      { id: fresh.id, status: 'STORED' },
    ]);
    const { rows: handed } = await pool.query(
      `SELECT key FROM graphile_worker._private_jobs WHERE key IS NOT NULL ORDER BY key`,
    );
    assert.deepEqual(
      handed.map(({ key }) => key),
      [changed.id, fresh.id].map((id) => `extract_document:${id}`).sort(),
    );
  });
});
