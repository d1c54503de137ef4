/**
 * Runs jobs out of the tables. Not a model of graphile-worker: what is kept is what our code is promised. A job belongs to one
 * worker at a time, counts its attempts when they begin, is tried again later when it fails, goes when it succeeds, and is
 * given up when no attempt is left; those of a dead worker are given back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type JobRunner, type Task, UNCOUNTED } from '../../ports/job-runner.ts';
import type { JobRow, MemoryDatabase } from './database.ts';
import type { Gate } from './gate.ts';

export interface MemoryJobRunnerOptions {
  readonly database: MemoryDatabase;
  readonly gate: Gate;
  readonly tasks: Readonly<Record<string, Task>>;
  readonly concurrency: number;
  /** Whose death ends the lease of this worker, and with it its jobs. */
  readonly connection?: object;
  readonly pollMs?: number;
  /** A job that failed waits for e^attempts seconds, and never longer. */
  readonly longestDelayMs?: number;
}

const POLL_MS = 2_000;
const LONGEST_DELAY_MS = 6 * 3_600_000;
const RESTART_DELAY_MS = 2_000;

export function createMemoryJobRunner(o: MemoryJobRunnerOptions): JobRunner {
  const { database } = o;
  const stopping = new AbortController();
  const impatient = new AbortController();
  const connection = o.connection ?? {};
  let held: Error | null = null;
  /** By which this worker is known to be alive; a new one each time that the database was away. */
  let lease: string | null = null;
  let bell = Promise.withResolvers<void>();
  let slots: readonly Promise<void>[] = [];
  const ask = <T>(operation: string, work: () => T): Promise<T> =>
    o.gate.run('database', operation, () => database.transact(work, { durable: false }));
  const pause = async (durationMs: number): Promise<void> => {
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, stopping.signal]);
    await Promise.race([bell.promise, sleep(durationMs, undefined, { signal }).catch(() => {})]);
    over.abort();
  };

  const leaseNow = (): string => {
    if (lease === null || !database.leases.has(lease)) {
      lease = `worker ${database.newId()}`;
      database.leases.set(lease, connection);
    }
    return lease;
  };

  const next = async (): Promise<boolean> => {
    bell = Promise.withResolvers();
    const { over, job } = await ask('look for a job', () => {
      sweep(o);
      return held === null ? { over: exhausted(o), job: take(o, leaseNow()) } : { over: [], job: null };
    });
    for (const each of over) {
      await o.tasks[each.task]?.giveUp(each.payload);
      await ask('forget job', () => database.tables.jobs.remove(each.id));
    }
    if (job === null) return false;
    const context = {
      attempt: job.attempts,
      lastAttempt: job.attempts >= job.maxAttempts,
      signal: impatient.signal,
    };
    try {
      await o.tasks[job.task]?.run(job.payload, context);
    } catch (error) {
      await ask('fail job', () => fail(o, job, error));
      return true;
    }
    await ask('complete job', () => complete(o, job));
    return true;
  };

  const slot = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        if (!(await next())) await pause(o.pollMs ?? POLL_MS);
      } catch {
        // What it has and we have may be two things now: others may have the jobs of this lease.
        if (lease !== null) database.leases.delete(lease);
        await pause(RESTART_DELAY_MS);
      }
    }
  };

  return {
    async start() {
      database.onJob(() => bell.resolve());
      slots = Array.from({ length: o.concurrency }, slot);
    },
    async stop(graceMs) {
      stopping.abort(new Error('the worker is stopping'));
      bell.resolve();
      const late = setTimeout(() => impatient.abort(new Error('the worker is stopping')), graceMs);
      await Promise.all(slots);
      clearTimeout(late);
    },
    hold(reason) {
      held = reason;
      if (reason === null) bell.resolve();
    },
    async check() {
      if (held !== null) throw held;
    },
  };
}

const ours = (o: MemoryJobRunnerOptions): readonly JobRow[] =>
  o.database.tables.jobs.all().filter(({ task }) => o.tasks[task] !== undefined);

/** Jobs of the dead go back; a last attempt that says nothing of the job does not count. */
function sweep(o: MemoryJobRunnerOptions): void {
  const { jobs } = o.database.tables;
  for (const job of ours(o)) {
    if (job.lockedBy !== null && !o.database.leases.has(job.lockedBy)) jobs.set(job.id, { ...job, lockedBy: null });
    else if (job.lockedBy === null && job.attempts >= job.maxAttempts && job.lastError?.startsWith(UNCOUNTED)) {
      jobs.set(job.id, { ...job, attempts: job.attempts - 1, runAt: o.database.now() });
    }
  }
}

const exhausted = (o: MemoryJobRunnerOptions): readonly JobRow[] =>
  ours(o).filter((job) => job.lockedBy === null && job.attempts >= job.maxAttempts);

function take(o: MemoryJobRunnerOptions, lockedBy: string): JobRow | null {
  const due = ours(o)
    .filter((job) => job.lockedBy === null && job.attempts < job.maxAttempts && job.runAt <= o.database.now())
    .sort((a, b) => a.runAt - b.runAt || (a.id < b.id ? -1 : 1))[0];
  if (due === undefined) return null;
  const taken = { ...due, lockedBy, attempts: due.attempts + 1 };
  o.database.tables.jobs.set(due.id, taken);
  return taken;
}

/** Only who has it may say what became of it. */
const stillOurs = (o: MemoryJobRunnerOptions, { id, lockedBy }: JobRow): JobRow | null => {
  const job = o.database.tables.jobs.get(id);
  return job !== undefined && job.lockedBy === lockedBy ? job : null;
};

function complete(o: MemoryJobRunnerOptions, job: JobRow): void {
  if (stillOurs(o, job) !== null) o.database.tables.jobs.remove(job.id);
}

function fail(o: MemoryJobRunnerOptions, job: JobRow, error: unknown): void {
  const now = stillOurs(o, job);
  if (now === null) return;
  const delayMs = Math.min(1_000 * Math.exp(Math.min(now.attempts, 10)), o.longestDelayMs ?? LONGEST_DELAY_MS);
  const lastError = error instanceof Error ? error.message : String(error);
  o.database.tables.jobs.set(job.id, { ...now, lockedBy: null, lastError, runAt: o.database.now() + delayMs });
}
