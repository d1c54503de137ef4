import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { startIngest } from '../specification/support/ingest.ts';
import { PDF } from '../specification/support/mails.ts';
import { findProgram, run } from '../specification/support/programs.ts';
import { exampleOf, ORDERS_DOMAIN, replaced } from './page.ts';

const SWAKS = findProgram('swaks');

test('swaks as docs/receiving.md has it sends what a scanner does: no login, no TLS, a PDF', async (t) => {
  if (SWAKS === null) return missing(t, 'swaks', 'apt-get install swaks');
  const ingest = await startIngest(t, { env: { SMTP_DOMAIN: ORDERS_DOMAIN } });
  const here = { '10.0.0.5:2525': `127.0.0.1:${ingest.port}`, '@order.pdf': `@${PDF.path}`, swaks: SWAKS };
  const { code, stdout } = await run('sh', ['-euc', replaced(exampleOf('From a scanner or an ERP'), here)]);
  assert.equal(code, 0, stdout.toString());
  await ingest.rows.settled();
  const { rows } = await ingest.pool.query('SELECT file_name, status, size_bytes FROM document');
  assert.deepEqual(rows, [{ file_name: 'order.pdf', status: 'STORED', size_bytes: PDF.content.length }]);
});
