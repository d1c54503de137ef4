/** How many connections to the database each purpose has, and the pools of them that mail and jobs work with. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { createPool } from '../adapters/postgres/pool.ts';
import { createQueuePool, QUEUE_CONNECTIONS } from '../adapters/postgres/queue-pool.ts';
import type { Settings } from '../config/settings.ts';
import type { Log } from '../telemetry/log.ts';

/** Commits go one at a time (group commit), look-ups beside them. */
export const INTAKE_CONNECTIONS = 6;
/** Each job may hold one, and so may the relay to Redis. */
const jobConnections = ({ worker }: Settings): number => worker.concurrency + 1;
export const workerConnections = (settings: Settings): number => jobConnections(settings) + QUEUE_CONNECTIONS;
/** Readiness, metrics and commands. */
export const VIEW_CONNECTIONS = 3;
/** Beside the pools: the worker's lease and the migration. */
export const OTHER_CONNECTIONS = 2;

/** Nobody works with them any more when they are closed: a server that does not hear the goodbye is not waited for. */
const GOODBYE_MS = 2_000;

export interface Pools {
  readonly intake: pg.Pool;
  readonly worker: pg.Pool;
  readonly queue: pg.Pool;
  readonly view: pg.Pool;
  close(): Promise<void>;
}

/** Apart, so that a worker that is busy never keeps a commit waiting for a connection. */
export function createPools(url: string, settings: Settings, log: Log): Pools {
  const open = (purpose: string, maxConnections: number, how: { repeatable?: boolean; byKeyOnly?: boolean } = {}) =>
    createPool({ url, applicationName: `orderflow-${purpose}`, maxConnections, ...how, log });
  const pools = {
    intake: open('intake', INTAKE_CONNECTIONS, { byKeyOnly: true }),
    // An extraction that a crash of the database forgets is done again, with the same ids.
    worker: open('worker', jobConnections(settings), { byKeyOnly: true, repeatable: true }),
    queue: createQueuePool({ url, log }),
    view: open('view', VIEW_CONNECTIONS),
  };
  return {
    ...pools,
    async close() {
      const over = new AbortController();
      const late = sleep(GOODBYE_MS, undefined, { signal: over.signal }).catch(() => {});
      await Promise.race([Promise.all(Object.values(pools).map((pool) => pool.end())), late]).finally(() =>
        over.abort(),
      );
    },
  };
}
