/** What BullMQ knows of a job, and how one that is over is put back. */
import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { QueuedJob, QueuedState } from '../../ports/next-stage-queue.ts';
import { jobOptions } from './job-options.ts';

/** BullMQ's own words for a job whose consumers died more often than `maxStalledCount`. */
const STALLED = 'job stalled more than allowable limit';
/** A job that has killed as many consumers as it has attempts may be what kills them. */
const MAX_STALLS = jobOptions.attempts;
/** What `retry` answers when the job is gone, or in that state no more: somebody else was faster. */
const OVERTAKEN: ReadonlySet<unknown> = new Set([-1, -3]);

/** Three commands for each, none of which reads a list: `getState` would read all that wait. */
export async function statesOf(
  queue: Queue,
  redis: Redis,
  ids: readonly string[],
): Promise<ReadonlyMap<string, QueuedState>> {
  const pipeline = redis.pipeline();
  for (const id of ids) {
    pipeline.hmget(queue.toKey(id), 'name', 'failedReason', 'stc');
    pipeline.zscore(queue.toKey('failed'), id);
    pipeline.zscore(queue.toKey('completed'), id);
  }
  const answers = (await pipeline.exec()) ?? [];
  const answer = (at: number): unknown => {
    const [error, value] = answers[at] ?? [new Error('Command aborted'), null];
    if (error !== null) throw error;
    return value;
  };
  return new Map(
    ids.map((id, n) => [
      id,
      stateOf(answer(3 * n) as readonly (string | null)[], answer(3 * n + 1) !== null, answer(3 * n + 2) !== null),
    ]),
  );
}

function stateOf(
  [name, failedReason, stalls]: readonly (string | null)[],
  failed: boolean,
  completed: boolean,
): QueuedState {
  if (name === null || name === undefined) return 'missing';
  if (completed) return 'done';
  if (!failed) return 'live';
  return failedReason === STALLED && Number(stalls ?? 0) < MAX_STALLS ? 'lost' : 'failed';
}

/** Those that the queue knows; one that is missing is published like any other. */
export async function putBack(queue: Queue, jobs: readonly QueuedJob[]): Promise<void> {
  for (const { id, state } of jobs) {
    const job = await queue.getJob(id);
    if (job === undefined || (state !== 'lost' && state !== 'failed' && state !== 'done')) continue;
    try {
      // Its stalls stay counted: that bounds how often a job that kills its consumers is put back by itself.
      await job.retry(state === 'done' ? 'completed' : 'failed', { resetAttemptsMade: true });
    } catch (error) {
      if (!OVERTAKEN.has((error as { code?: unknown }).code)) throw error;
    }
  }
}

export async function doneLately(
  queue: Queue,
  redis: Redis,
  { limit, olderThanMs }: { readonly limit: number; readonly olderThanMs: number },
): Promise<readonly string[]> {
  return await redis.zrevrangebyscore(queue.toKey('completed'), Date.now() - olderThanMs, '-inf', 'LIMIT', 0, limit);
}
