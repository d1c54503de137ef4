/** A PostgreSQL with fsync on that is killed, stopped dead and started by the test, and by nobody else. */
import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import { chooseAccount } from '../../src/adapters/embedded-postgres/account.ts';
import { locateBinaries } from '../../src/adapters/embedded-postgres/binaries.ts';
import { type ClusterPaths, clusterPaths, DATABASE } from '../../src/adapters/embedded-postgres/cluster.ts';
import { openEmbeddedPostgres } from '../../src/adapters/embedded-postgres/embedded-postgres.ts';
import { findPostmaster, startPostmaster } from '../../src/adapters/embedded-postgres/postmaster.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { withClient } from './front-door.ts';

export interface OwnPostgres {
  readonly url: string;
  /** As the embedded one would have it. */
  readonly dataDir: string;
  /** The postmaster first, then all its children. */
  processes(): Promise<readonly number[]>;
  /** kill -9 of all of them; resolves when they are gone. */
  kill(): Promise<void>;
  /** Resolves when it answers. */
  start(): Promise<void>;
  /** SIGSTOP to all of them. */
  suspend(): Promise<void>;
  resume(): Promise<void>;
}

export interface OwnPostgresOptions {
  /** `name=value`. */
  readonly settings?: readonly string[];
  /** Done once in our database, before it starts. */
  readonly asSuperuser?: string;
}

export async function openOwnPostgres(
  t: TestContext,
  { settings = [], asSuperuser }: OwnPostgresOptions = {},
): Promise<OwnPostgres> {
  const dataDir = await temporaryFolder(t);
  const first = await openEmbeddedPostgres({ dataDir, log: pino({ level: 'silent' }), transport: 'tcp' });
  await first.stop();
  const url = first.connectionString;
  const paths = clusterPaths(dataDir);
  const binaries = await locateBinaries(paths.homeDir);
  if (asSuperuser !== undefined) await inSingleUserMode(paths, binaries.postgres, asSuperuser);

  const processes = async (): Promise<readonly number[]> => {
    const postmaster = await findPostmaster(paths);
    return postmaster === null ? [] : withChildren(postmaster.pid);
  };
  const kill = async (): Promise<void> => {
    const pids = await processes();
    for (const pid of pids) signal(pid, 'SIGKILL');
    await waitFor(async () => (await processes()).length === 0 && !(await anyAlive(pids)), {
      what: 'the end of PostgreSQL',
    });
  };
  const own: OwnPostgres = {
    url,
    dataDir,
    processes,
    kill,
    async start() {
      const endpoint = { transport: 'tcp', port: Number(new URL(url).port) } as const;
      await startPostmaster({ paths, binaries, endpoint, settings });
      await waitFor(() => withClient(url, async () => true), { timeoutMs: 30_000, what: 'PostgreSQL to answer' });
    },
    async suspend() {
      for (const pid of await processes()) signal(pid, 'SIGSTOP');
      // Those forked meanwhile.
      for (const pid of await processes()) signal(pid, 'SIGSTOP');
    },
    async resume() {
      for (const pid of await processes()) signal(pid, 'SIGCONT');
    },
  };
  cleanUp(t, async () => {
    await own.resume();
    await kill();
  });
  await own.start();
  return own;
}

async function inSingleUserMode(paths: ClusterPaths, postgres: string, statement: string): Promise<void> {
  const account = await chooseAccount({ ...paths, postgres });
  const args = ['--single', '-c', 'exit_on_error=on', '-D', paths.clusterDir, DATABASE];
  const { file, args: launched, options } = account.launch(postgres, args);
  execFileSync(file, launched, { ...options, cwd: '/', input: `${statement}\n`, stdio: ['pipe', 'ignore', 'pipe'] });
}

/** The process and all below it. Linux only. */
export async function withChildren(pid: number): Promise<readonly number[]> {
  const found = [pid];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(parent) === pid && state !== 'Z') found.push(Number(name));
  }
  return found;
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself.
  }
}

async function anyAlive(pids: readonly number[]): Promise<boolean> {
  for (const pid of pids) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    if (state !== '' && state !== 'Z' && state !== 'X') return true;
  }
  return false;
}
