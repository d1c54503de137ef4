/**
 * A later version of this program has taken a breaking migration of graphile-worker: no worker of ours may run beside it.
 * The function that adds a job is still there, so mail is taken.
 */
const OF_A_LATER_VERSION = /^Database is using Graphile Worker schema revision \d+ which includes breaking migration/;

/** Of what graphile-worker's migrations, and the start of a worker, fail with. */
export const isLaterQueue = (error: unknown): boolean =>
  error instanceof Error && OF_A_LATER_VERSION.test(error.message);

/** For the log. */
export const LATER_QUEUE = 'the job queue is that of a later version: no worker of this one starts, mail is taken';
