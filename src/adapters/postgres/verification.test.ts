import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { pagesRead } from '../../testing/pages-read.ts';
import { addOrganisation, openTestPool } from '../../testing/postgres-fixtures.ts';
import { createPool } from './pool.ts';
import { createPostgresVerification } from './verification.ts';

const ROWS = 60_000;
const NAME = 'verification-test';

test('a page of rows costs the same wherever it is in the table', async (t) => {
  const { pool, url } = await openTestPool(t);
  const orgId = await addOrganisation(pool, 'acme');
  await pool.query(
    `INSERT INTO inbound_message (id, org_id, source, received_at, raw_storage_key, size_bytes, raw_sha256, status)
     SELECT gen_random_uuid(), $1::uuid, 'EMAIL', now(), $1::uuid || '/2026/03/' || n || '.eml', 10, repeat('x', 64), 'RECEIVED'
     FROM generate_series(1, $2::int) AS n`,
    [orgId, ROWS],
  );
  await pool.query('ANALYZE inbound_message');
  const ids = await pool.query<{ id: string }>('SELECT id FROM inbound_message ORDER BY id');
  const idAt = (share: number): string => ids.rows[Math.floor(ROWS * share)]?.id ?? '';
  for (const after of [null, idAt(0.5), idAt(0.99)]) {
    const pages = await pagesRead(pool, NAME, async () => {
      const own = createPool({ url, applicationName: NAME, maxConnections: 1, log: pino({ level: 'silent' }) });
      const page = await createPostgresVerification({ pool: own }).page('message', after, 100);
      await own.end();
      assert.equal(page.length, 100);
      assert.equal(page[0]?.id, ids.rows[after === null ? 0 : ids.rows.findIndex(({ id }) => id === after) + 1]?.id);
    });
    assert.ok(pages < 300, `${pages} pages of 8 KB for 100 rows after ${after}`);
  }
});
