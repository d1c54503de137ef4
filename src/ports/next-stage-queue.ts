/** The queue that the next stage takes its jobs from, as far as jobs that are lost in it are looked for and put back. */
import type { JobToPublish } from './job-publisher.ts';

/**
 * `live`: it waits, or is worked on. `lost`: it was given up because its consumers died, not because of what they found.
 * `failed`: it has no attempt left. `done`: a consumer has finished it. `missing`: the queue does not know it.
 */
export type QueuedState = 'live' | 'lost' | 'failed' | 'done' | 'missing';

export interface QueuedJob extends JobToPublish {
  readonly state: QueuedState;
}

/** Errors: rejects when the queue cannot be asked, with words for the operator. */
export interface NextStageQueue {
  /** By id. Costs the same for each, however many jobs there are. */
  states(ids: readonly string[]): Promise<ReadonlyMap<string, QueuedState>>;
  /** Puts back each that is in that state still, with all of its attempts; one that is live already stays as it is. */
  requeue(jobs: readonly QueuedJob[]): Promise<void>;
}

/** One that remembers for a while what its consumers have finished. */
export interface RememberingQueue extends NextStageQueue {
  /** Ids of the jobs that were finished last, and longer ago than that. */
  doneLately(o: { readonly limit: number; readonly olderThanMs: number }): Promise<readonly string[]>;
}
