/** What BullMQ is told about every job. A consumer's own settings for these do not count: BullMQ asks the job first. */
export interface JobOptions {
  readonly attempts: number;
  readonly backoff: { readonly type: 'exponential'; readonly delay: number };
  readonly removeOnComplete: { readonly age: number; readonly count: number };
  readonly removeOnFail: false;
}

export const jobOptions: JobOptions = {
  // 5 s, 10 s, 20 s, … : 12 attempts are spread over almost three hours. Then the job is among the failed ones.
  attempts: 12,
  backoff: { type: 'exponential', delay: 5_000 },
  // A job that is known is not added again. We may publish one a second time when we were killed after Redis had taken it
  // and before our database knew; by then the consumer may be through with it. So it is kept for a day after that (Redis
  // counts in seconds), and no more than so many, about 160 MB (measured: 1.6 KB each).
  removeOnComplete: { age: 24 * 3_600, count: 100_000 },
  // Whoever looks after failed jobs tries them again or removes them; we do not.
  removeOnFail: false,
};
