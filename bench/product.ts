/** The product as an operator runs it: a process of its own on its embedded parts, its log in a file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { embeddedUrl } from '../src/testing/embedded-url.ts';
import { bareEnvironment } from '../src/testing/environment.ts';
import { freePort } from '../src/testing/free-port.ts';
import { waitFor } from '../src/testing/wait-for.ts';

const PROGRAM = fileURLToPath(new URL('../bin/orderflow-ingest.cjs', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 120_000;

export interface ProductOptions {
  /** Made when missing; a second product in the same one continues with its database and files. */
  readonly dataDir: string;
  /** As for `start --roles`; null: all. */
  readonly roles: string | null;
  readonly processes: number;
  /** Settings beside those every run has. */
  readonly env: Readonly<Record<string, string>>;
  /** Where a CPU profile of each of its processes is written when it stops. */
  readonly cpuProfileDir: string | null;
}

export interface Product {
  readonly smtpPort: number;
  readonly databaseUrl: string;
  /** Its own process and that of its PostgreSQL; everything else descends from these. */
  readonly rootPids: readonly number[];
  /** SIGTERM, its database too. Safe to call twice. Errors: rejects when it does not end with 0. */
  stop(): Promise<void>;
}

export async function startProduct(options: ProductOptions): Promise<Product> {
  const { dataDir, env } = options;
  await mkdir(dataDir, { recursive: true });
  await chmod(dataDir, 0o711); // As root, its PostgreSQL runs as another user, who has to get through.
  const [smtpPort, httpPort] = [await freePort(), await freePort()];
  const child = await launch(options, { smtpPort, httpPort });
  const stderr = collect(child);
  const told = (): string => `${stderr()}\n${tail(logFile(dataDir))}`;
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= end(child, told);
    return stopped;
  };
  try {
    const databaseUrl = await waitFor(
      async () => {
        if (hasEnded(child)) return 'ended';
        return stderr().includes('Ctrl-C stops it') && (env.DATABASE_URL ?? (await embeddedUrl(dataDir)));
      },
      { timeoutMs: START_TIMEOUT_MS, what: 'the product to start' },
    );
    if (databaseUrl === 'ended') throw new Error('it ended');
    return { smtpPort, databaseUrl, rootPids: [child.pid ?? 0, await postmasterPid(dataDir)], stop };
  } catch (error) {
    if (!hasEnded(child)) await stop().catch(() => {});
    throw new Error(`the product does not start\n${told()}`, { cause: error });
  }
}

const logFile = (dataDir: string): string => join(dataDir, 'product.log');

async function launch(
  { dataDir, roles, processes, env, cpuProfileDir }: ProductOptions,
  { smtpPort, httpPort }: { readonly smtpPort: number; readonly httpPort: number },
): Promise<ChildProcess> {
  const profile = cpuProfileDir === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${cpuProfileDir}`];
  const args = [
    ...(roles === null ? [] : ['--roles', roles]),
    // It is how many take mail; a worker alone takes none.
    ...(processes > 1 && roles !== 'worker' ? ['--processes', `${processes}`] : []),
  ];
  // A file, as a service manager gives it; a pipe would have to be emptied by the process that measures.
  const log = await open(logFile(dataDir), 'a');
  try {
    return spawn(process.execPath, [...profile, PROGRAM, 'start', ...args], {
      cwd: dataDir, // No .env file of the developer's here.
      env: {
        ...bareEnvironment(),
        DATA_DIR: dataDir,
        LOG_FORMAT: 'json',
        SMTP_PORT: String(smtpPort),
        HTTP_PORT: String(httpPort),
        // All senders of the bench come from one.
        SMTP_MAX_CONNECTIONS_PER_ADDRESS: '1000',
        ...env,
      },
      detached: true, // Ctrl-C is for the bench, which then stops it.
      stdio: ['ignore', log.fd, 'pipe'],
    });
  } finally {
    await log.close();
  }
}

async function postmasterPid(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, 'postgres', 'data', 'postmaster.pid'), 'utf8');
  return Number.parseInt(text, 10);
}

async function end(child: ChildProcess, told: () => string): Promise<void> {
  if (!hasEnded(child)) {
    child.kill('SIGTERM');
    const impatient = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await once(child, 'exit');
    clearTimeout(impatient);
  }
  if (child.exitCode !== 0) throw new Error(`the product ended with ${child.exitCode ?? child.signalCode}\n${told()}`);
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

function collect(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  return () => text;
}

const TOLD_CHARACTERS = 4_000;

function tail(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-TOLD_CHARACTERS);
  } catch {
    return '';
  }
}
