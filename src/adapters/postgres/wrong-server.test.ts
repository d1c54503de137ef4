import assert from 'node:assert/strict';
import { test } from 'node:test';
import type pg from 'pg';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { createPostgresMessageStore } from './message-store.ts';
import { acceptanceProbe } from './wrong-server.ts';

/** As many connections as that, each of a server that has become read-only. */
async function becomeReadOnly(pool: pg.Pool, connections: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: connections }, () => pool.connect()));
  for (const client of clients) await client.query('SET default_transaction_read_only = on');
  for (const client of clients) client.release();
  assert.equal(pool.idleCount, connections);
}

test('a mail is recorded although every connection of the pool leads to a read-only server', async (t) => {
  const { pool } = await openTestPool(t);
  const message = newMessage(await addOrganisation(pool, 'acme'));
  await becomeReadOnly(pool, 5);
  const recorded = await createPostgresMessageStore({ pool }).record([[message]]);
  assert.deepEqual(recorded, [[{ outcome: 'accepted', id: message.id }]]);
});

test('the probe closes what leads to the wrong server, and the next one finds the right one', async (t) => {
  const { pool } = await openTestPool(t);
  await acceptanceProbe(pool);
  await becomeReadOnly(pool, 3);
  await assert.rejects(acceptanceProbe(pool), { code: '25006', message: /read-only/ });
  await waitFor(() => pool.totalCount === 0, { what: 'all connections to be closed' });
  await acceptanceProbe(pool);
});

test('a connection is closed also where whoever uses it gives it back as a good one', async (t) => {
  const { pool } = await openTestPool(t);
  const client = await pool.connect();
  await assert.rejects(client.query('PREPARE twice AS SELECT; PREPARE twice AS SELECT'), { code: '42P05' });
  client.release();
  await waitFor(() => pool.totalCount === 0, { what: 'the connection to be closed' });
  const other = await pool.connect();
  await assert.rejects(other.query('SELECT 1 / 0'), { code: '22012' });
  other.release();
  assert.deepEqual([pool.totalCount, pool.idleCount], [1, 1]);
});
