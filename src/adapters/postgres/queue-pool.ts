import type pg from 'pg';
import type { ConnectionUrl } from '../../ports/renewable-url.ts';
import type { Log } from '../../telemetry/log.ts';
import { createPool } from './pool.ts';

/** One listens; two fetch jobs, tell how they ended, and look after what is left lying. */
export const QUEUE_CONNECTIONS = 3;

/**
 * Connections for graphile-worker itself. It looks for jobs of tasks that it names by parameter: only a plan made with the
 * parameter at hand (some 0.3 ms) can use an index that holds one task's jobs (adapters/graphile/queue-indexes.ts). They
 * never sort, so that the index is used that has the jobs in order.
 * What it writes is written again when it is lost: a job whose end was forgotten runs once more.
 */
export function createQueuePool(o: { readonly url: ConnectionUrl; readonly log: Log }): pg.Pool {
  return createPool({
    ...o,
    applicationName: 'orderflow-queue',
    maxConnections: QUEUE_CONNECTIONS,
    repeatable: true,
    firstOfMany: true,
  });
}
