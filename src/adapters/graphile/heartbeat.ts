/**
 * Does a worker work? It does when it finishes jobs. One that has none to finish adds one for itself: of a task that is
 * named after its pool, so that no other pool takes it, and before all others in the queue. Whatever keeps a pool from its
 * work, a library that waits for itself included, shows in that nothing is finished.
 */
import type { WorkerEvents } from 'graphile-worker';
import type pg from 'pg';
import { HELD } from './queue-indexes.ts';

/** A worker that has finished nothing for so long is not ready, and is replaced unless all of it is at work. */
export const STILL_AFTER_MS = 30_000;
const BEAT_EVERY_MS = 10_000;
const BEAT_AGAIN_MS = 2_000;

const PREFIX = 'heartbeat:';
export const heartbeatTask = (poolId: string): string => `${PREFIX}${poolId}`;

/** A job that is there already stays as it is. Tried once: a dead pool's is nobody's. */
const BEAT = `SELECT FROM graphile_worker.add_job(
  $1, job_key => $1, job_key_mode => 'unsafe_dedupe', priority => -1000, max_attempts => 1)`;

export interface Heart {
  /** Units: milliseconds of performance.now(). null: nothing is finished yet. */
  workedAt(): number | null;
  stop(): void;
}

/** `onStill`: called once, when nothing was finished for STILL_AFTER_MS although it is not `busy`. */
export function startHeart(o: {
  readonly pool: pg.Pool;
  readonly poolId: string;
  readonly events: WorkerEvents;
  /** Every job that it may run at a time is under way. */
  readonly busy: () => boolean;
  readonly onStill: () => void;
}): Heart {
  const startedAt = performance.now();
  let workedAt: number | null = null;
  let next: NodeJS.Timeout | undefined;
  let stopped = false;
  o.events.on('job:success', () => {
    workedAt = performance.now();
  });

  const beat = async (): Promise<void> => {
    const stillMs = performance.now() - (workedAt ?? startedAt);
    if (stillMs > STILL_AFTER_MS && !o.busy()) {
      o.onStill();
      return;
    }
    const asked = workedAt !== null && stillMs < BEAT_EVERY_MS / 2 ? true : await addHeartbeat(o.pool, o.poolId);
    if (!stopped) next = setTimeout(() => void beat(), asked ? BEAT_EVERY_MS : BEAT_AGAIN_MS);
  };
  void beat();
  return {
    workedAt: () => workedAt,
    stop() {
      stopped = true;
      clearTimeout(next);
    },
  };
}

/** Never rejects: what keeps it from being added shows in that it is not finished. */
async function addHeartbeat(pool: pg.Pool, poolId: string): Promise<boolean> {
  return await pool.query(BEAT, [heartbeatTask(poolId)]).then(
    () => true,
    () => false,
  );
}

/** Pools that ever had a heartbeat and are not forgotten yet, without the lease that says they live. */
const DEAD = `
  SELECT substr(identifier, length($1) + 1) AS "poolId" FROM graphile_worker._private_tasks
  WHERE starts_with(identifier, $1) AND NOT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid = $2::int::oid AND objsubid = 2
      AND objid::bigint = hashtext(substr(identifier, length($1) + 1))::bigint & 4294967295
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`;

export async function poolsWithoutLease(pool: pg.Pool, leaseLocks: number): Promise<ReadonlySet<string>> {
  const { rows } = await pool.query<{ poolId: string }>(DEAD, [PREFIX, leaseLocks]);
  return new Set(rows.map(({ poolId }) => poolId));
}

/** By key, and where the job is held by a worker that died in it, among the few that are held. */
export async function forgetHeartbeats(pool: pg.Pool, poolIds: readonly string[]): Promise<void> {
  if (poolIds.length === 0) return;
  const names = [poolIds.map(heartbeatTask)];
  await pool.query('DELETE FROM graphile_worker._private_jobs WHERE key = ANY ($1)', names);
  await pool.query(
    `DELETE FROM graphile_worker._private_jobs AS job USING graphile_worker._private_tasks AS task
     WHERE task.id = job.task_id AND task.identifier = ANY ($1) AND ${HELD}`,
    names,
  );
  await pool.query('DELETE FROM graphile_worker._private_tasks WHERE identifier = ANY ($1)', names);
}
