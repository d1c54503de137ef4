import assert from 'node:assert/strict';
import { it } from 'node:test';
import type pg from 'pg';
import { openTestPool } from '../../testing/postgres-fixtures.ts';
import { openWorkerConnections } from './worker-connections.ts';

/** What the second of two releases throws. */
function releasedTwice(pool: pg.Pool): Promise<unknown> {
  return new Promise((resolve, reject) => {
    pool.connect((error, _client, release) => {
      if (error !== undefined) return reject(error);
      release();
      try {
        resolve(release());
      } catch (thrown) {
        resolve(thrown);
      }
    });
  });
}

it('a connection that is given back twice is no error, as it is with the plain pool, and both go on', async (t) => {
  const { pool } = await openTestPool(t);
  const { pool: forgiving } = openWorkerConnections(pool);
  assert.match(String(await releasedTwice(pool)), /already been released/);
  assert.equal(await releasedTwice(forgiving), undefined);
  assert.deepEqual((await forgiving.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  const client = await forgiving.connect();
  client.release();
  assert.equal(pool.totalCount, pool.idleCount);
});
