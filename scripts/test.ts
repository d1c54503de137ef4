/**
 * `npm test [-- FILE… | OPTION…]`: starts one throw-away PostgreSQL, migrates it, runs the test files against it with
 * Node's test runner, stops it, and ends with the runner's exit code. What comes after `--` goes to the runner.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob } from 'node:fs/promises';
import { availableParallelism, constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startTestCluster } from '../src/testing/cluster.ts';
import { testEnvironment } from '../src/testing/environment.ts';

const DEFAULT_FILES = ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'bench/**/*.test.ts', 'test/**/*.test.ts'];
/** Longer than any test takes on a slow machine; a hanging one must not hang CI. */
const TEST_TIMEOUT_MS = 300_000;
const OLDEST_NODE = 24;
/** For what a test's processes still have to write when the runner has ended. */
const GRACE_MS = 3000;

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
    return complain(`the tests need Node ${OLDEST_NODE} or newer, this is ${process.version}; run them with npm test`);
  }
  const { options, patterns } = divide(args);
  const files = await Array.fromAsync(glob(patterns.length > 0 ? patterns : DEFAULT_FILES));
  if (files.length === 0) return complain(`no test file matches ${patterns.join(' ') || DEFAULT_FILES.join(' ')}`);
  const cluster = await startTestCluster();
  try {
    const runner = startRunner(files.sort(), options, cluster.templateUrl);
    return await ended(runner);
  } finally {
    await cluster.close();
  }
}

/** Options of the runner, with their values, apart from file patterns. */
function divide(args: readonly string[]): { options: readonly string[]; patterns: readonly string[] } {
  const options: string[] = [];
  const patterns: string[] = [];
  const withValue = /^--(test-(name-pattern|skip-pattern|reporter|reporter-destination|timeout|concurrency|shard))$/;
  for (const [index, arg] of args.entries()) {
    const isValue = withValue.test(args[index - 1] ?? '');
    (isValue || arg.startsWith('-') ? options : patterns).push(arg);
  }
  return { options, patterns };
}

/** In a process group of its own, so that a test's forgotten children are found afterwards. */
function startRunner(files: readonly string[], options: readonly string[], templateUrl: string): ChildProcess {
  const reporter = options.some((option) => option.startsWith('--test-reporter')) ? [] : ['--test-reporter=spec'];
  const limits = [`--test-concurrency=${Math.max(2, availableParallelism())}`, `--test-timeout=${TEST_TIMEOUT_MS}`];
  return spawn(process.execPath, ['--test', ...reporter, ...limits, ...options, ...files], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: testEnvironment(templateUrl),
  });
}

/** Passes signals on and resolves with the runner's exit code once it and all it started are gone. */
async function ended(runner: ChildProcess): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => signalGroup(runner, signal));
  const [code, signal]: [number | null, NodeJS.Signals | null] = (await once(runner, 'exit')) as never;
  const left = await leftBehind(runner);
  if (left) complain('a test left processes running; they were stopped');
  if (signal) return 128 + constants.signals[signal];
  return code || (left ? 1 : 0);
}

/** Whether processes of the runner's group outlived it; they get a moment, then a SIGTERM, then a SIGKILL. */
async function leftBehind(runner: ChildProcess): Promise<boolean> {
  if (await groupEnds(runner)) return false;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    signalGroup(runner, signal);
    if (await groupEnds(runner)) break;
  }
  return true;
}

async function groupEnds(runner: ChildProcess): Promise<boolean> {
  const deadline = performance.now() + GRACE_MS;
  while (signalGroup(runner, 0)) {
    if (performance.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

/** false when no process of the group is left. */
function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  try {
    return pid !== undefined && process.kill(-pid, signal);
  } catch {
    return false;
  }
}

function complain(text: string): number {
  console.error(`npm test: ${text}`);
  return 1;
}
