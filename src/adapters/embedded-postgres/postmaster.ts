/** The server process of the cluster: is it there, start it, stop it. */
import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { link, readFile, readlink, rename, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { chooseAccount, handOver } from './account.ts';
import type { PostgresBinaries } from './binaries.ts';
import { type ClusterPaths, complaintIn, openLog } from './cluster.ts';
import {
  assertPrivate,
  type Endpoint,
  prepareSocketFolder,
  removeSocketFolder,
  serverArguments,
  socketFile,
} from './endpoint.ts';
import { codeOf, EmbeddedPostgresError, messageOf, remedyFor } from './error.ts';
import { readOwnFile } from './own-files.ts';

/** What the server wrote into postmaster.pid. */
export interface Postmaster {
  readonly pid: number;
  /** null while it is starting. */
  readonly endpoint: Endpoint | null;
}

/**
 * The running server of this cluster, or null. A file left by a killed machine is recognised even when its process
 * id now belongs to another program, and moved out of the way: PostgreSQL itself would refuse to start.
 * Errors: `EmbeddedPostgresError` when others can write where its socket is.
 */
export async function findPostmaster({ clusterDir }: ClusterPaths): Promise<Postmaster | null> {
  const found = await readPidFile(pidFile(clusterDir));
  if (!found) return null;
  if (!(await isPostmaster(found.pid, clusterDir))) {
    await removeStalePidFile(pidFile(clusterDir), found.pid);
    return null;
  }
  const { endpoint } = found;
  if (endpoint?.transport === 'socket') await assertPrivate(endpoint.folder, (await stat(clusterDir)).uid);
  return found;
}

const pidFile = (clusterDir: string): string => join(clusterDir, 'postmaster.pid');

/** Lines: process id, cluster, start time, port, folder of the socket, address of TCP. The last two once it listens there. */
async function readPidFile(path: string): Promise<Postmaster | null> {
  const [pidLine = '', , , portLine = '', folder = '', host = ''] = ((await readOwnFile(path)) ?? '').split('\n');
  const pid = Number.parseInt(pidLine, 10);
  if (!(pid > 0)) return null;
  const port = Number.parseInt(portLine, 10);
  if (folder !== '') return { pid, endpoint: { transport: 'socket', folder } };
  return { pid, endpoint: host !== '' && port > 0 ? { transport: 'tcp', port } : null };
}

/**
 * A server's working folder is its cluster. Where the system hides that (a container's root looking at another
 * user's process), its command line names it; both are gone for a zombie.
 */
async function isPostmaster(pid: number, clusterDir: string): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false;
  }
  if (process.platform === 'win32') return true;
  if (process.platform === 'linux') {
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    return args.length > 1 && (cwd === clusterDir || args[args.indexOf('-D') + 1] === clusterDir);
  }
  return promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).then(
    ({ stdout }) => stdout.includes(clusterDir),
    () => false,
  );
}

/**
 * Moved aside before it is judged again, so that the file of a server that another process started meanwhile is put
 * back. (Were it lost all the same, PostgreSQL's lock on its shared memory still keeps a second server out.)
 */
async function removeStalePidFile(file: string, stalePid: number): Promise<void> {
  const aside = `${file}.stale-${randomBytes(4).toString('hex')}`;
  try {
    await rename(file, aside);
    if ((await readPidFile(aside))?.pid !== stalePid) await link(aside, file);
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(codeOf(error) ?? '')) throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

export interface StartOptions {
  readonly paths: ClusterPaths;
  readonly binaries: PostgresBinaries;
  readonly endpoint: Endpoint;
  /** `name=value`, over the cluster's own. */
  readonly settings: readonly string[];
}

/**
 * Starts the server apart from us: in a session of its own, so that Ctrl-C in the terminal does not reach it before
 * we have finished. Resolves once the process is there.
 */
export async function startPostmaster({
  paths,
  binaries,
  endpoint,
  settings,
}: StartOptions): Promise<StartedPostmaster> {
  const account = await chooseAccount({ ...paths, postgres: binaries.postgres });
  await handOver(paths.clusterDir, account);
  if (endpoint.transport === 'socket') {
    await prepareSocketFolder(endpoint.folder, paths, account);
    await removeStaleSocketLock(endpoint.folder, paths);
  }
  const log = await openLog(paths);
  try {
    const logStart = (await stat(paths.logFile)).size;
    const options = [`hba_file=${paths.accessFile}`, ...settings].flatMap((setting) => ['-c', setting]);
    const args = ['-D', paths.clusterDir, ...serverArguments(endpoint), ...options];
    const launch = account.launch(binaries.postgres, args);
    const child = spawn(launch.file, launch.args, {
      ...launch.options,
      cwd: '/',
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      windowsHide: true,
    });
    let endedWith: string | null = null;
    child.once('error', (error) => {
      endedWith = error.message;
    });
    child.once('exit', () => {
      endedWith = logSince(paths.logFile, logStart);
    });
    child.unref();
    return { endedWith: () => endedWith };
  } finally {
    await log.close();
  }
}

/** What a killed server leaves beside its socket: as with postmaster.pid, the process id may be another program's now. */
async function removeStaleSocketLock(folder: string, { clusterDir }: ClusterPaths): Promise<void> {
  const file = `${socketFile(folder)}.lock`;
  const found = await readPidFile(file);
  if (found && !(await isPostmaster(found.pid, clusterDir))) await removeStalePidFile(file, found.pid);
}

export interface StartedPostmaster {
  /** What it logged, once it has ended. */
  endedWith(): string | null;
}

function logSince(logFile: string, start: number): string {
  try {
    return readFileSync(logFile).subarray(start).toString('utf8');
  } catch (error) {
    return messageOf(error);
  }
}

/** Makes one line of what a server that did not start has logged. */
export function startFailure(paths: ClusterPaths, logged: string): EmbeddedPostgresError {
  const remedy = remedyFor(logged);
  return new EmbeddedPostgresError(
    `the embedded PostgreSQL in ${paths.homeDir} does not start (${complaintIn(logged) || 'it logged nothing'}); ${remedy ?? `see ${paths.logFile}, or set DATABASE_URL to a PostgreSQL of your own`}`,
  );
}

const STOP_TIMEOUT_MS = 60_000;

/** Ends sessions, writes everything out, stops. Errors: `EmbeddedPostgresError` when it does not within a minute. */
export async function stopPostmaster(paths: ClusterPaths, binaries: PostgresBinaries): Promise<void> {
  const running = await findPostmaster(paths);
  if (!running) return;
  if (process.platform === 'win32') {
    // A signal would be a kill there.
    await promisify(execFile)(binaries.pgCtl, ['stop', '-D', paths.clusterDir, '-m', 'fast', '-w']);
    return;
  }
  try {
    process.kill(running.pid, 'SIGINT');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (!(await hasExited(running.pid))) {
    if (performance.now() > deadline) {
      throw new EmbeddedPostgresError(
        `the embedded PostgreSQL (process ${running.pid}) has not stopped in a minute; see ${paths.logFile}`,
      );
    }
    await sleep(20);
  }
  if (running.endpoint?.transport === 'socket') await removeSocketFolder(running.endpoint.folder, paths);
}

/** A zombie has: its ports and files are closed; only whoever adopted it has not looked yet. */
async function hasExited(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
  const state = /.*\) (\w)/s.exec(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''))?.[1];
  return state === 'Z' || state === 'X';
}

/**
 * Below the range from which the system takes ports for outgoing connections, so that the port of last time is
 * rarely taken by one of those.
 */
export async function freePortNear(preferred: number | null): Promise<number> {
  const others = Array.from({ length: 50 }, () => randomInt(20_000, 30_000));
  for (const port of preferred === null ? others : [preferred, ...others]) if (await isFree(port)) return port;
  throw new EmbeddedPostgresError('found no free port for the embedded PostgreSQL on 127.0.0.1; set DATABASE_URL');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
