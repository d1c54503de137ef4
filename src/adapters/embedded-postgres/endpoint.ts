/**
 * Where the server of a cluster listens.
 *
 * A Unix socket in a folder that only its account may enter. On a port of loopback any local program can take the place of
 * a server that is down, and `pg` gives its password in clear to whoever asks for it. TCP is for Windows, where the driver
 * knows no such socket, and for tests that put something between.
 */
import { createHmac } from 'node:crypto';
import { lchown, lstat, mkdir, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Account } from './account.ts';
import { type ClusterPaths, DATABASE, USER } from './cluster.ts';
import { codeOf, EmbeddedPostgresError } from './error.ts';

export type Transport = 'socket' | 'tcp';

export type Endpoint =
  | { readonly transport: 'socket'; readonly folder: string }
  | { readonly transport: 'tcp'; readonly port: number };

export const defaultTransport: Transport = process.platform === 'win32' ? 'tcp' : 'socket';

/** Part of the socket's name only: the folder is the cluster's own. It is what clients take where no port is named. */
const SOCKET_PORT = 5432;
/** The room for a path in `sockaddr_un`, less its final zero. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

export function socketFile(folder: string): string {
  return join(folder, `.s.PGSQL.${SOCKET_PORT}`);
}

/**
 * The cluster's own folder, which PostgreSQL keeps at 0700, or one of the temporary directory where that path is too long.
 * Its name follows from the password, so that it stays the same and nobody else can take it beforehand.
 * Errors: `EmbeddedPostgresError` when no path is short enough.
 */
export function socketFolder({ clusterDir }: ClusterPaths, password: string): string {
  const name = `orderflow-ingest-${createHmac('sha256', password).update(clusterDir).digest('hex').slice(0, 16)}`;
  const folder = [clusterDir, join(tmpdir(), name), join('/tmp', name)].find(fits);
  if (folder !== undefined) return folder;
  throw new EmbeddedPostgresError(
    `the path of the database's socket is longer than ${MAX_PATH_BYTES} bytes, in ${clusterDir} and in the temporary directory; set DATA_DIR or TMPDIR to a shorter one`,
  );
}

/** libpq takes a comma in it for the border between two hosts. */
function fits(folder: string): boolean {
  return Buffer.byteLength(socketFile(folder)) <= MAX_PATH_BYTES && !folder.includes(',');
}

/** Makes the folder for the account, unless it is the cluster's own. Errors: `EmbeddedPostgresError` when it is not ours. */
export async function prepareSocketFolder(folder: string, paths: ClusterPaths, { owner }: Account): Promise<void> {
  if (folder === paths.clusterDir) return;
  await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw error;
  });
  const own = process.getuid?.();
  const facts = await lstat(folder);
  // Left by a start as root that ended before it could hand it over.
  if (owner && facts.isDirectory() && facts.uid === own) await lchown(folder, owner.uid, owner.gid);
  await assertPrivate(folder, owner?.uid ?? own);
}

/** Errors: `EmbeddedPostgresError` when somebody else could put a socket there. */
export async function assertPrivate(folder: string, uid: number | undefined): Promise<void> {
  const facts = await lstat(folder);
  if (facts.isDirectory() && facts.uid === uid && (facts.mode & 0o022) === 0) return;
  throw new EmbeddedPostgresError(
    `${folder}, the folder of the database's socket, can be written by others; remove it, or set DATA_DIR to a shorter path`,
  );
}

export async function removeSocketFolder(folder: string, { clusterDir }: ClusterPaths): Promise<void> {
  if (folder !== clusterDir) await rmdir(folder).catch(() => {});
}

/** For the server's command line, over what its files say. */
export function serverArguments(endpoint: Endpoint): readonly string[] {
  const [port, ...settings] =
    endpoint.transport === 'socket'
      ? [SOCKET_PORT, 'listen_addresses=', `unix_socket_directories=${quoted(endpoint.folder)}`]
      : [endpoint.port, 'listen_addresses=127.0.0.1', 'unix_socket_directories='];
  return ['-p', `${port}`, ...[...settings, 'unix_socket_permissions=0700'].flatMap((setting) => ['-c', `${setting}`])];
}

/** An element of PostgreSQL's lists of folders. */
const quoted = (folder: string): string => `"${folder.replaceAll('"', '""')}"`;

export function addressOf(endpoint: Endpoint): { readonly host: string; readonly port: number } {
  return endpoint.transport === 'socket'
    ? { host: endpoint.folder, port: SOCKET_PORT }
    : { host: '127.0.0.1', port: endpoint.port };
}

/** As libpq and the driver read it. Before its `?` a URL without a host can hold neither user nor password. */
export function connectionStringOf(endpoint: Endpoint, password: string): string {
  if (endpoint.transport === 'tcp') return `postgresql://${USER}:${password}@127.0.0.1:${endpoint.port}/${DATABASE}`;
  return `postgresql:///${DATABASE}?host=${encodeURIComponent(endpoint.folder)}&user=${USER}&password=${password}`;
}
