import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { createTestDatabase } from './database.ts';

async function query(url: string, sql: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

test('a test database is migrated, and its changes are seen by no other', async (t) => {
  const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  t.after(() => one.close());
  t.after(() => other.close());
  await query(one.url, "INSERT INTO org (id, name, slug) VALUES (gen_random_uuid(), 'Acme', 'acme')");
  assert.equal((await query(one.url, 'SELECT slug FROM org')).length, 1);
  assert.equal((await query(other.url, 'SELECT slug FROM org')).length, 0);
});

test('a closed test database is gone even when a session was left open', async () => {
  const database = await createTestDatabase();
  const left = new pg.Client({ connectionString: database.url });
  left.on('error', () => {});
  await left.connect();
  await database.close();
  await assert.rejects(query(database.url, 'SELECT 1'), /does not exist/);
  await left.end().catch(() => {});
});
