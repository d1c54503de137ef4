/** The program as a process of its own, through bin/. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { bareEnvironment } from '../testing/environment.ts';
import { freePort } from '../testing/free-port.ts';
import { missing } from '../testing/missing.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';

const launcher = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));

interface Launch {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A CommonJS script that runs before the launcher, in its process only. */
  readonly before?: string;
}

async function launch(t: TestContext, options: Launch) {
  const folder = await temporaryFolder(t);
  const preload = join(folder, 'before.cjs');
  await writeFile(preload, options.before ?? '');
  const child = spawn(process.execPath, ['--require', preload, launcher, ...options.args], {
    cwd: options.cwd ?? folder,
    env: { ...bareEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  cleanUp(t, () => void child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }));
  return { child, ended };
}

const run = async (t: TestContext, options: Launch) => await (await launch(t, options)).ended;

const pretendOldNode =
  "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.19.0' } });";

test('--help is data: stdout, 0, nothing on stderr', async (t) => {
  const { code, stdout, stderr } = await run(t, { args: ['--help'] });
  assert.equal(code, 0);
  assert.match(stdout, /^Usage: orderflow-ingest/);
  assert.equal(stderr, '');
});

test('--version is the version of the package', async (t) => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  assert.equal((await run(t, { args: ['--version'] })).stdout, `${version}\n`);
});

test('used wrongly is 2, without a stack trace', async (t) => {
  for (const args of [['nonsense'], ['org', 'add', 'Not A Slug'], ['send', '--to', 'acme', 'missing.pdf']]) {
    const { code, stdout, stderr } = await run(t, { args });
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: /);
    assert.doesNotMatch(stderr, /\n\s+at /);
  }
});

test('wrong settings in the environment and in .env are 2, one line each', async (t) => {
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, '.env'), 'HTTP_PORT=none\n');
  const { code, stderr } = await run(t, { args: ['start'], cwd, env: { SMTP_PORT: '25MB' } });
  assert.equal(code, 2);
  assert.match(stderr, /^error: SMTP_PORT is "25MB": .*\nerror: HTTP_PORT \(from \.env\) is "none": .*\n$/);
});

test('a reader that goes away early is no error', async (t) => {
  const { child, ended } = await launch(t, { args: ['--help'] });
  child.stdout.destroy();
  const { code, stderr } = await ended;
  assert.equal(code, 0);
  assert.equal(stderr, '');
});

test('output that does not fit on the disk is a failure, and said to be', async (t) => {
  if (!existsSync('/dev/full')) return missing(t, '/dev/full', 'a device of Linux');
  const full = openSync('/dev/full', 'w');
  cleanUp(t, () => closeSync(full));
  const env = bareEnvironment();
  const cwd = await temporaryFolder(t);
  const { status, stderr } = spawnSync(process.execPath, [launcher, '--help'], {
    cwd,
    env,
    encoding: 'utf8',
    timeout: 60_000,
    stdio: ['ignore', full, 'pipe'],
  });
  assert.equal(stderr, 'error: standard output cannot be written: ENOSPC\n');
  assert.equal(status, 1);
});

test('an old Node hands over to the one that came with the package, with output and exit code', async (t) => {
  const help = await run(t, { args: ['org', '--help'], before: pretendOldNode });
  assert.equal(help.code, 0, help.stderr);
  assert.match(help.stdout, /^Usage: orderflow-ingest org/);
  assert.equal((await run(t, { args: ['nonsense'], before: pretendOldNode })).code, 2);
});

test('an old Node passes a signal on and ends as its child ended', async (t) => {
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, 'order.pdf'), 'x');
  const connected = Promise.withResolvers<void>();
  const disconnected = Promise.withResolvers<void>();
  // Never greets, so the command waits.
  const server = createServer((socket) => {
    connected.resolve();
    socket
      .on('error', () => {})
      .once('close', () => disconnected.resolve())
      .resume();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanUp(t, () => void server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const args = ['send', '--to', 'acme', '--smtp', `127.0.0.1:${port}`, 'order.pdf'];
  const { child, ended } = await launch(t, { args, cwd, before: pretendOldNode });
  await connected.promise;
  child.kill('SIGTERM');
  assert.deepEqual(await ended.then(({ code, signal }) => ({ code, signal })), { code: null, signal: 'SIGTERM' });
  await disconnected.promise;
});

/** A Node of the system that is too old for the program; null when there is none. */
function oldNode(): string | null {
  const folders = (bareEnvironment().PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  const isOld = (node: string): boolean => {
    const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
    return status === 0 && Number(/^v(\d+)/.exec(stdout)?.[1]) < 24;
  };
  return [...folders, '/usr/local/bin', '/usr/bin'].map((folder) => join(folder, 'node')).find(isOld) ?? null;
}

test('an old Node that is killed outright takes its server along, and the next start finds the ports free', async (t) => {
  const node = oldNode();
  if (node === null) return missing(t, 'a Node older than 24', 'install one beside that of the project');
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const cwd = await temporaryFolder(t);
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const ports = { SMTP_PORT: String(smtpPort), HTTP_PORT: String(httpPort) };
  const env = { ...bareEnvironment(), ...ports, DATABASE_URL: database.url, DATA_DIR: cwd };
  const start = async () => {
    const child = spawn(node, [launcher, 'start'], { cwd, env, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    cleanUp(t, () => killGroup(child.pid));
    const isReady = async (): Promise<boolean> =>
      child.exitCode !== null || (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).ok;
    await waitFor(isReady, { timeoutMs: 60_000, what: 'the server' });
    assert.equal(child.exitCode, null, stderr);
    return child;
  };
  const killed = await start();
  killed.kill('SIGKILL');
  await waitFor(() => groupIsGone(killed.pid), { what: 'the server to end with its launcher' });
  const next = await start();
  next.kill('SIGTERM');
  assert.deepEqual(await once(next, 'exit'), [0, null]);
});

function groupIsGone(pid = 0): boolean {
  try {
    return !process.kill(-pid, 0);
  } catch {
    return true;
  }
}

function killGroup(pid = 0): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nobody is left.
  }
}

test('an old Node without one that came with the package says what to do, and ends with 1', async (t) => {
  const before = `${pretendOldNode} Object.defineProperty(process, 'platform', { value: 'sunos' });`;
  const { code, stdout, stderr } = await run(t, { args: ['start'], before });
  assert.equal(code, 1);
  assert.equal(stdout, '');
  assert.match(stderr, /^error: orderflow-ingest needs Node 24 or newer, this is 18\.19\.0\.\n.*npm ci/);
});

/** Counts the threads of the process while many file operations run, when the program is about to end. */
const countThreads = (report: string): string => `
  const { exit } = process;
  process.exit = (code) => {
    const { pbkdf2 } = require('node:crypto');
    const { readdirSync, writeFileSync } = require('node:fs');
    let most = 0;
    let open = 64;
    for (let i = 0; i < 64; i += 1) pbkdf2('a', 'b', 2000, 64, 'sha512', () => {
      most = Math.max(most, readdirSync('/proc/self/task').length);
      open -= 1;
      if (open === 0) { writeFileSync(${JSON.stringify(report)}, String(most)); exit(code); }
    });
  };`;

test('the thread pool is as large as the file store needs, unless the operator says otherwise', async (t) => {
  if (process.platform !== 'linux') return t.skip('threads are counted in /proc, which is of Linux');
  const report = join(await temporaryFolder(t), 'threads');
  const threads = async (env: Record<string, string>): Promise<number> => {
    await run(t, { args: ['--version'], env, before: countThreads(report) });
    return Number(await readFile(report, 'utf8'));
  };
  const [ours, small] = [await threads({}), await threads({ UV_THREADPOOL_SIZE: '2' })];
  assert.equal(ours - small, 30, `${ours} threads by default, ${small} with a pool of two`);
});

test('SIGTERM to npm start ends the server, its database too', async (t) => {
  const folder = await temporaryFolder(t);
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const ports = { SMTP_PORT: String(smtpPort), HTTP_PORT: String(httpPort) };
  const child = spawn('npm', ['start'], {
    cwd: join(launcher, '../..'),
    env: { ...bareEnvironment(), ...ports, DATA_DIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  cleanUp(t, () => void child.kill('SIGKILL'));
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  await waitFor(async () => (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).ok, { what: 'it', timeoutMs: 60_000 });
  child.kill('SIGTERM');
  // Closed when the last process that could write to them has ended.
  const [stdout] = await output;
  assert.match(stdout, /"msg":"stopped"/);
  assert.equal(existsSync(join(folder, 'postgres', 'data', 'postmaster.pid')), false);
});
