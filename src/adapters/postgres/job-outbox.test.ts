import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type pg from 'pg';
import type { WaitingJob } from '../../ports/job-outbox.ts';
import { openTestPool } from '../../testing/postgres-fixtures.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { createPostgresJobOutbox } from './job-outbox.ts';

const task = 'extract_document';

async function addJobs(pool: pg.Pool, numbers: readonly number[], name = task, runAt = 'now()'): Promise<void> {
  for (const n of numbers) {
    await pool.query(`SELECT graphile_worker.add_job($1, $2, run_at => ${runAt})`, [name, JSON.stringify({ n })]);
  }
}

async function left(pool: pg.Pool): Promise<number[]> {
  const { rows } = await pool.query<{ n: number }>(
    `SELECT (payload->>'n')::int AS n FROM graphile_worker._private_jobs ORDER BY id`,
  );
  return rows.map(({ n }) => n);
}

const numbersOf = (jobs: readonly WaitingJob[]): unknown[] => jobs.map(({ payload }) => (payload as { n: number }).n);

describe('handing waiting jobs over', () => {
  it('takes those of the task that are due, the oldest first, and forgets them once delivered', async (t) => {
    const { pool } = await openTestPool(t);
    await addJobs(pool, [1, 2, 3]);
    await addJobs(pool, [4], 'extract_attachments');
    await addJobs(pool, [5], task, `now() + interval '1 hour'`);
    const batches: unknown[][] = [];
    const outbox = createPostgresJobOutbox({ pool });
    const deliver = async (jobs: readonly WaitingJob[]) => {
      batches.push(numbersOf(jobs));
      return [];
    };
    const taken = [];
    for (let n = 0; n < 3; n++) taken.push(await outbox.handOver({ task, limit: 2, deliver }));

    assert.deepEqual(
      [taken, batches],
      [
        [2, 1, 0],
        [[1, 2], [3]],
      ],
    );
    assert.deepEqual(await left(pool), [4, 5]);
  });

  it('leaves them as they were when they could not be delivered: no attempt is counted, no delay grows', async (t) => {
    const { pool } = await openTestPool(t);
    await addJobs(pool, [1]);
    const state = async () => (await pool.query('SELECT * FROM graphile_worker._private_jobs')).rows;
    const before = await state();
    const deliver = () => Promise.reject(new Error('away'));
    for (let n = 0; n < 30; n++) {
      await assert.rejects(createPostgresJobOutbox({ pool }).handOver({ task, limit: 9, deliver }), /away/);
    }
    assert.deepEqual(await state(), before);
  });

  it('gives no job to two at the same time', async (t) => {
    const { pool } = await openTestPool(t);
    await addJobs(pool, [1, 2, 3]);
    const outbox = createPostgresJobOutbox({ pool });
    const inner: unknown[][] = [];
    await outbox.handOver({
      task,
      limit: 2,
      deliver: async () => {
        const deliver = async (jobs: readonly WaitingJob[]) => {
          inner.push(numbersOf(jobs));
          return [];
        };
        await outbox.handOver({ task, limit: 9, deliver });
        return [];
      },
    });
    assert.deepEqual([inner, await left(pool)], [[[3]], []]);
  });

  it('gives them back at once when the connection is lost after they were delivered', async (t) => {
    const { pool } = await openTestPool(t);
    await addJobs(pool, [1, 2]);
    const outbox = createPostgresJobOutbox({ pool });
    const cut = outbox.handOver({
      task,
      limit: 9,
      deliver: async () => {
        await pool.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND state = 'idle in transaction'`,
        );
        return [];
      },
    });
    await assert.rejects(cut);
    const again: unknown[][] = [];
    const deliver = async (jobs: readonly WaitingJob[]) => {
      again.push(numbersOf(jobs));
      return [];
    };
    await waitFor(() => outbox.handOver({ task, limit: 9, deliver }), { what: 'the jobs of the lost connection' });
    assert.deepEqual([again, await left(pool)], [[[1, 2]], []]);
  });

  it('keeps a refused job with the reason, out of the way', async (t) => {
    const { pool } = await openTestPool(t);
    await addJobs(pool, [1, 2]);
    const outbox = createPostgresJobOutbox({ pool });
    const deliver = async ([first]: readonly WaitingJob[]) => [{ id: first?.id ?? '', reason: 'not a job' }];
    assert.equal(await outbox.handOver({ task, limit: 9, deliver }), 2);
    assert.equal(await outbox.handOver({ task, limit: 9, deliver }), 0);
    const { rows } = await pool.query('SELECT last_error FROM graphile_worker.jobs');
    assert.deepEqual([rows, await left(pool)], [[{ last_error: 'not a job' }], [1]]);
  });
});
