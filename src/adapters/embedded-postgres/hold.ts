/** Joining the server of a cluster: find it or start it, and hold a share in it. */
import type { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Log } from '../../telemetry/log.ts';
import type { PostgresBinaries } from './binaries.ts';
import { type ClusterPaths, keepPort, readPort, USER } from './cluster.ts';
import { addressOf, type Endpoint, socketFolder, type Transport } from './endpoint.ts';
import { codeOf, EmbeddedPostgresError, messageOf } from './error.ts';
import {
  findPostmaster,
  freePortNear,
  type StartedPostmaster,
  startFailure,
  startPostmaster,
  stopPostmaster,
} from './postmaster.ts';

export interface Cluster {
  readonly paths: ClusterPaths;
  readonly binaries: PostgresBinaries;
  readonly password: string;
  readonly transport: Transport;
  /** `name=value`, over the cluster's own settings. */
  readonly settings: readonly string[];
  readonly log: Log;
}

/** Owns: the session; while it lives, nobody else stops the server. */
export interface Share {
  readonly session: pg.Client;
  readonly endpoint: Endpoint;
}

/** Any number will do, as long as every release uses the same. */
const LOCK = 0x0f10_0001;
/** The server answers (or another start is under way) within this, unless it says that it is recovering. */
const JOIN_TIMEOUT_MS = 60_000;
const POLL_MS = 25;
const RETRY_MS = 250;

type Attempt = { readonly share: Share } | { readonly wait: string; readonly recovering?: boolean };

/**
 * Resolves with a share in the running server, started if need be (on `endpoint`, when one is given).
 * Errors: `EmbeddedPostgresError`; the signal's reason when it aborts before anything was started.
 */
export async function joinServer(cluster: Cluster, endpoint: Endpoint | null, signal: AbortSignal): Promise<Share> {
  let started: StartedPostmaster | null = null;
  let reason = 'it does not start';
  let deadline = performance.now() + JOIN_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const running = await findPostmaster(cluster.paths);
    if (running?.endpoint) {
      const attempt = await hold(cluster, running.endpoint);
      if ('share' in attempt) {
        if (running.endpoint.transport === cluster.transport) return attempt.share;
        await endOnOtherTransport(cluster, attempt.share);
        continue;
      }
      if (attempt.recovering) deadline = performance.now() + JOIN_TIMEOUT_MS;
      reason = attempt.wait;
    } else if (!running && !started) {
      signal.throwIfAborted();
      started = await start(cluster, endpoint);
    }
    const logged: string | null = started?.endedWith() ?? null;
    if (logged !== null) {
      if (!mayRetry(logged, endpoint)) throw startFailure(cluster.paths, logged);
      started = null;
      await sleep(RETRY_MS);
    }
    await sleep(POLL_MS);
  }
  throw new EmbeddedPostgresError(
    `the embedded PostgreSQL in ${cluster.paths.homeDir} does not answer (${reason}); see ${cluster.paths.logFile}`,
  );
}

async function start(cluster: Cluster, endpoint: Endpoint | null): Promise<StartedPostmaster> {
  const { paths, binaries, settings, log } = cluster;
  const chosen = endpoint ?? (await chooseEndpoint(cluster));
  log.debug({ dir: paths.homeDir, ...chosen }, 'starting the embedded PostgreSQL');
  return startPostmaster({ paths, binaries, endpoint: chosen, settings });
}

async function chooseEndpoint({ paths, password, transport }: Cluster): Promise<Endpoint> {
  if (transport === 'tcp') return { transport, port: await freePortNear(await readPort(paths)) };
  return { transport, folder: socketFolder(paths, password) };
}

/** The release before listened on TCP; a server of it that outlived its last user is started anew. */
async function endOnOtherTransport({ paths, binaries }: Cluster, share: Share): Promise<void> {
  try {
    if (!(await releaseShare(share))) {
      throw new EmbeddedPostgresError(
        `the embedded PostgreSQL in ${paths.homeDir} is in use by another version of this program; stop that first`,
      );
    }
    await stopPostmaster(paths, binaries);
  } finally {
    await share.session.end().catch(() => {});
  }
}

/** Another process was first, the killed one's sessions are still ending, or somebody took the port we had seen free. */
function mayRetry(logged: string, endpoint: Endpoint | null): boolean {
  if (/lock file .* already exists|shared memory block .* still in use/.test(logged)) return true;
  return endpoint === null && /could not bind|could not create any TCP/.test(logged);
}

async function hold({ paths, password, transport }: Cluster, endpoint: Endpoint): Promise<Attempt> {
  const session = new pg.Client({
    ...addressOf(endpoint),
    user: USER,
    password,
    database: 'postgres',
    ssl: false,
    keepAlive: true,
    connectionTimeoutMillis: 5000,
    application_name: 'orderflow-ingest: holds the server',
  });
  session.on('error', () => {}); // A broken session is seen by its `end`.
  keepPasswordFromImpostor(session, paths);
  try {
    await session.connect();
    // Before the lock: from then on nothing may come between it and its watcher.
    if (transport === 'tcp' && endpoint.transport === 'tcp') await keepPort(paths, endpoint.port);
    const { rows } = await session.query<{ held: boolean }>('SELECT pg_try_advisory_lock_shared($1) AS held', [LOCK]);
    if (rows[0]?.held) return { share: { session, endpoint } };
    await session.end();
    return { wait: 'another process is stopping it' };
  } catch (error) {
    await session.end().catch(() => {});
    if (error instanceof EmbeddedPostgresError) throw error;
    if (codeOf(error) === '28P01') {
      throw new EmbeddedPostgresError(
        `the embedded PostgreSQL in ${paths.homeDir} does not take the password in ${paths.passwordFile}; restore that file from a backup`,
        { cause: error },
      );
    }
    return { wait: messageOf(error), recovering: codeOf(error) === '57P03' };
  }
}

/** Our server asks by SCRAM, which does not show the password and proves the server as well; whoever asks otherwise is another. */
function keepPasswordFromImpostor(session: pg.Client, { homeDir }: ClusterPaths): void {
  const { connection } = session as unknown as { readonly connection: EventEmitter };
  const impostor = new EmbeddedPostgresError(
    `another program answers in the place of the embedded PostgreSQL in ${homeDir}, and asks for its password; stop that program`,
  );
  const refuse = () => Object.assign(session, { password: () => Promise.reject(impostor) });
  connection.on('authenticationCleartextPassword', refuse);
  connection.on('authenticationMD5Password', refuse);
}

/** Gives the share back. true: nobody else holds one, and nobody gets one while the session lives. */
export async function releaseShare({ session }: Share): Promise<boolean> {
  await session.query('SELECT pg_advisory_unlock_shared($1)', [LOCK]);
  const { rows } = await session.query<{ alone: boolean }>('SELECT pg_try_advisory_lock($1) AS alone', [LOCK]);
  return rows[0]?.alone === true;
}
