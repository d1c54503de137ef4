/**
 * The database of a fresh machine: a real PostgreSQL under the data folder, started by whoever needs it first.
 *
 * Server and commands share it. Each user holds a shared advisory lock on a session of its own to the maintenance
 * database; who leaves and gets that lock alone stops the server. A server whose starter was killed is found through
 * its postmaster.pid and taken over the same way. When the server itself dies, the holder's session breaks, and the
 * holder starts it again at the same place.
 */
import { mkdir, realpath } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../telemetry/log.ts';
import { locateBinaries } from './binaries.ts';
import {
  checkVersion,
  clusterExists,
  clusterPaths,
  createCluster,
  ensurePassword,
  prepareHome,
  removeDeadDrafts,
} from './cluster.ts';
import { addressOf, connectionStringOf, defaultTransport, type Endpoint, type Transport } from './endpoint.ts';
import { EmbeddedPostgresError, messageOf, remedyFor } from './error.ts';
import { type Cluster, joinServer, releaseShare, type Share } from './hold.ts';
import { stopPostmaster } from './postmaster.ts';

export { EmbeddedPostgresError } from './error.ts';

export interface EmbeddedPostgresOptions {
  readonly dataDir: string;
  readonly log: Log;
  /** false: no fsync, for throw-away clusters of tests only. Default: true. */
  readonly durable?: boolean;
  /** Default: the platform's (endpoint.ts). */
  readonly transport?: Transport;
}

export interface EmbeddedPostgres {
  readonly connectionString: string;
  /** Leaves; the server stops when nobody else uses it. Safe to call twice. */
  stop(): Promise<void>;
}

const THROW_AWAY = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off', 'autovacuum=off'];
const MAX_RESTART_DELAY_MS = 10_000;

/**
 * Owns: a process of its own, which outlives us when we are killed; the next opener takes it over.
 * Errors: `EmbeddedPostgresError` with one line on what to mend.
 */
export async function openEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const leaving = new AbortController();
  const cluster = await explained(options.dataDir, openCluster(options));
  const first = await explained(options.dataDir, joinServer(cluster, null, leaving.signal));
  const held = keepHeld(cluster, first, leaving.signal);
  let stopped: Promise<void> | undefined;
  return {
    connectionString: connectionStringOf(first.endpoint, cluster.password),
    stop: () => {
      stopped ??= leave(cluster, held, leaving);
      return stopped;
    },
  };
}

/** Whatever else goes wrong is the file system's word; it names the path, we add what to do. */
async function explained<T>(dataDir: string, work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    if (error instanceof EmbeddedPostgresError) throw error;
    const reason = messageOf(error);
    const remedy = remedyFor(reason) ?? 'set DATA_DIR to a folder that can be written, or DATABASE_URL';
    throw new EmbeddedPostgresError(`no embedded PostgreSQL in ${dataDir} (${reason}); ${remedy}`, { cause: error });
  });
}

/** Is there one in this data folder, running or not? */
export function embeddedDatabaseExists(dataDir: string): Promise<boolean> {
  return clusterExists(clusterPaths(dataDir));
}

async function openCluster(o: EmbeddedPostgresOptions): Promise<Cluster> {
  const { dataDir, log, durable = true, transport = defaultTransport } = o;
  await mkdir(dataDir, { recursive: true });
  const paths = clusterPaths(await realpath(dataDir));
  await prepareHome(paths);
  const exists = await clusterExists(paths);
  const password = await ensurePassword(paths);
  const binaries = await locateBinaries(paths.homeDir);
  await removeDeadDrafts(paths, binaries);
  if (!exists) {
    log.info({ dir: paths.homeDir }, 'creating the embedded PostgreSQL');
    await createCluster({ paths, binaries, password, durable });
  }
  await checkVersion(paths, binaries);
  return { paths, binaries, password, transport, settings: durable ? [] : THROW_AWAY, log };
}

interface Held {
  /** The share of now; null while the server is gone. */
  current(): Share | null;
  /** Resolves when no restart is under way any more. */
  readonly idle: () => Promise<void>;
}

/** Starts the server again whenever the holder's session breaks, until the signal aborts. */
function keepHeld(cluster: Cluster, first: Share, signal: AbortSignal): Held {
  let share: Share | null = null;
  let restarting = Promise.resolve();
  const take = (next: Share) => {
    share = next;
    next.session.once('end', () => {
      share = null;
      if (signal.aborted) return;
      restarting = rejoin(cluster, next.endpoint, signal).then((again) => (again ? take(again) : undefined));
    });
  };
  take(first);
  return { current: () => share, idle: () => restarting };
}

/** Never rejects; null when we leave before the server is back. */
async function rejoin(cluster: Cluster, endpoint: Endpoint, signal: AbortSignal): Promise<Share | null> {
  const { log, paths } = cluster;
  log.error({ dir: paths.homeDir }, 'lost the embedded PostgreSQL; starting it again');
  for (let delayMs = 100; !signal.aborted; delayMs = Math.min(delayMs * 2, MAX_RESTART_DELAY_MS)) {
    try {
      const share = await joinServer(cluster, endpoint, signal);
      const [now, before] = [addressOf(share.endpoint), addressOf(endpoint)];
      if (now.host === before.host && now.port === before.port) log.warn(now, 'the embedded PostgreSQL is back');
      else log.error({ ...now, expected: before }, 'the embedded PostgreSQL moved; restart');
      return share;
    } catch (error) {
      if (signal.aborted) break;
      log.error({ error: messageOf(error) }, 'the embedded PostgreSQL does not start; trying again');
      await sleep(delayMs, undefined, { signal }).catch(() => {});
    }
  }
  return null;
}

async function leave(cluster: Cluster, held: Held, leaving: AbortController): Promise<void> {
  leaving.abort();
  await held.idle();
  const share = held.current();
  if (!share) return;
  let alone = false;
  try {
    alone = await releaseShare(share);
  } catch (error) {
    cluster.log.warn({ error: messageOf(error) }, 'the embedded PostgreSQL ended before we left it');
  }
  try {
    if (alone) await stopPostmaster(cluster.paths, cluster.binaries);
  } finally {
    await share.session.end().catch(() => {});
  }
}
