import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { createTestDatabase } from './database.ts';
import { startProduct } from './product.ts';
import { temporaryFolder } from './temporary-folder.ts';

const databaseLock = (dataDir: string) => join(dataDir, 'postgres', 'data', 'postmaster.pid');

test('a product on its embedded database is ready, known by its ports and database, and stops cleanly', async (t) => {
  const dataDir = await temporaryFolder(t);
  const product = await startProduct(t, { dataDir });
  const client = new pg.Client({ connectionString: product.databaseUrl });
  await client.connect();
  assert.deepEqual((await client.query('SELECT slug FROM org')).rows, [{ slug: 'acme' }]);
  await client.end();
  assert.equal((await fetch(`${product.httpUrl}/healthz`)).status, 200);
  await product.stop();
  assert.ok(product.log.length > 0);
  assert.deepEqual(product.strayOutput, []);
  assert.ok(!existsSync(databaseLock(dataDir)));
});

test('a killed product leaves its database running, and the next one goes on with it', async (t) => {
  const dataDir = await temporaryFolder(t);
  const killed = await startProduct(t, { dataDir });
  await killed.kill();
  assert.ok(existsSync(databaseLock(dataDir)));
  const next = await startProduct(t, { dataDir });
  assert.equal(next.databaseUrl, killed.databaseUrl);
  await next.stop();
  assert.ok(!existsSync(databaseLock(dataDir)));
});

test('a product runs on a given database', async (t) => {
  const database = await createTestDatabase();
  t.after(() => database.close());
  const dataDir = await temporaryFolder(t);
  const product = await startProduct(t, { dataDir, env: { DATABASE_URL: database.url } });
  assert.equal(product.databaseUrl, database.url);
  await product.stop();
  assert.ok(!existsSync(databaseLock(dataDir)));
});

test('a product that does not start says why', async (t) => {
  const dataDir = await temporaryFolder(t);
  await assert.rejects(startProduct(t, { dataDir, env: { SMTP_PORT: 'x' } }), /ended with [12][\s\S]*SMTP_PORT/);
});
