/** Joining the server of a cluster: find it or start it, and hold a share in it. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Log } from '../../telemetry/log.ts';
import type { PostgresBinaries } from './binaries.ts';
import { type ClusterPaths, keepPort, readPort, USER } from './cluster.ts';
import { codeOf, EmbeddedPostgresError, messageOf } from './error.ts';
import { findPostmaster, freePortNear, type StartedPostmaster, startFailure, startPostmaster } from './postmaster.ts';

export interface Cluster {
  readonly paths: ClusterPaths;
  readonly binaries: PostgresBinaries;
  readonly password: string;
  /** `name=value`, over the cluster's own settings. */
  readonly settings: readonly string[];
  readonly log: Log;
}

/** Owns: the session; while it lives, nobody else stops the server. */
export interface Share {
  readonly session: pg.Client;
  readonly port: number;
}

/** Any number will do, as long as every release uses the same. */
const LOCK = 0x0f10_0001;
/** The server answers (or another start is under way) within this, unless it says that it is recovering. */
const JOIN_TIMEOUT_MS = 60_000;
const POLL_MS = 25;
const RETRY_MS = 250;

type Attempt = { readonly share: Share } | { readonly wait: string; readonly recovering?: boolean };

/**
 * Resolves with a share in the running server, started if need be (on `port`, when one is given).
 * Errors: `EmbeddedPostgresError`; the signal's reason when it aborts before anything was started.
 */
export async function joinServer(cluster: Cluster, port: number | null, signal: AbortSignal): Promise<Share> {
  let started: StartedPostmaster | null = null;
  let reason = 'it does not start';
  let deadline = performance.now() + JOIN_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const running = await findPostmaster(cluster.paths);
    if (running?.port) {
      const attempt = await hold(cluster, running.port);
      if ('share' in attempt) return attempt.share;
      if (attempt.recovering) deadline = performance.now() + JOIN_TIMEOUT_MS;
      reason = attempt.wait;
    } else if (!running && !started) {
      signal.throwIfAborted();
      started = await start(cluster, port);
    }
    const logged: string | null = started?.endedWith() ?? null;
    if (logged !== null) {
      if (!mayRetry(logged, port)) throw startFailure(cluster.paths, logged);
      started = null;
      await sleep(RETRY_MS);
    }
    await sleep(POLL_MS);
  }
  throw new EmbeddedPostgresError(
    `the embedded PostgreSQL in ${cluster.paths.homeDir} does not answer (${reason}); see ${cluster.paths.logFile}`,
  );
}

async function start({ paths, binaries, settings, log }: Cluster, port: number | null): Promise<StartedPostmaster> {
  const chosen = port ?? (await freePortNear(await readPort(paths)));
  log.debug({ port: chosen, dir: paths.homeDir }, 'starting the embedded PostgreSQL');
  return startPostmaster({ paths, binaries, port: chosen, settings });
}

/** Another process was first, the killed one's sessions are still ending, or somebody took the port we had seen free. */
function mayRetry(logged: string, port: number | null): boolean {
  if (/lock file .* already exists|shared memory block .* still in use/.test(logged)) return true;
  return port === null && /could not bind|could not create any TCP/.test(logged);
}

async function hold({ paths, password }: Cluster, port: number): Promise<Attempt> {
  const session = new pg.Client({
    host: '127.0.0.1',
    port,
    user: USER,
    password,
    database: 'postgres',
    ssl: false,
    keepAlive: true,
    connectionTimeoutMillis: 5000,
    application_name: 'orderflow-ingest: holds the server',
  });
  session.on('error', () => {}); // A broken session is seen by its `end`.
  try {
    await session.connect();
    await keepPort(paths, port); // Before the lock: from then on nothing may come between it and its watcher.
    const { rows } = await session.query<{ held: boolean }>('SELECT pg_try_advisory_lock_shared($1) AS held', [LOCK]);
    if (rows[0]?.held) return { share: { session, port } };
    await session.end();
    return { wait: 'another process is stopping it' };
  } catch (error) {
    await session.end().catch(() => {});
    if (codeOf(error) === '28P01') {
      throw new EmbeddedPostgresError(
        `the embedded PostgreSQL in ${paths.homeDir} does not take the password in its folder; restore orderflow.password from a backup`,
        { cause: error },
      );
    }
    return { wait: messageOf(error), recovering: codeOf(error) === '57P03' };
  }
}

/** Gives the share back. true: nobody else holds one, and nobody gets one while the session lives. */
export async function releaseShare({ session }: Share): Promise<boolean> {
  await session.query('SELECT pg_advisory_unlock_shared($1)', [LOCK]);
  const { rows } = await session.query<{ alone: boolean }>('SELECT pg_try_advisory_lock($1) AS alone', [LOCK]);
  return rows[0]?.alone === true;
}
