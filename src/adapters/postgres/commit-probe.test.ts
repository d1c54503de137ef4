import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import pino from 'pino';
import { cleanUp } from '../../testing/clean-up.ts';
import { openTestPool } from '../../testing/postgres-fixtures.ts';
import { createCommitProbe } from './commit-probe.ts';
import { createPool } from './pool.ts';

const log = pino({ level: 'silent' });

describe('whether a mail could be accepted', () => {
  it('is found out by a commit, one row written in place however often it is asked', async (t) => {
    const { pool } = await openTestPool(t);
    const probe = createCommitProbe({ pool, everyMs: 0 });
    for (let n = 0; n < 300; n++) await probe();
    const { rows } = await pool.query(
      `SELECT count(*) AS rows, pg_relation_size('commit_probe') / 8192 AS pages FROM commit_probe`,
    );
    assert.equal(rows[0].rows, 1);
    assert.ok(rows[0].pages <= 3, `${rows[0].pages} pages`);
  });

  it('is asked of the database at most once in the interval, and once for all who ask together', async () => {
    let asked = 0;
    const answer = Promise.withResolvers<never>();
    const query = (() => {
      asked++;
      return answer.promise;
    }) as unknown as Parameters<typeof createCommitProbe>[0]['pool']['query'];
    const probe = createCommitProbe({ pool: { query } });
    const together = [probe(), probe(), probe()];
    answer.resolve(undefined as never);
    await Promise.all(together);
    await probe();
    assert.equal(asked, 1);
  });

  it('is denied by a server that takes no writes, with the last commit as since when', async (t) => {
    const { pool: admin, url } = await openTestPool(t);
    const pool = createPool({ url, applicationName: 'test', maxConnections: 1, log });
    cleanUp(t, () => pool.end());
    const probe = createCommitProbe({ pool, everyMs: 0 });
    await probe();
    const after = new Date();
    await admin.query(`DO $$ BEGIN EXECUTE format(
      'ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`);
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    );
    const refused = async (): Promise<{ since?: Date; code?: string }> => {
      for (;;) {
        const error = await probe().then(
          () => assert.fail('it was committed'),
          (reason: { since?: Date; cause?: { code?: string } }) => reason,
        );
        if (error.cause?.code === '25006')
          return { code: '25006', ...(error.since === undefined ? {} : { since: error.since }) };
      }
    };
    const { since } = await refused();
    assert.ok(since !== undefined && since <= after, String(since));
  });
});
