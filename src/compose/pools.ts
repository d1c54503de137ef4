/** How many connections to the database each purpose has, and the pools of them that mail and jobs work with. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { ConnectionNeed } from '../adapters/postgres/examine-connections.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import { createQueuePool, QUEUE_CONNECTIONS } from '../adapters/postgres/queue-pool.ts';
import { acceptanceProbe, closeIdle } from '../adapters/postgres/wrong-server.ts';
import type { Role } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import type { ConnectionUrl } from '../ports/renewable-url.ts';
import { planProcesses } from '../processes/plan.ts';
import type { Log } from '../telemetry/log.ts';

/** Commits go one at a time (group commit), look-ups beside them. */
const INTAKE_CONNECTIONS = 6;
/** Each job may hold one, and so may the relay to Redis. */
const jobConnections = ({ worker }: Settings): number => worker.concurrency + 1;
const LEASE_CONNECTIONS = 1;
/** Readiness, metrics and commands. */
export const VIEW_CONNECTIONS = 3;
const MIGRATION_CONNECTIONS = 1;

/** What the processes of one `start` may open together. */
export function connectionNeed(settings: Settings, roles: readonly Role[], processes: number): ConnectionNeed {
  const { here, children } = planProcesses(roles, processes);
  const running = [here, ...children.map((child) => child.roles)];
  const count = (role: Role): number => running.filter((one) => one.includes(role)).length;
  const perWorker = jobConnections(settings) + QUEUE_CONNECTIONS + LEASE_CONNECTIONS;
  return [
    { purpose: 'to take mail', connections: count('smtp') * INTAKE_CONNECTIONS },
    { purpose: 'to read it', connections: count('worker') * perWorker },
    { purpose: 'to watch', connections: VIEW_CONNECTIONS },
    { purpose: 'to migrate', connections: MIGRATION_CONNECTIONS },
  ].filter(({ connections }) => connections > 0);
}

/** Nobody works with them any more when they are closed: a server that does not hear the goodbye is not waited for. */
const GOODBYE_MS = 2_000;

export interface Pools {
  readonly intake: pg.Pool;
  readonly worker: pg.Pool;
  readonly queue: pg.Pool;
  readonly view: pg.Pool;
  /** Rejects when the database takes no mail; connections that lead to such a server are closed. */
  checkAcceptance(): Promise<void>;
  close(): Promise<void>;
}

/** Apart, so that a worker that is busy never keeps a commit waiting for a connection. */
export function createPools(url: ConnectionUrl, settings: Settings, log: Log): Pools {
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
    async checkAcceptance() {
      try {
        await acceptanceProbe(pools.view);
      } catch (error) {
        // After a failover the others lead to the same server, and each would cost a mail its 250 to find that out.
        for (const pool of Object.values(pools)) closeIdle(pool);
        throw error;
      }
    },
    async close() {
      const over = new AbortController();
      const late = sleep(GOODBYE_MS, undefined, { signal: over.signal }).catch(() => {});
      await Promise.race([Promise.all(Object.values(pools).map((pool) => pool.end())), late]).finally(() =>
        over.abort(),
      );
    },
  };
}
