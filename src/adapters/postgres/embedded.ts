/**
 * The database of a fresh machine: a real PostgreSQL under the data folder, started by whoever needs it first.
 *
 * Server and commands share it. Each user holds a shared advisory lock on a session of its own to the maintenance
 * database; who leaves and gets that lock alone stops the server. A server whose starter was killed is found through
 * its postmaster.pid and taken over the same way. When the server itself dies, the holder's session breaks, and the
 * holder starts it again on the same port.
 */
import { mkdir, realpath } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../telemetry/log.ts';
import { locateBinaries } from './embedded-binaries.ts';
import {
  checkVersion,
  clusterExists,
  clusterPaths,
  createCluster,
  DATABASE,
  prepareHome,
  readPassword,
  USER,
} from './embedded-cluster.ts';
import { EmbeddedPostgresError, messageOf, remedyFor } from './embedded-error.ts';
import { type Cluster, joinServer, releaseShare, type Share } from './embedded-hold.ts';
import { stopPostmaster } from './embedded-postmaster.ts';

export { EmbeddedPostgresError } from './embedded-error.ts';

export interface EmbeddedPostgresOptions {
  readonly dataDir: string;
  readonly log: Log;
  /** false: no fsync, for throw-away clusters of tests only. Default: true. */
  readonly durable?: boolean;
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
  const cluster = await openCluster(options);
  const leaving = new AbortController();
  const first = await joinServer(cluster, null, leaving.signal);
  const held = keepHeld(cluster, first, leaving.signal);
  let stopped: Promise<void> | undefined;
  return {
    connectionString: `postgres://${USER}:${cluster.password}@127.0.0.1:${first.port}/${DATABASE}`,
    stop: () => {
      stopped ??= leave(cluster, held, leaving);
      return stopped;
    },
  };
}

async function openCluster({ dataDir, log, durable = true }: EmbeddedPostgresOptions): Promise<Cluster> {
  const paths = clusterPaths(await makeFolder(dataDir));
  await prepareHome(paths);
  const binaries = await locateBinaries(paths.homeDir);
  if (!(await clusterExists(paths))) {
    log.info({ dir: paths.homeDir }, 'creating the embedded PostgreSQL');
    await createCluster({ paths, binaries, durable });
  }
  await checkVersion(paths, binaries);
  const password = await readPassword(paths);
  return { paths, binaries, password, settings: durable ? [] : THROW_AWAY, log };
}

async function makeFolder(dataDir: string): Promise<string> {
  try {
    await mkdir(dataDir, { recursive: true });
    return await realpath(dataDir);
  } catch (error) {
    const reason = messageOf(error);
    const remedy = remedyFor(reason) ?? 'set DATA_DIR to a folder that can be written';
    throw new EmbeddedPostgresError(`cannot make the data folder ${dataDir} (${reason}); ${remedy}`, { cause: error });
  }
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
      if (!signal.aborted)
        restarting = rejoin(cluster, next.port, signal).then((again) => (again ? take(again) : undefined));
    });
  };
  take(first);
  return { current: () => share, idle: () => restarting };
}

/** Never rejects; null when we leave before the server is back. */
async function rejoin(cluster: Cluster, port: number, signal: AbortSignal): Promise<Share | null> {
  const { log, paths } = cluster;
  log.error({ dir: paths.homeDir }, 'the embedded PostgreSQL is gone; starting it again');
  for (let delayMs = 100; !signal.aborted; delayMs = Math.min(delayMs * 2, MAX_RESTART_DELAY_MS)) {
    try {
      const share = await joinServer(cluster, port, signal);
      if (share.port === port) log.warn({ port }, 'the embedded PostgreSQL is back');
      else log.error({ port: share.port, expected: port }, 'the embedded PostgreSQL moved to another port; restart');
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
