/** A real Redis of the test's own, which it may stop, freeze and start again. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { cleanUp } from './clean-up.ts';
import { freePort } from './free-port.ts';
import { missing } from './missing.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

export interface TestRedis {
  readonly port: number;
  readonly url: string;
  /** Resolves when it takes connections; what it held is there again. */
  start(): Promise<void>;
  /** In order, its data on disk. */
  stop(): Promise<void>;
  /** SIGKILL; what it had told others of is in its append-only file. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay, nobody answers. */
  freeze(): void;
  thaw(): void;
}

export interface TestRedisOptions {
  /** Arguments of redis-server, such as `--requirepass`. Later ones win over ours. */
  readonly args?: readonly string[];
  /** Not started yet. */
  readonly stopped?: boolean;
}

/** Shape: null when there is no redis-server on this machine; the test is then skipped, and should return. */
export async function startTestRedis(t: TestContext, options: TestRedisOptions = {}): Promise<TestRedis | null> {
  if (!(await installed())) {
    missing(t, 'redis-server', 'apt install redis-server');
    return null;
  }
  const dir = await temporaryFolder(t);
  const port = await freePort();
  const redis = createTestRedis({
    dir,
    port,
    command: [...argumentsFor({ dir, port }), ...(options.args ?? [])],
    ready: 'Ready to accept connections',
  });
  cleanUp(t, () => redis.kill());
  if (options.stopped !== true) await redis.start();
  return redis;
}

/** A Sentinel that watches this server. */
export async function startTestSentinel(t: TestContext, watched: TestRedis): Promise<TestRedis> {
  const dir = await temporaryFolder(t);
  const port = await freePort();
  const file = join(dir, 'sentinel.conf');
  await writeFile(
    file,
    `port ${port}\nbind 127.0.0.1\ndir ${dir}\nsentinel monitor jobs 127.0.0.1 ${watched.port} 1\n`,
  );
  const sentinel = createTestRedis({ dir, port, command: [file, '--sentinel'], ready: '+monitor master' });
  cleanUp(t, () => sentinel.kill());
  await sentinel.start();
  return sentinel;
}

async function installed(): Promise<boolean> {
  return promisify(execFile)('redis-server', ['--version']).then(
    () => true,
    () => false,
  );
}

function createTestRedis(o: {
  readonly dir: string;
  readonly port: number;
  /** Arguments of redis-server. */
  readonly command: readonly string[];
  /** What it says then. */
  readonly ready: string;
}): TestRedis {
  let child: ChildProcess | undefined;
  const ended = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    child.kill('SIGCONT');
    await exit;
  };
  return {
    port: o.port,
    url: `redis://127.0.0.1:${o.port}`,
    async start() {
      child = spawn('redis-server', o.command, { cwd: o.dir, stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream?.setEncoding('utf8').on('data', (text: string) => {
          said += text;
        });
      }
      const ready = (): boolean => said.includes(o.ready);
      await waitFor(() => ready() || child?.exitCode !== null, { what: 'redis-server' });
      if (!ready()) throw new Error(`redis-server ended:\n${said}`);
    },
    stop: () => ended('SIGTERM'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    kill: () => ended('SIGKILL'),
  };
}

function argumentsFor({ dir, port }: { dir: string; port: number }): readonly string[] {
  const plain = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no', '--logfile', ''];
  return [
    ...plain,
    '--appendonly',
    'yes',
    '--appendfsync',
    'everysec',
    '--save',
    '',
    '--maxmemory-policy',
    'noeviction',
  ];
}

/** A client for looking at what is there; gone after the test. */
export function redisClient(t: TestContext, url: string): Redis {
  const client = new Redis(url, { maxRetriesPerRequest: 1 });
  client.on('error', () => {});
  cleanUp(t, () => client.disconnect());
  return client;
}
