import { Logger } from 'graphile-worker';
import type { Log } from '../../telemetry/log.ts';

/** Its connections are few on purpose: jobs use those of the worker (adapters/postgres/queue-pool.ts). */
const EXPECTED_WARNING = /maxPoolSize \(\d+\) smaller than concurrency/;

/**
 * graphile-worker's own lines in our log. Its `info` is chatter of every job, hence debug; its errors name a job that
 * will be tried again, hence warnings: what became of a mail is logged by the rooms themselves.
 */
export function workerLogger(log: Log | undefined): Logger {
  return new Logger((scope) => (level, message) => {
    const facts = { worker: scope.workerId, task: scope.taskIdentifier, job_id: scope.jobId };
    const matters = level === 'error' || (level === 'warning' && !EXPECTED_WARNING.test(message));
    if (matters) log?.warn(facts, message);
    else log?.debug(facts, message);
  });
}
