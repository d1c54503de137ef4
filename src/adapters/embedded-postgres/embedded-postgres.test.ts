import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { pino } from 'pino';
import { cleanUp } from '../../testing/clean-up.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { type EmbeddedPostgres, EmbeddedPostgresError, openEmbeddedPostgres } from './embedded-postgres.ts';
import type { Transport } from './endpoint.ts';

const log = pino({ level: 'silent' });
const HOME = ['data', 'orderflow.password', 'pg_hba.conf', 'postgres.log'];

async function open(t: TestContext, dataDir: string, transport?: Transport): Promise<EmbeddedPostgres> {
  const embedded = await openEmbeddedPostgres({ dataDir, log, ...(transport ? { transport } : {}) });
  cleanUp(t, () => embedded.stop());
  return embedded;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows[0] ?? {};
  } finally {
    await client.end();
  }
}

function file(dataDir: string, name: string): string {
  return join(dataDir, 'postgres', 'data', name);
}

async function serverPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(file(dataDir, 'postmaster.pid'), 'utf8'), 10);
}

function isAlive(pid: number): boolean {
  try {
    // A zombie whose parent has not looked yet is dead.
    return (
      process.kill(pid, 0) && !(process.platform === 'linux' && /\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
    );
  } catch {
    return false;
  }
}

async function isStopped(dataDir: string, pid: number): Promise<boolean> {
  const names = await readdir(join(dataDir, 'postgres', 'data'));
  return !names.includes('postmaster.pid') && !isAlive(pid);
}

/** Another process that holds the database until its stdin closes. */
const HOLDER = `
import { openEmbeddedPostgres } from ${JSON.stringify(new URL('./embedded-postgres.ts', import.meta.url).href)};
import { pino } from 'pino';
const embedded = await openEmbeddedPostgres({ dataDir: process.argv[1], log: pino({ level: 'silent' }) });
console.log(embedded.connectionString);
process.stdin.resume().on('end', () => embedded.stop());
`;

interface Holder {
  readonly child: ChildProcess;
  readonly url: string;
  leave(): Promise<number | null>;
}

async function startHolder(t: TestContext, dataDir: string): Promise<Holder> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, dataDir], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: import.meta.dirname,
  });
  const exited = once(child, 'exit');
  cleanUp(t, () => {
    child.kill('SIGKILL');
  });
  const lines = createInterface({ input: child.stdout });
  const [url] = await Promise.race([once(lines, 'line'), once(lines, 'close').then(() => [''])]);
  assert.notEqual(url, '', 'the holder did not start');
  return {
    child,
    url,
    leave: async () => {
      child.stdin.end();
      const [code] = await exited;
      return code;
    },
  };
}

test('a new cluster is durable, for this machine only, and its user is an ordinary one', async (t) => {
  const dataDir = await temporaryFolder(t);
  const embedded = await open(t, dataDir);
  const url = new URL(embedded.connectionString);
  assert.deepEqual([url.hostname, url.pathname, url.searchParams.get('user')], ['', '/orderflow', 'orderflow']);
  const folder = url.searchParams.get('host') ?? '';
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  assert.equal((await stat(join(folder, '.s.PGSQL.5432'))).mode & 0o777, 0o700);
  const settings = await query(
    url.href,
    `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
       current_setting('full_page_writes') AS pages, current_setting('data_checksums') AS checksums,
       current_setting('listen_addresses') AS addresses, current_setting('server_encoding') AS encoding,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser`,
  );
  assert.deepEqual(settings, {
    fsync: 'on',
    commit: 'on',
    pages: 'on',
    checksums: 'on',
    addresses: '',
    encoding: 'UTF8',
    superuser: false,
  });
  assert.equal((await stat(join(dataDir, 'postgres', 'orderflow.password'))).mode & 0o777, 0o600);
  url.searchParams.set('password', 'guessed');
  await assert.rejects(query(url.href, 'SELECT 1'), /password authentication failed/);
});

test('stop leaves no process, and the next start finds place and rows again', async (t) => {
  const dataDir = await temporaryFolder(t);
  const first = await open(t, dataDir);
  const pid = await serverPid(dataDir);
  await query(first.connectionString, 'CREATE TABLE kept AS SELECT 42 AS answer');
  await first.stop();
  await first.stop();
  assert.ok(await isStopped(dataDir, pid));
  const second = await open(t, dataDir);
  assert.equal(second.connectionString, first.connectionString);
  assert.deepEqual(await query(second.connectionString, 'SELECT answer FROM kept'), { answer: 42 });
});

test('processes share one server, and the last to leave stops it', async (t) => {
  const dataDir = await temporaryFolder(t);
  const holder = await startHolder(t, dataDir);
  const pid = await serverPid(dataDir);
  const mine = await open(t, dataDir);
  assert.equal(mine.connectionString, holder.url);
  assert.equal(await holder.leave(), 0);
  assert.deepEqual(await query(mine.connectionString, 'SELECT 1 AS one'), { one: 1 });
  assert.equal(await serverPid(dataDir), pid);
  await mine.stop();
  assert.ok(await isStopped(dataDir, pid));
});

test('processes that start at the same moment on an empty folder get one server', async (t) => {
  const dataDir = await temporaryFolder(t);
  const holders = await Promise.all([1, 2, 3].map(() => startHolder(t, dataDir)));
  const pid = await serverPid(dataDir);
  assert.equal(new Set(holders.map(({ url }) => url)).size, 1);
  await query(holders[0]?.url ?? '', 'CREATE TABLE one_place (n int)');
  await query(holders[2]?.url ?? '', 'INSERT INTO one_place VALUES (1)');
  const codes = await Promise.all(holders.map((holder) => holder.leave()));
  assert.deepEqual(codes, [0, 0, 0]);
  assert.ok(await isStopped(dataDir, pid));
  assert.deepEqual((await readdir(join(dataDir, 'postgres'))).sort(), HOME);
});

test('a server whose process was killed is taken over', async (t) => {
  const dataDir = await temporaryFolder(t);
  const holder = await startHolder(t, dataDir);
  const pid = await serverPid(dataDir);
  holder.child.kill('SIGKILL');
  await once(holder.child, 'exit');
  assert.ok(isAlive(pid), 'the server died with its starter');
  const heir = await open(t, dataDir);
  assert.equal(heir.connectionString, holder.url);
  assert.equal(await serverPid(dataDir), pid);
  await heir.stop();
  assert.ok(await isStopped(dataDir, pid));
});

test('a server that is killed comes back by itself at the same place with what was committed', async (t) => {
  const dataDir = await temporaryFolder(t);
  const embedded = await open(t, dataDir);
  await query(embedded.connectionString, 'CREATE TABLE kept AS SELECT 42 AS answer');
  const pid = await serverPid(dataDir);
  process.kill(pid, 'SIGKILL');
  const row = await waitFor(async () => !isAlive(pid) && query(embedded.connectionString, 'SELECT answer FROM kept'), {
    what: 'the server to come back',
    timeoutMs: 30_000,
  });
  assert.deepEqual(row, { answer: 42 });
  const next = await serverPid(dataDir);
  assert.notEqual(next, pid);
  await embedded.stop();
  assert.ok(await isStopped(dataDir, next));
});

test('stop while the server is coming back leaves no process', async (t) => {
  const dataDir = await temporaryFolder(t);
  const embedded = await open(t, dataDir);
  process.kill(await serverPid(dataDir), 'SIGKILL');
  await embedded.stop();
  const left = await readFile(file(dataDir, 'postmaster.pid'), 'utf8').catch(() => '');
  // The killed one may still be dying; one that was started again would go on.
  await waitFor(() => left === '' || !isAlive(Number.parseInt(left, 10)), { what: 'the end of the last server' });
});

test('a pid file that names a living process of another program does not block the start', async (t) => {
  const dataDir = await temporaryFolder(t);
  const first = await open(t, dataDir);
  await first.stop();
  // Of the same user: PostgreSQL itself only believes in those. And not its parent, which it leaves out of account.
  const { uid, gid } = await stat(file(dataDir, ''));
  const stranger = spawn('sleep', ['60'], { uid, gid, stdio: 'ignore' });
  cleanUp(t, () => void stranger.kill());
  await once(stranger, 'spawn');
  const lines = [stranger.pid, file(dataDir, ''), 1_700_000_000, 5432, file(dataDir, ''), '', '', 'ready'];
  for (const name of ['postmaster.pid', '.s.PGSQL.5432.lock'])
    await writeFile(file(dataDir, name), `${lines.join('\n')}\n`);
  const second = await open(t, dataDir);
  assert.deepEqual(await query(second.connectionString, 'SELECT 1 AS one'), { one: 1 });
});

test('over TCP, a port that somebody else took meanwhile is replaced', async (t) => {
  const dataDir = await temporaryFolder(t);
  const first = await open(t, dataDir, 'tcp');
  await first.stop();
  const port = Number(new URL(first.connectionString).port);
  const squatter = createServer().listen(port, '127.0.0.1');
  await once(squatter, 'listening');
  cleanUp(t, () => void squatter.close());
  const second = await open(t, dataDir, 'tcp');
  assert.notEqual(Number(new URL(second.connectionString).port), port);
  assert.deepEqual(await query(second.connectionString, 'SELECT 1 AS one'), { one: 1 });
});

test('what a killed first start left behind is removed', async (t) => {
  const dataDir = await temporaryFolder(t);
  const gone = spawn(process.execPath, ['-e', '']);
  await once(gone, 'exit');
  const draft = join(dataDir, 'postgres', `data.new-${gone.pid}-cafe`);
  await mkdir(draft, { recursive: true });
  await writeFile(join(draft, 'PG_VERSION'), '18\n');
  await open(t, dataDir);
  assert.deepEqual((await readdir(join(dataDir, 'postgres'))).sort(), HOME);
});

test('a failure is one line that says what to mend', async (t) => {
  const dataDir = await temporaryFolder(t);
  const oneLine = (pattern: RegExp) => (error: unknown) =>
    error instanceof EmbeddedPostgresError && !error.message.includes('\n') && pattern.test(error.message);

  await writeFile(join(dataDir, 'file'), '');
  await assert.rejects(
    open(t, join(dataDir, 'file')),
    oneLine(/no embedded PostgreSQL in .*already exists.*set DATA_DIR/),
  );

  await (await open(t, dataDir)).stop();
  await appendFile(file(dataDir, 'postgresql.conf'), 'no_such_setting = 1\n');
  await assert.rejects(open(t, dataDir), oneLine(/does not start \(.*no_such_setting.*postgres\.log/));

  await writeFile(file(dataDir, 'PG_VERSION'), '12\n');
  await assert.rejects(open(t, dataDir), oneLine(/made by PostgreSQL 12, this release carries 18/));
});
