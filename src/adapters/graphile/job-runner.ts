import { EventEmitter } from 'node:events';
import { type Runner, run, type WorkerEvents, type Task as WorkerTask } from 'graphile-worker';
import type pg from 'pg';
import type { JobRunner, Task } from '../../ports/job-runner.ts';
import type { Log } from '../../telemetry/log.ts';
import { forgivingSecondRelease } from './forgiving-pool.ts';
import { type ExhaustedJob, findExhaustedJobs, forgetJob, holdLease, type Lease, sweepAbandonedJobs } from './lease.ts';
import { workerLogger } from './logger.ts';

/** A job left by a killed worker waits at most this, plus the sweep's grace, before somebody takes it up. */
const SWEEP_INTERVAL_MS = 15_000;
/** A 25 MB mail takes seconds; what takes this long waits for a file system or a network that hangs. */
const JOB_DEADLINE_MS = 15 * 60_000;
/** Jobs are announced by NOTIFY; polling is for what a lost connection has swallowed, and for retries that fall due. */
const POLL_INTERVAL_MS = 2_000;

/**
 * Jobs done within this are told to the queue in one statement: at 300 a second, of six. One that is forgotten by a crash
 * runs again, and finds nothing to do.
 */
const DONE_TOGETHER_MS = 20;

/** A pool that ended is replaced after this: the database may be away for a minute, and we do not give up. */
const RESTART_DELAY_MS = 2_000;
/**
 * QUIRK: graphile-worker 0.18 keeps the rejected promise of its first look at the tasks (getTaskDetails). A pool whose
 * connection breaks in that moment asks in vain for ever. So after this many failures in a row we start another pool.
 */
const FAILED_FETCHES_BEFORE_RESTART = 5;
/**
 * QUIRK: a graphile-worker 0.18 pool that could not tell the queue how a job ended shuts down, and then waits for ever for
 * its own batch. We wait this long for jobs under way and go on without it; with its lease gone, its jobs are given back.
 */
const LAST_JOBS_MS = 5_000;

export function createGraphileJobRunner(o: {
  readonly url: string;
  /** See adapters/postgres/queue-pool.ts. */
  readonly pool: pg.Pool;
  readonly tasks: Readonly<Record<string, Task>>;
  readonly concurrency: number;
  readonly log: Log;
  readonly sweepIntervalMs?: number;
}): JobRunner {
  const stopping = new AbortController();
  let starting: Promise<void> = Promise.resolve();
  let running: RunningPool | undefined;
  let stopped = false;
  let sweeping: NodeJS.Timeout | undefined;
  let restarting: NodeJS.Timeout | undefined;

  const restart = (): void => {
    if (stopped) return;
    restarting = setTimeout(() => {
      starting = startPool().catch((error: unknown) => {
        o.log.warn({ err: String(error) }, 'the job runner could not start, trying again');
        restart();
      });
    }, RESTART_DELAY_MS);
  };

  const startPool = async (): Promise<void> => {
    const pool = await runPool(o, stopping.signal);
    running = pool;
    void pool.ended.then((reason) => {
      running = undefined;
      if (!stopped) o.log.warn({ err: reason }, 'the job runner stopped, starting it again');
      restart();
    });
  };

  return {
    async start() {
      await sweep(o);
      await startPool();
      sweeping = setInterval(() => void sweep(o), o.sweepIntervalMs ?? SWEEP_INTERVAL_MS);
    },

    async stop(graceMs) {
      stopped = true;
      clearInterval(sweeping);
      clearTimeout(restarting);
      const impatient = setTimeout(() => stopping.abort(new Error('the worker is stopping')), graceMs);
      await starting;
      await running?.stop();
      clearTimeout(impatient);
    },

    async check() {
      if (running === undefined) throw new Error('the job runner is not running');
      await o.pool.query('SELECT FROM graphile_worker.jobs LIMIT 0');
    },
  };
}

type RunnerOptions = Parameters<typeof createGraphileJobRunner>[0];

/** What graphile-worker leaves lying: jobs of dead workers, and jobs that nobody will try again. */
async function sweep(o: RunnerOptions): Promise<void> {
  const tasks = Object.keys(o.tasks);
  try {
    const freed = await sweepAbandonedJobs(o.pool, tasks);
    if (freed > 0) o.log.warn({ jobs: freed }, 'jobs of a worker that died are given back to the queue');
    for (const job of await findExhaustedJobs(o.pool, tasks)) await giveUp(o, job);
  } catch (error) {
    o.log.warn({ err: error }, 'could not look after jobs left lying, trying again');
  }
}

/** One that cannot be given up now does not keep the others waiting. */
async function giveUp(o: RunnerOptions, { id, task, payload }: ExhaustedJob): Promise<void> {
  try {
    await o.tasks[task]?.giveUp(payload);
    await forgetJob(o.pool, id);
  } catch (error) {
    o.log.error({ err: error, job_id: id, task }, 'a job without attempts left could not be given up, trying again');
  }
}

/** One life of a graphile-worker pool, with the lease that says it lives. */
interface RunningPool {
  /** Says why; never rejects. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

async function runPool(o: RunnerOptions, stopping: AbortSignal): Promise<RunningPool> {
  let lease: Lease | undefined;
  const leaseLost = Promise.withResolvers<void>();
  const events: WorkerEvents = new EventEmitter();
  events.on('pool:create', ({ workerPool }) => {
    lease = holdLease({ url: o.url, poolId: workerPool.id, log: o.log, onLost: leaseLost.resolve });
  });
  const runner: Runner = await run({
    pgPool: forgivingSecondRelease(o.pool),
    taskList: Object.fromEntries(Object.entries(o.tasks).map(([name, task]) => [name, wrap(task, stopping)])),
    parsedCronItems: [],
    concurrency: o.concurrency,
    pollInterval: POLL_INTERVAL_MS,
    noHandleSignals: true,
    // QUIRK: without batches, graphile-worker 0.18 waits for nobody when it tells the queue that a job is done or has
    // failed, and a database that is away then is an unhandled rejection: the end of the process. For what batches do
    // instead, see LAST_JOBS_MS.
    // (Its `localQueue`, which would fetch several at once, is not for us: a database that goes away while jobs lie in it
    // is an unhandled rejection again.)
    preset: { worker: { completeJobBatchDelay: DONE_TOGETHER_MS, failJobBatchDelay: 0 } },
    logger: workerLogger(o.log),
    events,
  });
  const ended = Promise.race([runner.promise.then(() => 'it was stopped', String), givenUp(events)]).finally(() =>
    lease?.release(),
  );
  const stop = async (): Promise<void> => {
    // Not waited for: a broken pool never comes to its end.
    runner.stop().catch((error: unknown) => o.log.debug({ err: String(error) }, 'stopping the job runner'));
    await ended;
  };
  stopWhenFetchingFails(events, () => void stop());
  void leaseLost.promise.then(stop);
  return { ended, stop };
}

/** Resolves when the pool is broken, and has had its time. */
function givenUp(events: WorkerEvents): Promise<string> {
  return new Promise((resolve) => {
    events.once('pool:fatalError', ({ error }) => {
      setTimeout(() => resolve(`it could not tell the queue how a job ended: ${String(error)}`), LAST_JOBS_MS);
    });
  });
}

function stopWhenFetchingFails(events: WorkerEvents, stop: () => void): void {
  let failures = 0;
  const reset = (): void => {
    failures = 0;
  };
  events.on('worker:getJob:empty', reset);
  events.on('job:start', reset);
  events.on('worker:getJob:error', () => {
    failures++;
    if (failures === FAILED_FETCHES_BEFORE_RESTART) stop();
  });
}

function wrap(task: Task, stopping: AbortSignal): WorkerTask {
  return (payload, { job }) =>
    task.run(payload, {
      attempt: job.attempts,
      lastAttempt: job.attempts >= job.max_attempts,
      signal: AbortSignal.any([stopping, AbortSignal.timeout(JOB_DEADLINE_MS)]),
    });
}
