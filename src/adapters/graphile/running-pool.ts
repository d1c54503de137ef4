/**
 * One life of a graphile-worker pool, with the lease that says it lives and the heart that says it works.
 *
 * States: *running*; *ending*, from its first trouble or from `stop` on: it takes no further job, those under way have
 * their time; *ended*. One that does not come to its end by itself is given up: its jobs are aborted and its connections
 * cut, and with its lease gone the queue gives its jobs to others.
 */
import { EventEmitter } from 'node:events';
import { type Runner, run, type WorkerEvents, type Task as WorkerTask } from 'graphile-worker';
import type pg from 'pg';
import type { Task } from '../../ports/job-runner.ts';
import type { ConnectionUrl } from '../../ports/renewable-url.ts';
import type { BoundedLines } from '../../telemetry/bounded-lines.ts';
import type { Log } from '../../telemetry/log.ts';
import { type Heart, heartbeatTask, startHeart } from './heartbeat.ts';
import { keepAsking } from './idle-connection.ts';
import { holdLease, type Lease } from './lease.ts';
import { workerLogger } from './logger.ts';
import type { WorkerConnections } from './worker-connections.ts';

/** A 25 MB mail takes seconds; what takes this long waits for a file system or a network that hangs. */
const JOB_DEADLINE_MS = 15 * 60_000;
/** Jobs are announced by NOTIFY; polling is for what a lost connection has swallowed, and for retries that fall due. */
const POLL_INTERVAL_MS = 2_000;

/**
 * Jobs done within this are told to the queue in one statement: at 300 a second, of six. One that is forgotten by a crash
 * runs again, and finds nothing to do.
 */
const DONE_TOGETHER_MS = 20;

/**
 * QUIRK: graphile-worker 0.18 keeps the rejected promise of its first look at the tasks (getTaskDetails). A pool whose
 * connection breaks in that moment asks in vain for ever. So after this many failures in a row we start another pool.
 */
const FAILED_FETCHES_BEFORE_RESTART = 5;
/**
 * QUIRK: graphile-worker 0.18 waits for ever when it stops: for its own batch when it could not tell the queue how a job
 * ended, for a worker whose look for a job fails as it stops, for the answer to UNLISTEN on a connection that is silent. So
 * whatever the reason, we wait this long for jobs under way and go on without it.
 */
export const LAST_JOBS_MS = 5_000;

export interface RunningPool {
  /** Says why; never rejects. */
  readonly ended: Promise<string>;
  /** Units: milliseconds of performance.now(), when it last finished a job. null: none yet. */
  workedAt(): number | null;
  isEnding(): boolean;
  /** Jobs under way have `graceMs`, then LAST_JOBS_MS to give up. Resolves when it has ended. */
  stop(graceMs: number): Promise<void>;
}

export async function runPool(o: {
  readonly url: ConnectionUrl;
  readonly connections: WorkerConnections;
  readonly queries: pg.Pool;
  readonly tasks: Readonly<Record<string, Task>>;
  readonly concurrency: number;
  readonly log: Log;
  readonly lines?: BoundedLines | undefined;
  /** Aborts jobs under way. */
  readonly stopping: AbortSignal;
}): Promise<RunningPool> {
  const events: WorkerEvents = new EventEmitter();
  const abandoned = new AbortController();
  const givenUp = Promise.withResolvers<string>();
  const trouble = Promise.withResolvers<string>();
  const aborting = AbortSignal.any([o.stopping, abandoned.signal]);
  const taskList: Record<string, WorkerTask> = {};
  for (const [name, task] of Object.entries(o.tasks)) taskList[name] = wrap(task, aborting);
  let [lease, heart]: [Lease | undefined, Heart | undefined] = [undefined, undefined];
  let underWay = 0;
  let watchLastJobs = (): void => {};
  const count = (change: 1 | -1) => () => {
    underWay += change;
    watchLastJobs();
  };
  events.on('job:start', count(1));
  events.on('job:complete', count(-1));
  events.on('pool:create', ({ workerPool: { id: poolId } }) => {
    // QUIRK: graphile-worker 0.18 reads the names of its tasks at its first look for a job, a moment after this.
    taskList[heartbeatTask(poolId)] = async () => {};
    lease = holdLease({ ...o, poolId, onLost: () => trouble.resolve('its lease was lost') });
    const onStill = (): void => trouble.resolve('it has finished no job for too long');
    heart = startHeart({ pool: o.queries, poolId, events, busy: () => underWay >= o.concurrency, onStill });
  });
  stopWhenFetchingFails(events, () => trouble.resolve('it could not ask for jobs'));
  events.once('pool:fatalError', ({ error }) =>
    trouble.resolve(`it could not tell the queue how a job ended: ${String(error)}`),
  );
  askTheListener(events);
  const runner = await begin(o, taskList, events).catch((error: unknown) => {
    heart?.stop();
    void lease?.release();
    throw error;
  });

  let ending = false;
  let giveUp: NodeJS.Timeout | undefined;
  const end = (reason: string, graceMs: number): void => {
    if (ending) return;
    ending = true;
    // Not waited for: a broken pool never comes to its end.
    runner.stop().catch((error: unknown) => o.log.debug({ err: String(error) }, 'stopping the job runner'));
    const abandon = (): void => {
      abandoned.abort(new Error('the pool that ran this job was given up'));
      o.connections.cut();
      givenUp.resolve(reason);
    };
    const graceEndsAt = performance.now() + graceMs;
    watchLastJobs = () => {
      clearTimeout(giveUp);
      const graceLeftMs = underWay === 0 ? 0 : Math.max(0, graceEndsAt - performance.now());
      giveUp = setTimeout(abandon, graceLeftMs + LAST_JOBS_MS);
    };
    watchLastJobs();
  };
  void trouble.promise.then((reason) => end(reason, 0));
  const byItself = runner.promise.then(() => Promise.race([trouble.promise, 'it was stopped']), String);
  const ended = Promise.race([byItself, givenUp.promise]).finally(async () => {
    ending = true;
    watchLastJobs = () => {};
    clearTimeout(giveUp);
    heart?.stop();
    await lease?.release();
  });
  return {
    ended,
    workedAt: () => heart?.workedAt() ?? null,
    isEnding: () => ending,
    async stop(graceMs) {
      end('it was stopped', graceMs);
      await ended;
    },
  };
}

type PoolOptions = Parameters<typeof runPool>[0];

async function begin(o: PoolOptions, taskList: Record<string, WorkerTask>, events: WorkerEvents): Promise<Runner> {
  return await run({
    pgPool: o.connections.pool,
    taskList,
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
    logger: workerLogger(o.log, o.lines),
    events,
  });
}

function stopWhenFetchingFails(events: WorkerEvents, stop: () => void): void {
  let failures = 0;
  const reset = (): void => {
    failures = 0;
  };
  events.on('worker:getJob:empty', reset);
  events.on('job:start', reset);
  events.on('worker:getJob:error', ({ error }) => {
    failures++;
    if (failures === FAILED_FETCHES_BEFORE_RESTART || isAnswerLost(error)) stop();
  });
}

/**
 * The question may have been answered: then a job is locked by this pool, which does not know of it, for four hours. The jobs
 * of a pool that has ended are given back. What the server has answered itself, and a connection that never was one, lock nothing.
 */
function isAnswerLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { readonly code?: unknown };
  if (typeof code === 'string' && code !== 'ECONNRESET' && code !== 'EPIPE') return false;
  return !/timeout exceeded when trying to connect|Connection terminated due to connection timeout/.test(error.message);
}

/** The connection that hears of new jobs says nothing of its own; when it breaks, graphile-worker opens another. */
function askTheListener(events: WorkerEvents): void {
  let stopAsking = (): void => {};
  events.on('pool:listen:success', ({ client }) => {
    stopAsking();
    stopAsking = keepAsking(client as pg.PoolClient);
  });
  events.on('pool:listen:release', () => stopAsking());
}

/**
 * The deadline ends with the job: `AbortSignal.timeout` would keep its timer, and all that hangs on it, until it fires, and at
 * 300 jobs a second 15 minutes of them are 150 MB.
 */
function wrap(task: Task, aborting: AbortSignal): WorkerTask {
  return async (payload, { job }) => {
    const deadline = new AbortController();
    const late = (): void => deadline.abort(new DOMException('the job took too long', 'TimeoutError'));
    const timer = setTimeout(late, JOB_DEADLINE_MS).unref();
    try {
      return await task.run(payload, {
        attempt: job.attempts,
        lastAttempt: job.attempts >= job.max_attempts,
        signal: AbortSignal.any([aborting, deadline.signal]),
      });
    } finally {
      clearTimeout(timer);
    }
  };
}
