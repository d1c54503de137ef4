import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import pg from 'pg';
import type { NewMessage } from '../../ports/message-store.ts';
import { RecordError } from '../../ports/message-store.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { addOrganisation, newMessage, openTestPool, record } from '../../testing/postgres-fixtures.ts';
import { createPostgresMessageStore } from './message-store.ts';

async function count(pool: pg.Pool, table: string, where = 'true'): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(`SELECT count(*) AS count FROM ${table} WHERE ${where}`);
  return rows[0]?.count ?? -1;
}

const jobCount = (pool: pg.Pool): Promise<number> =>
  count(pool, 'graphile_worker.jobs', `task_identifier = 'extract_attachments'`);

describe('recording messages in PostgreSQL', () => {
  it('writes the row with every column and its extract_attachments job in one transaction', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    const message = newMessage(orgId);

    const recorded = await createPostgresMessageStore({ pool }).record([[message]]);

    assert.deepEqual(recorded, [[{ outcome: 'accepted', id: message.id }]]);
    const { rows } = await pool.query('SELECT * FROM inbound_message');
    assert.equal(rows.length, 1);
    const { created_at, updated_at, ...row } = rows[0];
    assert.ok(created_at instanceof Date && updated_at instanceof Date);
    assert.deepEqual(row, {
      id: message.id,
      org_id: orgId,
      source: 'EMAIL',
      source_message_id: message.sourceMessageId,
      from_email: message.fromEmail,
      to_email: message.toEmail,
      subject: message.subject,
      received_at: message.receivedAt,
      raw_storage_key: message.rawStorageKey,
      status: 'RECEIVED',
      error_json: null,
      trace_id: message.traceId,
      size_bytes: message.sizeBytes,
      raw_sha256: message.rawSha256,
      content_sha256: message.contentSha256,
      header_from: message.headerFrom,
      header_to: message.headerTo,
      header_date: message.headerDate,
      remote_address: message.remoteAddress,
      helo_name: message.heloName,
      tls_version: message.tlsVersion,
      tls_cipher: message.tlsCipher,
      message_id_synthetic: false,
      parts_json: null,
      notes_json: null,
      parser_version: null,
      reverse_path: message.reversePath,
      content_digest_version: 2,
    });
    const jobs = await pool.query(
      `SELECT task.identifier, job.payload FROM graphile_worker._private_jobs job
       JOIN graphile_worker._private_tasks task ON task.id = job.task_id`,
    );
    assert.deepEqual(jobs.rows, [
      {
        identifier: 'extract_attachments',
        payload: { inbound_message_id: message.id, org_id: orgId, trace_id: message.traceId },
      },
    ]);
  });

  it('gives each job the traceparent of its own mail, in whatever order they are written', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    const mails = [3, 1, 2].map((n) => {
      const traceId = String(n).repeat(32);
      const sourceMessageId = `<${n}@buyer.example>`;
      return newMessage(orgId, { sourceMessageId, traceId, traceparent: `00-${traceId}-00f067aa0ba902b7-01` });
    });

    await record(
      createPostgresMessageStore({ pool }),
      mails.map((mail) => [mail]),
    );

    const { rows } = await pool.query('SELECT payload FROM graphile_worker._private_jobs');
    const byId = (a: { inbound_message_id: string }, b: { inbound_message_id: string }) =>
      a.inbound_message_id < b.inbound_message_id ? -1 : 1;
    assert.deepEqual(
      rows.map(({ payload }) => payload).sort(byId),
      mails
        .map(({ id, traceId, traceparent }) => ({
          inbound_message_id: id,
          org_id: orgId,
          trace_id: traceId,
          traceparent,
        }))
        .sort(byId),
    );
  });

  it('records an envelope for several organisations as one row and one job each', async (t) => {
    const { pool } = await openTestPool(t);
    const acme = await addOrganisation(pool, 'acme');
    const globex = await addOrganisation(pool, 'globex');
    const sourceMessageId = '<one@buyer.example>';
    const envelope = [newMessage(acme, { sourceMessageId }), newMessage(globex, { sourceMessageId })];

    const [recorded] = await record(createPostgresMessageStore({ pool }), [envelope]);

    assert.deepEqual(
      recorded?.map(({ outcome }) => outcome),
      ['accepted', 'accepted'],
    );
    assert.equal(await count(pool, 'inbound_message'), 2);
    assert.equal(await jobCount(pool), 2);
  });

  it('answers a second mail of the same identity and content with the first row, without a row or job', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const orgId = await addOrganisation(pool, 'acme');
    const first = newMessage(orgId);
    await store.record([[first]]);

    const recorded = await store.record([[newMessage(orgId, { sourceMessageId: first.sourceMessageId })]]);

    assert.deepEqual(recorded, [[{ outcome: 'duplicate', id: first.id }]]);
    assert.equal(await count(pool, 'inbound_message'), 1);
    assert.equal(await jobCount(pool), 1);
  });

  it('finds duplicates within one batch', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    const first = newMessage(orgId);
    const second = newMessage(orgId, { sourceMessageId: first.sourceMessageId });

    const outcomes = (await record(createPostgresMessageStore({ pool }), [[first], [second]])).flat();

    assert.deepEqual(outcomes.map(({ outcome }) => outcome).sort(), ['accepted', 'duplicate']);
    assert.equal(new Set(outcomes.map(({ id }) => id)).size, 1);
  });

  it('makes one row of the same mail arriving twenty times at once on as many connections as there are', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const orgId = await addOrganisation(pool, 'acme');
    const twenty = Array.from({ length: 20 }, () => newMessage(orgId, { sourceMessageId: '<same@buyer.example>' }));

    const outcomes = (await Promise.all(twenty.map((message) => record(store, [[message]])))).flat(2);

    assert.equal(outcomes.filter(({ outcome }) => outcome === 'accepted').length, 1);
    assert.equal(outcomes.filter(({ outcome }) => outcome === 'duplicate').length, 19);
    assert.equal(new Set(outcomes.map(({ id }) => id)).size, 1);
    assert.equal(await count(pool, 'inbound_message'), 1);
    assert.equal(await jobCount(pool), 1);
  });

  it('does not deadlock when two batches hold the same mails in opposite order', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const orgId = await addOrganisation(pool, 'acme');
    const batch = (): NewMessage[][] =>
      Array.from({ length: 50 }, (_, i) => [newMessage(orgId, { sourceMessageId: `<${i}@buyer.example>` })]);

    await Promise.all(Array.from({ length: 6 }, (_, i) => store.record(i % 2 === 0 ? batch() : batch().reverse())));

    assert.equal(await count(pool, 'inbound_message'), 50);
  });

  it('keeps a mail of other content under the same Message-ID aside as a conflict', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const orgId = await addOrganisation(pool, 'acme');
    const first = newMessage(orgId);
    const other = newMessage(orgId, { sourceMessageId: first.sourceMessageId, contentSha256: 'f'.repeat(64) });
    await store.record([[first]]);

    const recorded = await store.record([[other]]);

    assert.deepEqual(recorded, [[{ outcome: 'conflict', id: other.id }]]);
    assert.equal(await count(pool, 'inbound_message'), 1);
    const { rows } = await pool.query(
      'SELECT id, org_id, inbound_message_id, raw_storage_key, content_sha256, subject FROM inbound_conflict',
    );
    assert.deepEqual(rows, [
      {
        id: other.id,
        org_id: orgId,
        inbound_message_id: first.id,
        raw_storage_key: other.rawStorageKey,
        content_sha256: other.contentSha256,
        subject: other.subject,
      },
    ]);
  });

  it('answers a redelivered conflict with the one kept before', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const orgId = await addOrganisation(pool, 'acme');
    const first = newMessage(orgId);
    const again = { sourceMessageId: first.sourceMessageId, contentSha256: 'f'.repeat(64) };
    const conflict = newMessage(orgId, again);
    await store.record([[first]]);
    await store.record([[conflict]]);

    const recorded = await store.record([[newMessage(orgId, again)]]);

    assert.deepEqual(recorded, [[{ outcome: 'duplicate', id: conflict.id }]]);
    assert.equal(await count(pool, 'inbound_conflict'), 1);
  });

  describe('a redelivery is compared by the digest of the row that is there', () => {
    const asVersion1 = async (pool: pg.Pool, table: string, { id, contentSha256V1 }: NewMessage): Promise<void> => {
      await pool.query(`UPDATE ${table} SET content_sha256 = $2, content_digest_version = DEFAULT WHERE id = $1`, [
        id,
        contentSha256V1,
      ]);
    };
    const digestA = 'a'.repeat(64);
    const digestB = 'b'.repeat(64);
    const digestC = 'c'.repeat(64);

    it('a row of version 1 by the content alone, whatever the fields say now', async (t) => {
      const { pool } = await openTestPool(t);
      const store = createPostgresMessageStore({ pool });
      const first = newMessage(await addOrganisation(pool, 'acme'));
      await store.record([[first]]);
      await asVersion1(pool, 'inbound_message', first);
      const { orgId, sourceMessageId } = first;

      const again = newMessage(orgId, { sourceMessageId, contentSha256: digestA });
      const other = newMessage(orgId, { sourceMessageId, contentSha256V1: digestB });

      assert.deepEqual(await store.record([[again]]), [[{ outcome: 'duplicate', id: first.id }]]);
      assert.deepEqual(await store.record([[other]]), [[{ outcome: 'conflict', id: other.id }]]);
    });

    it('a row of version 2 by fields and content', async (t) => {
      const { pool } = await openTestPool(t);
      const store = createPostgresMessageStore({ pool });
      const first = newMessage(await addOrganisation(pool, 'acme'));
      await store.record([[first]]);
      const { orgId, sourceMessageId, contentSha256V1 } = first;

      const other = newMessage(orgId, { sourceMessageId, contentSha256: digestA, contentSha256V1 });

      assert.deepEqual(await store.record([[other]]), [[{ outcome: 'conflict', id: other.id }]]);
    });

    it('a conflict of version 1 as well', async (t) => {
      const { pool } = await openTestPool(t);
      const store = createPostgresMessageStore({ pool });
      const first = newMessage(await addOrganisation(pool, 'acme'));
      const { orgId, sourceMessageId } = first;
      const conflict = newMessage(orgId, { sourceMessageId, contentSha256: digestA, contentSha256V1: digestB });
      await store.record([[first], [conflict]]);
      await asVersion1(pool, 'inbound_conflict', conflict);

      const again = newMessage(orgId, { sourceMessageId, contentSha256: digestC, contentSha256V1: digestB });

      assert.deepEqual(await store.record([[again]]), [[{ outcome: 'duplicate', id: conflict.id }]]);
      assert.equal(await count(pool, 'inbound_conflict'), 1);
    });

    it('a row of a version that is not known here is equal to none', async (t) => {
      const { pool } = await openTestPool(t);
      const store = createPostgresMessageStore({ pool });
      const first = newMessage(await addOrganisation(pool, 'acme'));
      await store.record([[first]]);
      await pool.query('UPDATE inbound_message SET content_digest_version = 3');
      const again = newMessage(first.orgId, { sourceMessageId: first.sourceMessageId });

      assert.deepEqual(await store.record([[again]]), [[{ outcome: 'conflict', id: again.id }]]);
    });
  });

  it('is all or nothing: one row that cannot be written leaves none, and says whose fault it is', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    const strangerOrgId = 'b5a7c1de-0000-4000-8000-000000000000';

    await assert.rejects(
      createPostgresMessageStore({ pool }).record([[newMessage(orgId), newMessage(strangerOrgId)]]),
      (error) => error instanceof RecordError && error.code === 'refused',
    );

    assert.equal(await count(pool, 'inbound_message'), 0);
    assert.equal(await jobCount(pool), 0);
  });

  it('a conflict that cannot be kept is the trouble of its envelope alone: the others of its commit stand', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const orgId = await addOrganisation(pool, 'acme');
    const first = newMessage(orgId);
    await store.record([[first]]);
    await pool.query('ALTER TABLE inbound_conflict RENAME TO gone');
    const conflict = newMessage(orgId, { sourceMessageId: first.sourceMessageId, contentSha256: 'f'.repeat(64) });
    const other = newMessage(orgId);

    const [ofConflict, ofOther] = await store.record([[conflict], [other]]);

    assert.ok(ofConflict instanceof RecordError && ofConflict.code === 'unavailable');
    assert.deepEqual(ofOther, [{ outcome: 'accepted', id: other.id }]);
    assert.equal(await count(pool, 'inbound_message'), 2);
  });

  it('stores NUL and lone surrogates as replacement characters', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');

    await createPostgresMessageStore({ pool }).record([[newMessage(orgId, { subject: 'a\0b\ud800c' })]]);

    const { rows } = await pool.query('SELECT subject FROM inbound_message');
    assert.deepEqual(rows, [{ subject: 'a\ufffdb\ufffdc' }]);
  });

  it('says unavailable when the database is away', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    await pool.query('ALTER TABLE inbound_message RENAME TO gone');

    await assert.rejects(
      createPostgresMessageStore({ pool }).record([[newMessage(orgId)]]),
      (error) => error instanceof RecordError && error.code === 'unavailable',
    );
  });

  it('says that the outcome is unknown when the connection is cut while COMMIT is under way', async (t) => {
    const { pool } = await openTestPool(t);
    const orgId = await addOrganisation(pool, 'acme');
    // A deferred trigger runs inside COMMIT: it cuts its own connection there.
    await pool.query(`
      CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON inbound_message DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION cut()`);

    await assert.rejects(
      createPostgresMessageStore({ pool }).record([[newMessage(orgId)]]),
      (error) => error instanceof RecordError && error.code === 'outcome-unknown',
    );
  });

  it('an envelope for several organisations is all or nothing also when one of its mails is a conflict', async (t) => {
    const { pool } = await openTestPool(t);
    const store = createPostgresMessageStore({ pool });
    const [acme, globex] = [await addOrganisation(pool, 'acme'), await addOrganisation(pool, 'globex')];
    const first = newMessage(acme);
    await store.record([[first]]);
    await pool.query('ALTER TABLE inbound_conflict RENAME TO gone');
    const same = { sourceMessageId: first.sourceMessageId, contentSha256: 'f'.repeat(64) };

    await assert.rejects(
      store.record([[newMessage(globex, same), newMessage(acme, same)]]),
      (error) => error instanceof RecordError && error.code === 'unavailable',
    );

    assert.equal(await count(pool, 'inbound_message'), 1);
  });

  for (const [configured, used] of [
    ['off', 'on'],
    ['local', 'local'],
    ['on', 'on'],
  ] as const) {
    it(`waits for the disk where the database is set to synchronous_commit = ${configured}`, async (t) => {
      const { pool, url } = await openTestPool(t);
      const orgId = await addOrganisation(pool, 'acme');
      await pool.query(`ALTER DATABASE ${new URL(url).pathname.slice(1)} SET synchronous_commit = ${configured}`);
      await pool.query(`
        CREATE TABLE seen (setting text);
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER look AFTER INSERT ON inbound_message DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION look()`);
      // New sessions only take the setting over.
      const later = new pg.Pool({ connectionString: url });
      cleanUp(t, () => later.end());

      await createPostgresMessageStore({ pool: later }).record([[newMessage(orgId)]]);

      assert.deepEqual((await pool.query('SELECT setting FROM seen')).rows, [{ setting: used }]);
    });
  }
});
