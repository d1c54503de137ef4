import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { queryObjects } from 'node:v8';
import pg from 'pg';
import pino from 'pino';
import { type JobContext, type JobRunner, type Task, UNCOUNTED } from '../../ports/job-runner.ts';
import { NotReadyError } from '../../ports/not-ready.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { openTestPool, type TestPool } from '../../testing/postgres-fixtures.ts';
import { openSilentWay } from '../../testing/silent-way.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { readDatabaseCounts } from '../postgres/gauges.ts';
import { createQueuePool } from '../postgres/queue-pool.ts';
import { forgetHeartbeats, heartbeatTask } from './heartbeat.ts';
import { createGraphileJobRunner } from './job-runner.ts';
import { holdLease, sweepAbandonedJobs } from './lease.ts';

const log = pino({ level: 'silent' });
const TASK = 'extract_attachments';

/** No failover here: test/durability/failover.ts. */
const addMissingJobs = (): Promise<number> => assert.fail('there was no failover');

async function addJob(pool: pg.Pool, payload: unknown, maxAttempts = 25): Promise<void> {
  await pool.query('SELECT graphile_worker.add_job($1, $2, max_attempts => $3)', [
    TASK,
    JSON.stringify(payload),
    maxAttempts,
  ]);
}

async function jobs(pool: pg.Pool): Promise<{ attempts: number; locked_by: string | null }[]> {
  const { rows } = await pool.query(
    `SELECT attempts, locked_by FROM graphile_worker.jobs WHERE task_identifier NOT LIKE 'heartbeat:%' ORDER BY id`,
  );
  return rows;
}

async function start(
  t: TestContext,
  o: TestPool,
  run: Task['run'],
  giveUp: Task['giveUp'] = async () => {},
): Promise<JobRunner> {
  const tasks = { [TASK]: { run, giveUp } };
  const runner = createGraphileJobRunner({ ...o, tasks, concurrency: 2, log, addMissingJobs, sweepIntervalMs: 500 });
  cleanUp(t, () => runner.stop(100));
  await runner.start();
  return runner;
}

/** As a worker that was killed leaves it: locked for a while by a pool that no longer exists. */
async function lockJobs(pool: pg.Pool, poolId: string, task = TASK, attempts = 1): Promise<void> {
  await pool.query(
    `UPDATE graphile_worker._private_jobs SET locked_by = $1, locked_at = now() - interval '11 seconds', attempts = $3
     WHERE task_id = (SELECT id FROM graphile_worker._private_tasks WHERE identifier = $2)`,
    [poolId, task, attempts],
  );
}

async function leases(pool: pg.Pool): Promise<number> {
  const { rowCount } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'orderflow-worker-lease'`,
  );
  return rowCount ?? 0;
}

describe('running jobs from the queue in the database', () => {
  it('hands each job to its task once, with attempt and payload, and forgets it', async (t) => {
    const database = await openTestPool(t);
    const seen: [unknown, Pick<JobContext, 'attempt' | 'lastAttempt'>][] = [];
    await addJob(database.pool, { n: 1 });

    await start(t, database, async (payload, { attempt, lastAttempt }) => {
      seen.push([payload, { attempt, lastAttempt }]);
    });
    await waitFor(async () => (await jobs(database.pool)).length === 0, { timeoutMs: 10_000, what: 'the job done' });

    assert.deepEqual(seen, [[{ n: 1 }, { attempt: 1, lastAttempt: false }]]);
  });

  it('keeps nothing of a job that is done: no signal waits for its deadline', async (t) => {
    const database = await openTestPool(t);
    let done = 0;
    await start(t, database, async () => {
      done++;
    });
    const runJobs = async (count: number): Promise<number> => {
      const wanted = done + count;
      for (let n = 0; n < count; n++) await addJob(database.pool, { n });
      await waitFor(() => done === wanted, { what: `${wanted} jobs done` });
      await waitFor(async () => (await jobs(database.pool)).length === 0, { what: 'the queue empty' });
      return queryObjects(AbortSignal, { format: 'count' });
    };
    const before = await runJobs(5);
    const after = await runJobs(100);
    assert.ok(after - before < 20, `${after - before} signals are left of 100 jobs`);
  });

  it('keeps a job that failed for a later try, and says when it is the last', async (t) => {
    const database = await openTestPool(t);
    const attempts: boolean[] = [];
    await addJob(database.pool, {}, 2);

    await start(t, database, async (_payload, { lastAttempt }) => {
      attempts.push(lastAttempt);
      throw new Error('not today');
    });
    await waitFor(() => attempts.length === 2, { timeoutMs: 20_000, what: 'the second attempt' });

    assert.deepEqual(attempts, [false, true]);
  });

  it('gives a job up when its last attempt has failed, again until that could be written down', async (t) => {
    const database = await openTestPool(t);
    let asked = 0;
    await addJob(database.pool, {}, 1);

    await start(
      t,
      database,
      async () => {
        throw new Error('never');
      },
      async () => {
        asked++;
        if (asked === 1) throw new Error('the database is away');
      },
    );

    await waitFor(async () => (await jobs(database.pool)).length === 0, {
      timeoutMs: 10_000,
      what: 'the job forgotten',
    });
    assert.equal(asked, 2);
  });

  it('held for a moment while it starts, it is one runner all the same, and ends as one', async (t) => {
    const database = await openTestPool(t);
    const tasks = { [TASK]: { run: async () => {}, giveUp: async () => {} } };
    const runner = createGraphileJobRunner({ ...database, tasks, concurrency: 1, log, addMissingJobs });
    cleanUp(t, () => runner.stop(100));
    const holding = setInterval(() => {
      runner.hold(new NotReadyError('store-unmarked', 'another store', new Date()));
      runner.hold(null);
    }, 1);
    await runner.start();
    await sleep(200);
    clearInterval(holding);
    await waitFor(async () => (await leases(database.pool)) === 1, { what: 'one lease' });
    await sleep(3_000);
    assert.equal(await leases(database.pool), 1);
    await runner.stop(100);
    assert.equal(await leases(database.pool), 0);
  });

  it('while it is held no job is taken or given up, and a last attempt that says nothing of its job is given again', async (t) => {
    const database = await openTestPool(t);
    const why = new NotReadyError('store-unmarked', 'no store', new Date());
    const seen: number[] = [];
    const given: unknown[] = [];
    let runner: JobRunner | undefined;
    await addJob(database.pool, { n: 1 }, 1);
    runner = await start(
      t,
      database,
      async (_payload, { attempt }) => {
        seen.push(attempt);
        if (seen.length > 1) return;
        while (runner === undefined) await sleep(10);
        runner.hold(why);
        throw new Error(`${UNCOUNTED}another store`);
      },
      async (payload) => void given.push(payload),
    );
    await waitFor(() => seen.length === 1, { timeoutMs: 10_000, what: 'the first attempt' });
    await addJob(database.pool, { n: 2 });
    await sleep(3_000);
    assert.deepEqual([seen, given], [[1], []]);
    await assert.rejects(runner.check(), why);
    runner.hold(null);
    await waitFor(async () => (await jobs(database.pool)).length === 0, { timeoutMs: 20_000, what: 'both done' });
    assert.deepEqual([seen, given], [[1, 1, 1], []]);
  });

  it('waits for the jobs under way when it stops, and leaves the others in the queue', async (t) => {
    const database = await openTestPool(t);
    const begun = Promise.withResolvers<void>();
    const may = Promise.withResolvers<void>();
    let done = 0;
    await addJob(database.pool, {});
    const runner = await start(t, database, async () => {
      begun.resolve();
      await may.promise;
      done++;
    });
    await begun.promise;

    for (let n = 0; n < 5; n++) await addJob(database.pool, {});
    const stopped = runner.stop(10_000);
    may.resolve();
    await stopped;

    // Two at most were under way: `concurrency`.
    assert.ok(done === 1 || done === 2, String(done));
    assert.deepEqual(
      (await jobs(database.pool)).map(({ locked_by }) => locked_by),
      Array.from({ length: 6 - done }, () => null),
    );
  });

  it('tells a job that takes longer than the grace to give up, and leaves it for another try', async (t) => {
    const database = await openTestPool(t);
    const begun = Promise.withResolvers<void>();
    await addJob(database.pool, {});
    const runner = await start(t, database, async (_payload, { signal }) => {
      begun.resolve();
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    });
    await begun.promise;

    await runner.stop(50);

    assert.deepEqual(await jobs(database.pool), [{ attempts: 1, locked_by: null }]);
  });

  // Some of the cuts fall into the first moments of a pool, which graphile-worker 0.18 does not survive by itself.
  for (const delayMs of [0, 2, 5, 10, 20]) {
    it(`works on after every connection was cut, ${delayMs} ms after the start`, async (t) => {
      const database = await openTestPool(t);
      let done = 0;
      await start(t, database, async () => void done++);
      const other = new pg.Client({ connectionString: database.url });
      await other.connect();
      await sleep(delayMs);
      await other.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      );
      await other.end();

      await waitFor(
        async () => {
          await addJob(database.pool, {}).catch(() => {});
          return done > 0;
        },
        { timeoutMs: 40_000, what: 'a job done after the cut' },
      );
    });
  }
});

describe('jobs of a worker that was killed', { concurrency: true }, () => {
  const poolId = (): string => `pool-${randomBytes(9).toString('hex')}`;

  it('are taken up at the next start, long before the queue itself would give them back', async (t) => {
    const database = await openTestPool(t);
    let done = 0;
    await addJob(database.pool, {});
    await lockJobs(database.pool, poolId());

    await start(t, database, async () => void done++);

    await waitFor(() => done === 1, { timeoutMs: 10_000, what: 'the job of the dead worker' });
  });

  it('are given up when there is no attempt left, and forgotten then', async (t) => {
    const database = await openTestPool(t);
    const givenUp: unknown[] = [];
    await addJob(database.pool, { n: 1 });
    await lockJobs(database.pool, poolId(), TASK, 25);

    await start(
      t,
      database,
      () => assert.fail('tried once more'),
      async (payload) => void givenUp.push(payload),
    );

    await waitFor(async () => (await jobs(database.pool)).length === 0, {
      timeoutMs: 10_000,
      what: 'the job forgotten',
    });
    assert.deepEqual(givenUp, [{ n: 1 }]);
  });

  it('are given up even when one before them cannot be', async (t) => {
    const database = await openTestPool(t);
    await addJob(database.pool, { bad: true });
    await addJob(database.pool, { bad: false });
    await lockJobs(database.pool, poolId(), TASK, 25);

    await start(
      t,
      database,
      () => assert.fail('tried once more'),
      async (payload) => {
        if ((payload as { bad: boolean }).bad) throw new Error('cannot be read');
      },
    );

    await waitFor(async () => (await jobs(database.pool)).length === 1, {
      timeoutMs: 10_000,
      what: 'the second forgotten',
    });
  });

  it('wait longer and longer when they were cut off often: they may be what kills the worker', async (t) => {
    const { pool } = await openTestPool(t);
    await addJob(pool, {});
    await lockJobs(pool, poolId(), TASK, 6);

    await sweepAbandonedJobs(pool, [TASK]);

    const { rows } = await pool.query(
      `SELECT run_at > now() + interval '5 minutes' AS later FROM graphile_worker.jobs`,
    );
    assert.deepEqual(rows, [{ later: true }]);
  });

  it('are left alone while the worker holds its lease, and given back when its connection ends', async (t) => {
    const { pool, url } = await openTestPool(t);
    const alive = poolId();
    const lease = holdLease({ url, poolId: alive, log, onLost: () => {} });
    cleanUp(t, () => lease.release());
    await waitFor(async () => (await leaseCount(pool)) === 1, { timeoutMs: 5_000, what: 'the lease' });
    await addJob(pool, {});
    await lockJobs(pool, alive);

    assert.equal(await sweepAbandonedJobs(pool, [TASK]), 0);
    assert.equal((await jobs(pool))[0]?.locked_by, alive);
    await lease.release();
    await waitFor(async () => (await leaseCount(pool)) === 0, { timeoutMs: 5_000, what: 'the lease gone' });
    assert.equal(await sweepAbandonedJobs(pool, [TASK]), 1);
    assert.equal((await jobs(pool))[0]?.locked_by, null);
  });

  it('are not kept by a worker whose lease was cut: another pool takes its place', async (t) => {
    const database = await openTestPool(t);
    let done = 0;
    await start(t, database, async () => void done++);
    const holders = async () => (await database.pool.query<{ pid: number }>(LEASE_HOLDERS)).rows.map(({ pid }) => pid);
    const [first] = await waitFor(
      async () => {
        const pids = await holders();
        return pids.length === 1 && pids;
      },
      { timeoutMs: 5_000, what: 'the lease' },
    );
    await database.pool.query('SELECT pg_terminate_backend($1)', [first]);
    const another = async () => (await holders()).some((pid) => pid !== first);
    await waitFor(another, { timeoutMs: 15_000, what: 'the lease of another pool' });
    await addJob(database.pool, {});
    await waitFor(() => done === 1, { timeoutMs: 10_000, what: 'a job done by it' });
  });

  it('are given back within a minute when the network has forgotten the lease: the server ends it', {
    timeout: 120_000,
  }, async (t) => {
    const { pool, url } = await openTestPool(t);
    const way = await openSilentWay(t, url);
    const lost = Promise.withResolvers<void>();
    const lease = holdLease({ url: way.url, poolId: poolId(), log, onLost: lost.resolve });
    cleanUp(t, () => lease.release());
    await waitFor(async () => (await leaseCount(pool)) === 1, { timeoutMs: 5_000, what: 'the lease' });

    const silentAt = performance.now();
    way.silence();
    await lost.promise;
    assert.ok(performance.now() - silentAt < 20_000, 'its holder knows by asking');
    assert.equal(await leaseCount(pool), 1, 'the server does not know yet');
    await waitFor(async () => (await leaseCount(pool)) === 0, { timeoutMs: 60_000, what: 'the server to end it' });
  });

  it('are given back only if the task is ours: the next stage has workers of its own', async (t) => {
    const { pool } = await openTestPool(t);
    await pool.query(`SELECT graphile_worker.add_job('extract_document', '{}')`);
    const stranger = poolId();
    await lockJobs(pool, stranger, 'extract_document');

    assert.equal(await sweepAbandonedJobs(pool, [TASK]), 0);
    assert.equal((await jobs(pool))[0]?.locked_by, stranger);
  });
});

describe('a worker says whether it works', { concurrency: true }, () => {
  const heartbeats = async (pool: pg.Pool, table = 'tasks'): Promise<readonly string[]> => {
    const { rows } = await pool.query(
      table === 'tasks'
        ? `SELECT identifier AS name FROM graphile_worker._private_tasks WHERE identifier LIKE 'heartbeat:%'`
        : `SELECT task_identifier AS name FROM graphile_worker.jobs WHERE task_identifier LIKE 'heartbeat:%'`,
    );
    return rows.map(({ name }) => String(name));
  };

  it('it does when it has finished a job, its own heartbeat where there is no other', async (t) => {
    const database = await openTestPool(t);
    const runner = await start(t, database, async () => {});
    await waitFor(() => isReady(runner), { timeoutMs: 5_000, what: 'the first heartbeat' });
    assert.equal((await heartbeats(database.pool)).length, 1);
  });

  it('a heartbeat goes before the mails that wait, and is no job that waits in the metrics', async (t) => {
    const { pool, url } = await openTestPool(t);
    for (let n = 0; n < 50; n++) await addJob(pool, {});
    const gates: (() => void)[] = [];
    const runner = await start(t, { pool, url }, () => new Promise((resolve) => void gates.push(resolve)));
    await waitFor(() => gates.length === 2, { timeoutMs: 5_000, what: 'both at work' });
    await pool.query(`SELECT graphile_worker.add_job('heartbeat:another', job_key => 'heartbeat:another')`);
    const { jobs: counted } = await readDatabaseCounts(pool);
    assert.deepEqual(
      counted.map(({ task, count }) => [task, count]),
      [
        [TASK, 50],
        ['extract_document', 0],
      ],
    );
    const own = async () => (await heartbeats(pool, 'jobs')).filter((name) => name !== 'heartbeat:another').length;
    // Before the mails came to it, or the next one in ten seconds.
    await waitFor(async () => (await own()) === 1 || (await isReady(runner)), { what: 'a heartbeat' });
    gates[0]?.();
    await waitFor(async () => (await own()) === 0, { timeoutMs: 5_000, what: 'it to be done before 48 mails' });
    assert.ok(gates.length <= 3);
    for (let n = 0; n < 50; n++) await waitFor(() => gates[n], { what: 'the next mail' }).then((finish) => finish());
  });

  it('the heartbeats of dead workers are removed, those of living ones stay', async (t) => {
    const { pool, url } = await openTestPool(t);
    const [dead, held] = [heartbeatTask('pool-dead'), heartbeatTask('pool-died-in-it')];
    for (const name of [dead, held]) await pool.query('SELECT graphile_worker.add_job($1, job_key => $1)', [name]);
    await pool.query(
      `UPDATE graphile_worker._private_jobs SET locked_by = 'pool-died-in-it', locked_at = now(), key = NULL
       WHERE key = $1`,
      [held],
    );
    const runner = await start(t, { pool, url }, async () => {});
    const cleaned = async () => [...(await heartbeats(pool))].every((name) => name !== dead && name !== held);
    await waitFor(cleaned, { timeoutMs: 10_000, what: 'the heartbeats of the dead to go' });
    assert.equal((await heartbeats(pool)).length, 1);
    await waitFor(async () => (await heartbeats(pool, 'jobs')).length === 0, { what: 'no job of a heartbeat left' });
    await waitFor(() => isReady(runner), { timeoutMs: 10_000, what: 'its own heartbeat' });
  });

  it('it does not once its heartbeats come to nothing, says since when, and another pool takes its place', {
    timeout: 120_000,
  }, async (t) => {
    const database = await openTestPool(t);
    const runner = await start(t, database, async () => {});
    await waitFor(() => isReady(runner), { timeoutMs: 5_000, what: 'the first heartbeat' });
    const [first] = await heartbeats(database.pool);
    assert.ok(first !== undefined);
    // The pool asks for the task by a number that is nobody's now: it finds no job, and no fault.
    await forgetHeartbeats(database.pool, [first.slice('heartbeat:'.length)]);
    const before = Date.now();
    const failure = await waitFor(
      () =>
        runner.check().then(
          () => null,
          (error: unknown) => error as { code?: string; since?: Date },
        ),
      { timeoutMs: 45_000, what: 'it to say so' },
    );
    assert.match(String(failure.code), /^(no-job-finished|jobs-not-running)$/);
    assert.ok(failure.since !== undefined && failure.since.getTime() < before + 1_000, String(failure.since));
    await waitFor(() => isReady(runner), { timeoutMs: 30_000, what: 'another pool at work' });
  });

  it('stops in time on a network that is silent, and a pool that cannot be stopped is replaced', {
    timeout: 120_000,
  }, async (t) => {
    const { pool: direct, url } = await openTestPool(t);
    const way = await openSilentWay(t, url);
    const pool = createQueuePool({ url: way.url, log });
    cleanUp(t, () => Promise.race([pool.end(), sleep(1_000)]));
    let done = 0;
    const tasks = { [TASK]: { run: async () => void done++, giveUp: async () => {} } };
    const runner = createGraphileJobRunner({ url: way.url, pool, tasks, concurrency: 2, log, addMissingJobs });
    await runner.start();
    await waitFor(() => isReady(runner), { timeoutMs: 5_000, what: 'the first heartbeat' });

    way.silence();
    way.speak();
    await addJob(direct, {});
    await waitFor(() => done === 1, { timeoutMs: 45_000, what: 'a job done after the network forgot all connections' });
    await waitFor(() => isReady(runner), { timeoutMs: 45_000, what: 'it to be ready' });

    way.silence();
    const stoppingAt = performance.now();
    await runner.stop(10_000);
    assert.ok(performance.now() - stoppingAt < 8_000, 'nothing is under way: it waits for nobody');
  });
});

async function isReady(runner: JobRunner): Promise<boolean> {
  return runner.check().then(
    () => true,
    () => false,
  );
}

const LEASE_HOLDERS = `
  SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objsubid = 2`;

async function leaseCount(pool: pg.Pool): Promise<number> {
  return (await pool.query(LEASE_HOLDERS)).rows.length;
}
