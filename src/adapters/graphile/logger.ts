import { Logger } from 'graphile-worker';
import type { Log } from '../../telemetry/log.ts';

/**
 * graphile-worker's own lines in our log. Its `info` is chatter of every job, hence debug; its errors name a job that
 * will be tried again, hence warnings: what became of a mail is logged by the rooms themselves.
 */
export function workerLogger(log: Log | undefined): Logger {
  return new Logger((scope) => (level, message) => {
    const facts = { worker: scope.workerId, task: scope.taskIdentifier, job_id: scope.jobId };
    if (level === 'error' || level === 'warning') log?.warn(facts, message);
    else log?.debug(facts, message);
  });
}
