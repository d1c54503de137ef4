/**
 * The files of the embedded cluster.
 *
 * Shape: `{dataDir}/postgres/data` is PostgreSQL's own folder, of the account that it runs as. Beside it stand what we keep:
 * `orderflow.password`, `pg_hba.conf`, the server's `postgres.log` and, on TCP, `orderflow.port`. Root writes nothing into a
 * folder of that account, which could have put a link there.
 * A new cluster is made under a passing name and renamed when it is whole: a crash in the middle, or two processes
 * at once, cannot leave a half one.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, type FileHandle, lstat, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Account, chooseAccount, handOver, type Launch } from './account.ts';
import type { PostgresBinaries } from './binaries.ts';
import { codeOf, EmbeddedPostgresError, messageOf } from './error.ts';
import { createOwnFile, openOwnLog, readOwnFile, replaceOwnFile } from './own-files.ts';

export const DATABASE = 'orderflow';
export const USER = 'orderflow';
const DRAFT_PREFIX = 'data.new-';
const MAX_LOG_BYTES = 16 * 1024 * 1024;

export interface ClusterPaths {
  readonly homeDir: string;
  readonly clusterDir: string;
  readonly logFile: string;
  readonly passwordFile: string;
  readonly accessFile: string;
  readonly portFile: string;
}

export function clusterPaths(dataDir: string): ClusterPaths {
  const homeDir = join(dataDir, 'postgres');
  return {
    homeDir,
    clusterDir: join(homeDir, 'data'),
    logFile: join(homeDir, 'postgres.log'),
    passwordFile: join(homeDir, 'orderflow.password'),
    accessFile: join(homeDir, 'pg_hba.conf'),
    portFile: join(homeDir, 'orderflow.port'),
  };
}

/** Settings of a new cluster, in its own postgresql.conf, where the operator may change them. */
const SETTINGS: readonly string[] = [
  // Where it listens is said at each start (endpoint.ts); started by hand, nobody gets in.
  'listen_addresses=',
  'unix_socket_directories=',
  'max_connections=100',
  'shared_buffers=128MB',
  // Parallel queries need /dev/shm, of which a container has 64 MB, and pay only on tables larger than ours.
  'max_parallel_workers_per_gather=0',
  'jit=off',
  'log_checkpoints=off',
  'log_line_prefix=%m [%p] ',
  // No statement and no DETAIL: both would carry subjects and addresses of mails into the log.
  'log_min_error_statement=panic',
  'log_error_verbosity=terse',
];

/** Who may connect, and how. The line of TCP is idle where the server listens on a socket. */
const ACCESS = 'local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n';

/** Makes the folder around the cluster; the account that root drops to has to get through it. */
export async function prepareHome({ homeDir, accessFile }: ClusterPaths): Promise<void> {
  await mkdir(homeDir, { recursive: true });
  if (process.getuid?.() === 0) await chmod(homeDir, 0o711);
  if ((await readOwnFile(accessFile)) === null) await createOwnFile(accessFile, ACCESS, 0o644);
}

export async function clusterExists({ clusterDir }: ClusterPaths): Promise<boolean> {
  return stat(join(clusterDir, 'PG_VERSION')).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === 'ENOENT') return false;
      throw unreadable(clusterDir, error);
    },
  );
}

/** Errors: `EmbeddedPostgresError` when the cluster is of another major version than the programs. */
export async function checkVersion({ clusterDir }: ClusterPaths, binaries: PostgresBinaries): Promise<void> {
  const version = ((await readOwnFile(join(clusterDir, 'PG_VERSION'))) ?? '').trim();
  if (version === binaries.majorVersion) return;
  throw new EmbeddedPostgresError(
    `the cluster in ${clusterDir} was made by PostgreSQL ${version}, this release carries ${binaries.majorVersion}; dump it with the release that made it and load it into a new DATA_DIR`,
  );
}

export interface CreateOptions {
  readonly paths: ClusterPaths;
  readonly binaries: PostgresBinaries;
  /** Of our user. */
  readonly password: string;
  /** false: no fsync while creating (a throw-away cluster). */
  readonly durable: boolean;
}

/** Makes the cluster with its user and database; does nothing when another process was first. */
export async function createCluster(o: CreateOptions): Promise<void> {
  const { paths, binaries } = o;
  const account = await chooseAccount({ ...paths, postgres: binaries.postgres });
  const draft = join(paths.homeDir, `${DRAFT_PREFIX}${process.pid}-${randomBytes(4).toString('hex')}`);
  try {
    await mkdir(draft, { mode: 0o700 });
    await handOver(draft, account);
    await fillDraft(draft, account, o);
    await publish(draft, paths);
  } finally {
    await removeDraft(draft, account);
  }
}

async function fillDraft(draft: string, account: Account, o: CreateOptions): Promise<void> {
  const { binaries, password, durable } = o;
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const settings = SETTINGS.flatMap((setting) => ['-c', setting]);
  const sync = durable ? [] : ['--no-sync'];
  // By its own pg_hba.conf nobody may connect; ours counts, and by that the superuser, who has no password, cannot.
  const options = ['-U', 'postgres', '-A', 'reject', '--data-checksums', '--no-instructions', ...locale, ...sync];
  await run(account.launch(binaries.initdb, ['-D', draft, ...options, ...settings]));
  const single = ['--single', '-D', draft, '-c', 'exit_on_error=on', ...(durable ? [] : ['-c', 'fsync=off'])];
  await run(
    account.launch(binaries.postgres, [...single, 'postgres']),
    `CREATE ROLE ${USER} LOGIN CREATEDB CREATEROLE PASSWORD '${password}'\nCREATE DATABASE ${DATABASE} OWNER ${USER}\n`,
  );
  if (durable) await syncFolder(draft);
}

async function publish(draft: string, { homeDir, clusterDir }: ClusterPaths): Promise<void> {
  await rename(draft, clusterDir).catch((error: unknown) => {
    if (!['EEXIST', 'ENOTEMPTY'].includes(codeOf(error) ?? '')) throw error;
  });
  await syncFolder(homeDir);
}

async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return; // Windows cannot.
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

/**
 * Removes what a process that was killed in the middle of `createCluster` left behind. Its initdb may still be
 * writing there; then it is the next start's turn.
 */
export async function removeDeadDrafts({ homeDir, ...paths }: ClusterPaths, binaries: PostgresBinaries): Promise<void> {
  for (const name of await readdir(homeDir)) {
    if (!name.startsWith(DRAFT_PREFIX)) continue;
    const pid = Number(name.slice(DRAFT_PREFIX.length).split('-')[0]);
    if (exists(pid)) continue;
    const account = await chooseAccount({ ...paths, homeDir, postgres: binaries.postgres });
    await removeDraft(join(homeDir, name), account).catch(() => {});
  }
}

/** In a folder of another account, that account removes: it could change a folder for a link while root goes through it. */
async function removeDraft(draft: string, account: Account): Promise<void> {
  const facts = await lstat(draft).catch(() => null);
  if (facts === null) return;
  if (process.getuid?.() !== 0 || facts.uid === 0) return await rm(draft, { recursive: true, force: true });
  // All but the folder itself, which lies in one that is not its own.
  await run(account.launch('/bin/rm', ['-rf', '--', draft])).catch(() => {});
  await rmdir(draft);
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

/**
 * The password of our user, made before the cluster is. The release before kept it inside the cluster's folder; from there it
 * is copied once, and stays for the way back.
 * Errors: `EmbeddedPostgresError` when there is a cluster and no password.
 */
export async function ensurePassword(paths: ClusterPaths): Promise<string> {
  const { passwordFile, clusterDir } = paths;
  try {
    const known = await readOwnFile(passwordFile);
    if (known !== null) return known.trim();
    const earlier = await readOwnFile(join(clusterDir, 'orderflow.password'));
    if (earlier === null && (await clusterExists(paths))) {
      throw new EmbeddedPostgresError(`${passwordFile} is missing; restore it from a backup`);
    }
    const password = earlier?.trim() ?? randomBytes(24).toString('hex');
    if (await createOwnFile(passwordFile, `${password}\n`, 0o600)) return password;
    return await ensurePassword(paths); // Another process was first.
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error;
    throw unreadable(clusterDir, error);
  }
}

function unreadable(clusterDir: string, error: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `cannot read the database folder ${clusterDir} (${messageOf(error)}); run as the user who started it first, or set DATA_DIR to a folder of your own`,
    { cause: error },
  );
}

/** The port of the last start, to be kept when it is free; null for a new cluster. */
export async function readPort({ portFile }: ClusterPaths): Promise<number | null> {
  return Number.parseInt((await readOwnFile(portFile)) ?? '', 10) || null;
}

export async function keepPort(paths: ClusterPaths, port: number): Promise<void> {
  if ((await readPort(paths)) !== port) await replaceOwnFile(paths.portFile, `${port}\n`, 0o644);
}

/** Opens the server's log for appending; one old one is kept. */
export async function openLog({ logFile }: ClusterPaths): Promise<FileHandle> {
  const size = await stat(logFile).then(
    (facts) => facts.size,
    () => 0,
  );
  if (size > MAX_LOG_BYTES) await rename(logFile, `${logFile}.1`);
  return openOwnLog(logFile);
}

/** Errors: an `Error` with the last lines the program wrote. */
async function run({ file, args, options }: Launch, input = ''): Promise<void> {
  const child = spawn(file, args, { ...options, cwd: '/', stdio: ['pipe', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4096);
  });
  child.stdin.on('error', () => {}); // A program that ends early says why on stderr.
  child.stdin.end(input);
  const code = await new Promise<number | string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(status ?? signal));
  });
  if (code !== 0) throw new Error(complaintIn(errors) || `${file} ended with ${code}`);
}

/** For an error message: what a program complained of first, with the line before it, or else what it wrote last. */
export function complaintIn(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.replace(/^\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] /, '').trim())
    .filter((line) => line !== '');
  const first = lines.findIndex((line) => /FATAL|PANIC|error:|could not/i.test(line));
  const start = first < 0 ? -3 : Math.max(0, first - 1);
  return lines.slice(start).slice(0, 3).join(' | ');
}
