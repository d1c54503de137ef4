import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { JobRunner, Task } from '../../ports/job-runner.ts';
import { NotReadyError } from '../../ports/not-ready.ts';
import type { ConnectionUrl } from '../../ports/renewable-url.ts';
import type { BoundedLines } from '../../telemetry/bounded-lines.ts';
import type { Log } from '../../telemetry/log.ts';
import { createFailoverWatch } from './failover.ts';
import { forgetHeartbeats, poolsWithoutLease, STILL_AFTER_MS } from './heartbeat.ts';
import { inTime } from './idle-connection.ts';
import { isLaterQueue } from './later-queue.ts';
import {
  type ExhaustedJob,
  findExhaustedJobs,
  forgetJob,
  giveBackUncounted,
  LEASE_LOCKS,
  sweepAbandonedJobs,
} from './lease.ts';
import { LAST_JOBS_MS, type RunningPool, runPool } from './running-pool.ts';
import { openWorkerConnections } from './worker-connections.ts';

/** A job left by a killed worker waits at most this, plus the sweep's grace, before somebody takes it up. */
const SWEEP_INTERVAL_MS = 15_000;
/** A pool that ended is replaced after this: the database may be away for a minute, and we do not give up. */
const RESTART_DELAY_MS = 2_000;

/** Jobs under way when the runner is held. */
const HELD_GRACE_MS = 10_000;

export function createGraphileJobRunner(o: {
  readonly url: ConnectionUrl;
  /** See adapters/postgres/queue-pool.ts. */
  readonly pool: pg.Pool;
  readonly tasks: Readonly<Record<string, Task>>;
  readonly concurrency: number;
  readonly log: Log;
  /** For mails that a failover has left without one: see failover.ts. */
  readonly addMissingJobs: (limit: number) => Promise<number>;
  /** What the queue says of jobs that fail, bounded. */
  readonly lines?: BoundedLines;
  readonly sweepIntervalMs?: number;
}): JobRunner {
  const stopping = new AbortController();
  const connections = openWorkerConnections(o.pool);
  let held: Error | null = null;
  const sweep = createSweep({ ...o, isHeld: () => held !== null });
  let starting: Promise<void> = Promise.resolve();
  let running: RunningPool | undefined;
  /** By performance.now(): the last job of the pools before, or the beginning. */
  let workedBefore = performance.now();
  let started = false;
  /** A pool has run. */
  let begun = false;
  let stopped = false;
  let sweeping: NodeJS.Timeout | undefined;
  let restarting: NodeJS.Timeout | undefined;

  const restart = (delayMs = RESTART_DELAY_MS): void => {
    clearTimeout(restarting);
    if (stopped || held !== null) return;
    restarting = setTimeout(() => {
      // Behind one that is just starting: it may have been held meanwhile, and be held no more.
      starting = starting.then(startPool).catch((error: unknown) => {
        o.log.warn({ err: String(error) }, 'the job runner could not start, trying again');
        restart();
      });
    }, delayMs);
  };

  const startPool = async (): Promise<void> => {
    if (stopped || held !== null || running !== undefined) return;
    const pool = await runPool({ ...o, connections, queries: o.pool, stopping: stopping.signal });
    running = pool;
    begun = true;
    void pool.ended.then((reason) => {
      workedBefore = pool.workedAt() ?? workedBefore;
      running = undefined;
      if (!stopped && held === null) o.log.warn({ err: reason }, 'the job runner stopped, starting it again');
      restart();
    });
    // Stopped while it was starting.
    if (stopped || held !== null) await pool.stop(0);
  };

  const notReady = (code: NotReadyError['code'], message: string): NotReadyError => {
    const idleMs = performance.now() - (running?.workedAt() ?? workedBefore);
    return new NotReadyError(code, message, new Date(Date.now() - idleMs));
  };

  return {
    async start() {
      await sweep();
      started = true;
      const first = startPool();
      starting = first.catch(() => {});
      await first.catch((error: unknown) => {
        // Somebody starts an old version again while the new one is being brought in: its mail is taken all the same.
        if (!isLaterQueue(error)) throw error;
        restart();
      });
      sweeping = setInterval(() => void sweep(), o.sweepIntervalMs ?? SWEEP_INTERVAL_MS);
    },

    async stop(graceMs) {
      stopped = true;
      clearInterval(sweeping);
      clearTimeout(restarting);
      const impatient = setTimeout(() => stopping.abort(new Error('the worker is stopping')), graceMs);
      const over = new AbortController();
      // One that is just starting may wait for a database that does not answer.
      await Promise.race([starting, sleep(LAST_JOBS_MS, undefined, { signal: over.signal }).catch(() => {})]);
      over.abort();
      await running?.stop(graceMs);
      clearTimeout(impatient);
    },

    hold(reason) {
      const before = held;
      held = reason;
      if (!started || stopped) return;
      // A job under way is one that has found out, or one whose mail was there: it ends by itself.
      if (held !== null) void running?.stop(HELD_GRACE_MS);
      else if (before !== null && running === undefined) restart(0);
    },

    async check() {
      if (held !== null) throw held;
      if (!begun) throw notReady('jobs-starting', 'the job runner is just starting');
      if (running === undefined || running.isEnding())
        throw notReady('jobs-not-running', 'the job runner is not running');
      const workedAt = running.workedAt();
      if (workedAt === null) throw notReady('jobs-starting', 'the job runner has finished no job yet');
      if (performance.now() - workedAt > STILL_AFTER_MS)
        throw notReady('no-job-finished', 'no job was finished for too long');
      await o.pool.query(inTime('SELECT FROM graphile_worker.jobs LIMIT 0'));
    },
  };
}

interface SweepOptions extends Omit<Parameters<typeof createGraphileJobRunner>[0], 'url' | 'concurrency'> {
  readonly isHeld: () => boolean;
}

/** What graphile-worker leaves lying: jobs of dead workers, jobs that nobody will try again, heartbeats of dead workers. */
function createSweep(o: SweepOptions): () => Promise<void> {
  const tasks = Object.keys(o.tasks);
  const afterFailover = createFailoverWatch(o);
  /** Without a lease the last time. A pool that is just starting takes its own a moment after its heartbeat has a name. */
  let suspects: ReadonlySet<string> = new Set();
  return async () => {
    try {
      const freed = await sweepAbandonedJobs(o.pool, tasks);
      if (freed > 0) o.log.warn({ jobs: freed }, 'jobs of a worker that died are given back to the queue');
      if (!o.isHeld()) {
        await giveBackUncounted(o.pool, tasks);
        for (const job of await findExhaustedJobs(o.pool, tasks)) await giveUp(o, job);
      }
      const dead = await poolsWithoutLease(o.pool, LEASE_LOCKS);
      await forgetHeartbeats(
        o.pool,
        [...dead].filter((poolId) => suspects.has(poolId)),
      );
      suspects = dead;
      await afterFailover();
    } catch (error) {
      o.log.warn({ err: error }, 'could not look after jobs left lying, trying again');
    }
  };
}

/** One that cannot be given up now does not keep the others waiting. */
async function giveUp(o: SweepOptions, { id, task, payload }: ExhaustedJob): Promise<void> {
  try {
    await o.tasks[task]?.giveUp(payload);
    await forgetJob(o.pool, id);
  } catch (error) {
    o.log.error({ err: error, job_id: id, task }, 'a job without attempts left could not be given up, trying again');
  }
}
