import pino from 'pino';
import { describeJobRunner } from '../../ports/job-runner.contract.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { openTestPool } from '../../testing/postgres-fixtures.ts';
import { createGraphileJobRunner } from './job-runner.ts';

const TASK = 'extract_attachments';
const COUNT = `SELECT count(*)::int AS count FROM graphile_worker.jobs WHERE task_identifier = $1`;

describeJobRunner('graphile-worker', async (t) => {
  const { pool, url } = await openTestPool(t);
  return {
    runner(task) {
      const runner = createGraphileJobRunner({
        url,
        pool,
        tasks: { [TASK]: task },
        concurrency: 2,
        log: pino({ level: 'silent' }),
        addMissingJobs: async () => 0,
        sweepIntervalMs: 500,
      });
      cleanUp(t, () => runner.stop(100));
      return runner;
    },
    addJob: async (payload, { maxAttempts } = { maxAttempts: 25 }) => {
      const add = 'SELECT graphile_worker.add_job($1, $2, max_attempts => $3)';
      await pool.query(add, [TASK, JSON.stringify(payload), maxAttempts]);
    },
    countJobs: async () => (await pool.query<{ count: number }>(COUNT, [TASK])).rows[0]?.count ?? -1,
  };
});
