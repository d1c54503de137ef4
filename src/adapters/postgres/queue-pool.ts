import type pg from 'pg';
import type { Log } from '../../telemetry/log.ts';
import { createPool } from './pool.ts';

/** One listens; two fetch jobs, tell how they ended, and look after what is left lying. */
export const QUEUE_CONNECTIONS = 3;

/**
 * Connections for graphile-worker itself. It looks for jobs of tasks that it names by parameter: only a plan made with the
 * parameter at hand (some 0.3 ms) can use an index that holds one task's jobs (adapters/graphile/queue-indexes.ts).
 * What it writes is written again when it is lost: a job whose end was forgotten runs once more.
 */
export function createQueuePool(o: { readonly url: string; readonly log: Log }): pg.Pool {
  return forgivingSecondRelease(
    createPool({
      ...o,
      applicationName: 'orderflow-queue',
      maxConnections: QUEUE_CONNECTIONS,
      repeatable: true,
      plannedAnew: true,
    }),
  );
}

type ConnectCallback = Parameters<pg.Pool['connect']>[0];

/**
 * QUIRK: graphile-worker 0.18 may give the connection on which it listens back twice when it breaks right after it was made,
 * and does not wait for its own complaint: an unhandled rejection, the end of the process.
 */
function forgivingSecondRelease(pool: pg.Pool): pg.Pool {
  const connect = pool.connect.bind(pool);
  const connectWith = (callback: ConnectCallback): void =>
    connect((error, client, release) => {
      let released = false;
      callback(error, client, (destroy) => {
        if (!released) release(destroy);
        released = true;
      });
    });
  return Object.assign(pool, {
    connect: (callback?: ConnectCallback) => (callback === undefined ? connect() : connectWith(callback)),
  });
}
