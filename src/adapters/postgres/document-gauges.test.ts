import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type pg from 'pg';
import { pino } from 'pino';
import { pagesRead } from '../../testing/pages-read.ts';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { readDocumentCounts } from './document-gauges.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { createPool } from './pool.ts';

const log = pino({ level: 'silent' });

/** Documents of a mail of an organisation of their own, a second older each. */
async function addDocuments(pool: pg.Pool, status: string, count: number): Promise<void> {
  const orgId = await addOrganisation(pool, `org-${status.toLowerCase()}-${count}`);
  const message = newMessage(orgId);
  await createPostgresMessageStore({ pool }).record([[message]]);
  await pool.query(
    `INSERT INTO document (org_id, inbound_message_id, file_name, mime_type, size_bytes, sha256, storage_key, status, part_path,
       created_at)
     SELECT $1, $2, 'order.pdf', 'application/pdf', 1, 'digest', 'key', $3, part, now() - part * interval '1 second'
     FROM generate_series(1, $4::int) AS part`,
    [orgId, message.id, status, count],
  );
}

async function countsOf(pool: pg.Pool, o?: { readonly counted: number }): Promise<Record<string, number>> {
  const { counts, oldestStoredSeconds } = await readDocumentCounts(pool, o);
  const byStatus: Record<string, number> = Object.fromEntries(counts.map(({ status, count }) => [status, count]));
  return { ...byStatus, oldestStoredSeconds };
}

describe('the documents for the metrics', () => {
  it('are counted by status over all organisations, with the age of the oldest that is STORED', async (t) => {
    const { pool } = await openTestPool(t);
    const none = { UPLOADED: 0, STORED: 0, PROCESSING: 0, EXTRACTED: 0, FAILED: 0 };
    assert.deepEqual(await countsOf(pool), { ...none, oldestStoredSeconds: 0 });
    await addDocuments(pool, 'STORED', 2);
    await addDocuments(pool, 'STORED', 600);
    await addDocuments(pool, 'EXTRACTED', 900);
    await addDocuments(pool, 'FAILED', 1);
    const { oldestStoredSeconds, ...counts } = await countsOf(pool);
    assert.deepEqual(counts, { ...none, STORED: 602, EXTRACTED: 900, FAILED: 1 });
    assert.equal(Math.floor((oldestStoredSeconds ?? 0) / 60), 10);
  });

  it('are counted up to a bound, and estimated beyond it: never fewer than were counted', async (t) => {
    const { pool } = await openTestPool(t);
    await pool.query('ALTER TABLE document SET (autovacuum_enabled = off)');
    await addDocuments(pool, 'STORED', 2_000);
    await addDocuments(pool, 'EXTRACTED', 1_000);
    await addDocuments(pool, 'FAILED', 5);
    const count = () => countsOf(pool, { counted: 50 });
    const { STORED, EXTRACTED, FAILED } = await count();
    assert.deepEqual({ STORED, EXTRACTED, FAILED }, { STORED: 50, EXTRACTED: 50, FAILED: 5 });
    await pool.query('ANALYZE document');
    const { oldestStoredSeconds, ...estimated } = await count();
    assert.deepEqual(estimated, { UPLOADED: 0, STORED: 2_000, PROCESSING: 0, EXTRACTED: 1_000, FAILED: 5 });
    assert.ok((oldestStoredSeconds ?? 0) > 1_990, String(oldestStoredSeconds));
    await addDocuments(pool, 'STORED', 4_000);
    const grown = (await count()).STORED ?? 0;
    assert.ok(grown > 3_000 && grown < 7_000, `${grown}, where 6000 wait`);
  });

  it('cost what waits, not what was ever extracted: as many pages for 30,000 as for 3,000', async (t) => {
    const { pool, url } = await openTestPool(t);
    await pool.query('ALTER TABLE document SET (autovacuum_enabled = off)');
    await addDocuments(pool, 'STORED', 100);
    const pages = async (extracted: number) => {
      await addDocuments(pool, 'EXTRACTED', extracted);
      await pool.query('VACUUM ANALYZE document');
      return pagesRead(pool, 'orderflow-gauges', async () => {
        const asking = createPool({ url, applicationName: 'orderflow-gauges', maxConnections: 2, log });
        await readDocumentCounts(asking, { counted: 500 });
        await asking.end();
      });
    };
    const [few, many] = [await pages(3_000), await pages(30_000)];
    assert.ok(many <= few * 1.3 + 2, `${few} pages with 3,000 extracted, ${many} with 33,000`);
  });
});
