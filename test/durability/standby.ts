/** A PostgreSQL and its physical standby, of the packages of Debian: the embedded one cannot make a base backup. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { appendFile, chmod, chown, copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { withClient } from './front-door.ts';

const DEBIAN = '/usr/lib/postgresql';
const DATABASE = 'orderflow';

export interface Replicated {
  readonly primary: Server;
  readonly standby: Server;
  /** Resolves when the standby has all that is committed on the primary. */
  caughtUp(): Promise<void>;
  /** No session of the primary writes any more, and none is ended; the standby takes its place. */
  failOver(): Promise<void>;
}

export interface Server {
  readonly url: string;
  readonly port: number;
}

/** null: it can be made here. */
export function whyNoStandby(): string | null {
  if (binaries() === undefined) return 'apt install postgresql-15';
  return null;
}

/** Folder of PostgreSQL's own programs, of the newest package. */
export function binaries(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map(Number) : [];
  const newest = Math.max(...versions.filter((version) => version >= 15));
  return Number.isFinite(newest) ? join(DEBIAN, String(newest), 'bin') : undefined;
}

export async function startReplicated(
  t: TestContext,
  o: { readonly tls?: { readonly certFile: string; readonly keyFile: string } } = {},
): Promise<Replicated> {
  const folder = await temporaryFolder(t);
  const run = await runner();
  const [first, second] = [join(folder, 'primary'), join(folder, 'standby')];
  for (const dataDir of [first, second]) await run.own(dataDir);
  await run('initdb', '-D', first, '-U', DATABASE, '-E', 'UTF8', '--locale', 'C', '-A', 'trust');
  if (o.tls !== undefined) await run.useTls(first, o.tls);
  const primary = await start(t, run, first);
  await withClient(primary.url.replace(/[^/]*$/, 'postgres'), (client) => client.query(`CREATE DATABASE ${DATABASE}`));
  await run('pg_basebackup', '-D', second, '-R', '-X', 'stream', '-c', 'fast', '-d', primary.url);
  const standby = await start(t, run, second);
  return {
    primary,
    standby,
    async caughtUp() {
      const written = await ask(primary.url, 'SELECT pg_current_wal_lsn()::text AS answer');
      await waitFor(
        async () =>
          (await ask(standby.url, `SELECT (pg_last_wal_replay_lsn() >= '${written}')::text AS answer`)) === 'true',
        { what: 'the standby to replay' },
      );
    },
    async failOver() {
      await fence(primary.url);
      await run('pg_ctl', 'promote', '-w', '-D', second);
    },
  };
}

/** A primary that answers a commit when its standby has it on disk: whatever becomes of it, nothing it said is lost. */
export interface SynchronousPair {
  readonly primaryUrl: string;
  /**
   * The standby takes the place of the primary, which is killed, or fenced and left running with all of its sessions. A new
   * standby is made behind it. Errors: rejects with what PostgreSQL's programs say.
   */
  failOver(how: 'killed' | 'fenced', moved: (url: string) => void): Promise<void>;
}

export async function startSynchronousPair(t: TestContext): Promise<SynchronousPair> {
  const folder = await temporaryFolder(t);
  const run = await runner();
  let made = 0;
  const newFolder = async (): Promise<string> => {
    const dataDir = join(folder, String(++made));
    await run.own(dataDir);
    return dataDir;
  };
  const addStandby = async (behind: Server): Promise<{ dataDir: string; server: Server }> => {
    const dataDir = await newFolder();
    await run('pg_basebackup', '-D', dataDir, '-R', '-X', 'stream', '-c', 'fast', '-d', behind.url);
    // What the primary has in its own file came along: the standby waits for nobody.
    const server = await start(t, run, dataDir, "synchronous_standby_names = ''");
    await ask(behind.url, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    await ask(behind.url, 'SELECT pg_reload_conf()::text AS answer');
    const synchronous = `SELECT sync_state AS answer FROM pg_stat_replication WHERE sync_state = 'sync'`;
    await waitFor(async () => (await ask(behind.url, synchronous)) === 'sync', { what: 'the standby to keep up' });
    return { dataDir, server };
  };

  const dataDir = await newFolder();
  await run('initdb', '-D', dataDir, '-U', DATABASE, '-E', 'UTF8', '--locale', 'C', '-A', 'trust');
  let primary = { dataDir, server: await start(t, run, dataDir) };
  const anyDatabase = primary.server.url.replace(/[^/]*$/, 'postgres');
  await withClient(anyDatabase, (client) => client.query(`CREATE DATABASE ${DATABASE}`));
  let standby = await addStandby(primary.server);
  return {
    get primaryUrl() {
      return primary.server.url;
    },
    async failOver(how, moved) {
      const old = primary;
      const stop = (mode: 'immediate') => run('pg_ctl', 'stop', '-m', mode, '-D', old.dataDir);
      if (how === 'killed') await stop('immediate');
      else await fence(old.server.url);
      await run('pg_ctl', 'promote', '-w', '-D', standby.dataDir);
      primary = standby;
      moved(primary.server.url);
      standby = await addStandby(primary.server);
      if (how === 'fenced') await stop('immediate');
    },
  };
}

async function fence(url: string): Promise<void> {
  await ask(url, 'ALTER SYSTEM SET default_transaction_read_only = on');
  await ask(url, 'SELECT pg_reload_conf()::text AS answer');
  // Asked of a new session: once its server has read the file, it has told the old ones too. A fence that comes after
  // the promotion would let the old primary take a mail that the new one never sees.
  await waitFor(
    async () => (await ask(url, `SELECT current_setting('default_transaction_read_only') AS answer`)) === 'on',
    { what: 'the fence' },
  );
}

async function ask(url: string, sql: string): Promise<string | undefined> {
  return withClient(url, async (client) => (await client.query<{ answer: string }>(sql)).rows[0]?.answer);
}

interface Run {
  (program: string, ...args: readonly string[]): Promise<void>;
  /** Makes a folder that the server may use. */
  own(folder: string): Promise<void>;
  useTls(dataDir: string, files: { readonly certFile: string; readonly keyFile: string }): Promise<void>;
}

/** PostgreSQL refuses to run as root. */
async function runner(): Promise<Run> {
  const programs = binaries() ?? '';
  const account = process.getuid?.() === 0 ? await accountOfPostgres() : null;
  const run = async (program: string, ...args: readonly string[]): Promise<void> => {
    const options = { ...account, cwd: '/', env: { ...bareEnvironment(), LC_ALL: 'C' } };
    await promisify(execFile)(join(programs, program), [...args], options);
  };
  const own = async (folder: string): Promise<void> => {
    await mkdir(folder);
    await chmod(folder, 0o700);
    if (account !== null) await chown(folder, account.uid, account.gid);
  };
  const useTls: Run['useTls'] = async (dataDir, { certFile, keyFile }) => {
    for (const [from, name] of [
      [certFile, 'server.crt'],
      [keyFile, 'server.key'],
    ] as const) {
      const copy = join(dataDir, name);
      await copyFile(from, copy);
      await chmod(copy, 0o600);
      if (account !== null) await chown(copy, account.uid, account.gid);
    }
    // It asks clients for a certificate of the same authority, and takes those that have none.
    await appendFile(join(dataDir, 'postgresql.auto.conf'), "ssl = on\nssl_ca_file = 'server.crt'\n");
  };
  return Object.assign(run, { own, useTls });
}

async function accountOfPostgres(): Promise<{ readonly uid: number; readonly gid: number }> {
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((one) => one.startsWith('postgres:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

/** The last of several lines for one setting counts. */
async function start(t: TestContext, run: Run, dataDir: string, more = ''): Promise<Server> {
  const port = await freePort();
  const settings = `port = ${port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nhot_standby = on\n`;
  await appendFile(join(dataDir, 'postgresql.auto.conf'), `${settings}${more}\n`);
  await run('pg_ctl', 'start', '-w', '-D', dataDir, '-l', join(dataDir, 'server.log'));
  // It may have been stopped before.
  cleanUp(t, () => run('pg_ctl', 'stop', '-m', 'immediate', '-D', dataDir).catch(() => {}));
  return { port, url: `postgresql://${DATABASE}@127.0.0.1:${port}/${DATABASE}` };
}
