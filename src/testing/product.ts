/** The product as an operator runs it: a process of its own, known only by its ports, its output and its exit code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { openEmbeddedPostgres } from '../adapters/embedded-postgres/embedded-postgres.ts';
import { loadSettings } from '../config/load.ts';
import { cleanUp } from './clean-up.ts';
import { embeddedUrl } from './embedded-url.ts';
import { bareEnvironment } from './environment.ts';
import { freePort } from './free-port.ts';
import { waitFor } from './wait-for.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

export interface ProductOptions {
  /** Settings; nothing of the developer's own environment is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** The embedded database and the object files live here, also after `stop`. */
  readonly dataDir: string;
  /** After `start`. */
  readonly args?: readonly string[];
  /** Another installation than this clone: its launcher, started as the shell does. */
  readonly program?: string;
  /** How long until it is ready. */
  readonly startTimeoutMs?: number;
  /** Default: ours. */
  readonly account?: { readonly uid: number; readonly gid: number };
}

export type LogLine = Readonly<Record<string, unknown>>;

export interface Product {
  readonly smtpPort: number;
  readonly httpUrl: string;
  /** As it was at the start. */
  readonly databaseUrl: string;
  readonly pid: number;
  /** The JSON lines of stdout so far. */
  readonly log: readonly LogLine[];
  /** What stdout carried besides JSON: nothing, if all is well. */
  readonly strayOutput: readonly string[];
  stderr(): string;
  /** SIGTERM. Errors: rejects unless it ends with exit code 0 in time. */
  stop(): Promise<void>;
  /** SIGKILL to all of its processes; the embedded database lives on, as after a crash. */
  kill(): Promise<void>;
}

/** Resolves when /readyz says yes. After the test everything of it is stopped, the embedded database too. */
export async function startProduct(t: TestContext, options: ProductOptions): Promise<Product> {
  const env = await environmentFor(options);
  const [file, ...first] = options.program === undefined ? [process.execPath, PROGRAM] : [options.program];
  const child = spawn(file ?? '', [...first, 'start', ...(options.args ?? [])], {
    ...options.account,
    cwd: options.dataDir, // No .env file of the developer's here.
    env: { ...bareEnvironment(), ...env },
    detached: true, // A process group of its own, which can be killed whole.
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collectOutput(child);
  cleanUp(t, () => sweep(child, options.dataDir));
  stopWithUs(child);
  const httpUrl = `http://127.0.0.1:${env.HTTP_PORT}`;
  await ready(child, httpUrl, output, options.startTimeoutMs);
  const loaded = loadSettings({ env, cwd: options.dataDir });
  const databaseUrl =
    ('settings' in loaded ? loaded.settings.databaseUrl : null) ??
    (await waitFor(() => embeddedUrl(options.dataDir), { what: 'the embedded database' }));
  return {
    smtpPort: Number(env.SMTP_PORT),
    httpUrl,
    databaseUrl,
    pid: child.pid ?? 0,
    log: output.log,
    strayOutput: output.stray,
    stderr: output.stderr,
    stop: () => stop(child, output),
    kill: async () => {
      signalGroup(child, 'SIGKILL');
      await ended(child);
    },
  };
}

async function environmentFor({ env, dataDir }: ProductOptions): Promise<Record<string, string>> {
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const ports = { SMTP_PORT: String(smtpPort), HTTP_PORT: String(httpPort) };
  return { DATA_DIR: dataDir, LOG_FORMAT: 'json', LOG_LEVEL: 'debug', ...ports, ...env };
}

interface Output {
  readonly log: readonly LogLine[];
  readonly stray: readonly string[];
  stderr(): string;
}

function collectOutput(child: ChildProcess): Output {
  const log: LogLine[] = [];
  const stray: string[] = [];
  let stderr = '';
  if (!child.stdout || !child.stderr) throw new Error('the product was started without pipes');
  createInterface({ input: child.stdout }).on('line', (line) => {
    try {
      log.push(JSON.parse(line));
    } catch {
      stray.push(line);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return { log, stray, stderr: () => stderr };
}

async function ready(
  child: ChildProcess,
  httpUrl: string,
  output: Output,
  timeoutMs = START_TIMEOUT_MS,
): Promise<void> {
  const answered = waitFor(
    async () => {
      if (hasEnded(child)) return true;
      return (await fetch(`${httpUrl}/readyz`, { signal: AbortSignal.timeout(5000) })).ok;
    },
    { timeoutMs, what: `${httpUrl}/readyz` },
  );
  await answered.catch((error: unknown) =>
    Promise.reject(new Error(`the product is not ready\n${told(output)}`, { cause: error })),
  );
  if (hasEnded(child)) throw new Error(`the product ended with ${child.exitCode ?? child.signalCode}\n${told(output)}`);
}

async function stop(child: ChildProcess, output: Output): Promise<void> {
  child.kill('SIGTERM');
  await ended(child).catch((error: unknown) =>
    Promise.reject(new Error(`SIGTERM does not end the product\n${told(output)}`, { cause: error })),
  );
  if (child.exitCode !== 0)
    throw new Error(`the product ended with ${child.exitCode ?? child.signalCode}\n${told(output)}`);
}

/** What helps to see why it failed: stderr and the end of the log. */
function told(output: Output): string {
  const lines = output.log.slice(-20).map((line) => JSON.stringify(line));
  return [output.stderr(), ...lines, ...output.stray.slice(-20)].join('\n');
}

async function ended(child: ChildProcess): Promise<void> {
  await waitFor(() => hasEnded(child), { timeoutMs: STOP_TIMEOUT_MS, what: `the end of process ${child.pid}` });
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Ends what is left of it. A database left by `kill` is joined and left again, which stops it. */
async function sweep(child: ChildProcess, dataDir: string): Promise<void> {
  if (!hasEnded(child)) {
    signalGroup(child, 'SIGTERM');
    await ended(child).catch(() => {});
  }
  signalGroup(child, 'SIGKILL');
  if (!existsSync(join(dataDir, 'postgres', 'data', 'postmaster.pid'))) return;
  const left = await openEmbeddedPostgres({ dataDir, log: pino({ level: 'silent' }) });
  await left.stop();
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid) process.kill(-pid, signal);
  } catch {
    // Nobody is left to hear it.
  }
}

const running = new Set<ChildProcess>();
let watching = false;

/** A test file that is interrupted must not leave the product running. */
function stopWithUs(child: ChildProcess): void {
  running.add(child);
  child.once('exit', () => running.delete(child));
  if (watching) return;
  watching = true;
  process.once('exit', () => {
    for (const each of running) signalGroup(each, 'SIGTERM');
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
}
