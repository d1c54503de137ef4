/** Where the server listens, who could stand in its place, and what the release before has left. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFile,
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { pino } from 'pino';
import { cleanUp } from '../../testing/clean-up.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { clusterPaths } from './cluster.ts';
import { type EmbeddedPostgres, EmbeddedPostgresError, openEmbeddedPostgres } from './embedded-postgres.ts';
import { serverArguments, type Transport } from './endpoint.ts';

const log = pino({ level: 'silent' });
const asRoot = process.getuid?.() === 0;

async function open(t: TestContext, dataDir: string, transport?: Transport): Promise<EmbeddedPostgres> {
  const embedded = await openEmbeddedPostgres({ dataDir, log, ...(transport ? { transport } : {}) });
  cleanUp(t, () => embedded.stop());
  return embedded;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows[0] ?? {};
  } finally {
    await client.end();
  }
}

const folderOf = ({ connectionString }: EmbeddedPostgres): string =>
  new URL(connectionString).searchParams.get('host') ?? '';

/** A stopped cluster with a table, as the release before made it: on TCP, with its own files inside PostgreSQL's folder. */
async function clusterOfTheReleaseBefore(t: TestContext, port = 54_321): Promise<string> {
  const dataDir = await temporaryFolder(t);
  const made = await open(t, dataDir);
  await query(made.connectionString, 'CREATE TABLE kept AS SELECT 42 AS answer');
  await made.stop();
  const { clusterDir, passwordFile, accessFile } = clusterPaths(dataDir);
  await rename(passwordFile, join(clusterDir, 'orderflow.password'));
  await rm(accessFile);
  await writeFile(join(clusterDir, 'pg_hba.conf'), 'host all all 127.0.0.1/32 scram-sha-256\n');
  await writeFile(join(clusterDir, 'orderflow.port'), `${port}\n`);
  await appendFile(
    join(clusterDir, 'postgresql.conf'),
    "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n",
  );
  return dataDir;
}

/** Takes every connection, and asks whoever speaks for the password in clear. */
async function impostor(t: TestContext): Promise<{ port: number; heard: () => string }> {
  let heard = '';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1');
      socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])); // AuthenticationCleartextPassword
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => void server.close());
  return { port: (server.address() as AddressInfo).port, heard: () => heard };
}

test('a cluster of the release before starts, and whoever has taken its port hears nothing', async (t) => {
  const { port, heard } = await impostor(t);
  const dataDir = await clusterOfTheReleaseBefore(t, port);
  const password = await readFile(join(clusterPaths(dataDir).clusterDir, 'orderflow.password'), 'utf8');
  const embedded = await open(t, dataDir);
  const row = await query(
    embedded.connectionString,
    "SELECT answer, current_setting('listen_addresses') AS addresses FROM kept",
  );
  assert.deepEqual(row, { answer: 42, addresses: '' });
  assert.equal(new URL(embedded.connectionString).searchParams.get('password'), password.trim());
  assert.equal(heard(), '');
});

test('a server on TCP that outlived its users is replaced by one on a socket', async (t) => {
  const dataDir = await temporaryFolder(t);
  const source = `
    import { openEmbeddedPostgres } from ${JSON.stringify(new URL('./embedded-postgres.ts', import.meta.url).href)};
    import { pino } from 'pino';
    await openEmbeddedPostgres({ dataDir: process.argv[1], log: pino({ level: 'silent' }), transport: 'tcp' });
    process.kill(process.pid, 'SIGKILL');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source, dataDir], {
    stdio: ['ignore', 'ignore', 'inherit'],
    cwd: import.meta.dirname,
  });
  assert.deepEqual(await once(child, 'exit'), [null, 'SIGKILL']);
  const embedded = await open(t, dataDir);
  assert.deepEqual(await query(embedded.connectionString, "SELECT current_setting('listen_addresses') AS addresses"), {
    addresses: '',
  });
});

test('a server on TCP that somebody uses is left alone, and the error says what to stop', async (t) => {
  const dataDir = await temporaryFolder(t);
  const earlier = await open(t, dataDir, 'tcp');
  await assert.rejects(
    open(t, dataDir),
    (error) =>
      error instanceof EmbeddedPostgresError && /in use by another version.*stop that first/.test(error.message),
  );
  assert.deepEqual(await query(earlier.connectionString, 'SELECT 1 AS one'), { one: 1 });
});

test('a program on TCP that stands in the place of the server gets no password, whatever it asks for', async (t) => {
  const { port, heard } = await impostor(t);
  const dataDir = await clusterOfTheReleaseBefore(t, port);
  const { clusterDir } = clusterPaths(dataDir);
  const password = (await readFile(join(clusterDir, 'orderflow.password'), 'utf8')).trim();
  // It looks like the server in all that can be seen from outside.
  const stranger = spawn('sh', ['-c', 'sleep 60', '-D', clusterDir], { stdio: 'ignore' });
  cleanUp(t, () => void stranger.kill());
  await once(stranger, 'spawn');
  const lines = [stranger.pid, clusterDir, 1_700_000_000, port, '', '127.0.0.1', '', 'ready'];
  await writeFile(join(clusterDir, 'postmaster.pid'), `${lines.join('\n')}\n`);
  await assert.rejects(open(t, dataDir), /another program answers in the place of the embedded PostgreSQL/);
  assert.match(heard(), /user\0orderflow/, 'it was asked');
  assert.ok(!heard().includes(password));
  await rm(join(clusterDir, 'postmaster.pid'));
});

test('where the path is too long for a socket, it lies in a private folder of the temporary directory', async (t) => {
  const dataDir = join(await temporaryFolder(t), 'long'.repeat(30));
  const first = await open(t, dataDir);
  const folder = folderOf(first);
  assert.ok(!folder.startsWith(dataDir) && Buffer.byteLength(join(folder, '.s.PGSQL.5432')) <= 107, folder);
  const [facts, cluster] = await Promise.all([stat(folder), stat(clusterPaths(dataDir).clusterDir)]);
  assert.deepEqual([facts.mode & 0o777, facts.uid], [0o700, cluster.uid]);
  const joined = await open(t, dataDir);
  assert.deepEqual(await query(joined.connectionString, 'SELECT 1 AS one'), { one: 1 });
  await joined.stop();
  await first.stop();
  await assert.rejects(lstat(folder), { code: 'ENOENT' });
  assert.equal((await open(t, dataDir)).connectionString, first.connectionString);
});

test('a folder for the socket that others can write is refused', async (t) => {
  const dataDir = join(await temporaryFolder(t), 'long'.repeat(30));
  const embedded = await open(t, dataDir);
  await embedded.stop();
  const folder = folderOf(embedded);
  cleanUp(t, () => rm(folder, { recursive: true, force: true }));
  for (const make of [
    () => symlink(dataDir, folder),
    async () => {
      await mkdir(folder);
      await chmod(folder, 0o777);
      if (asRoot) await chown(folder, 12_345, 12_345);
    },
  ]) {
    await make();
    await assert.rejects(open(t, dataDir), /can be written by others; remove it, or set DATA_DIR/);
    await rm(folder, { recursive: true });
  }
});

test('a folder of any name', async (t) => {
  const parent = await temporaryFolder(t);
  let last = join(parent, 'plain');
  await mkdir(last);
  for (const name of ['a b', 'q"uo\'te', '100%', 'plus+&=', 'ü', 'com,ma']) {
    const dataDir = join(parent, name);
    await rename(last, dataDir);
    last = dataDir;
    const embedded = await open(t, dataDir);
    assert.deepEqual(await query(embedded.connectionString, 'SELECT 1 AS one'), { one: 1 }, name);
    assert.equal(folderOf(embedded).startsWith(parent), name !== 'com,ma', name);
    await embedded.stop();
  }
});

test('its command line overrules what the files say of where it listens', () => {
  assert.deepEqual(serverArguments({ transport: 'socket', folder: '/a"b' }), [
    ...['-p', '5432', '-c', 'listen_addresses=', '-c', 'unix_socket_directories="/a""b"'],
    ...['-c', 'unix_socket_permissions=0700'],
  ]);
});

test('root follows no link where the account of PostgreSQL could have put one', {
  skip: asRoot ? false : 'only root can be led astray',
}, async (t) => {
  const folder = await temporaryFolder(t);
  const dataDir = join(folder, 'data');
  const { homeDir, clusterDir, logFile, passwordFile } = clusterPaths(dataDir);
  for (const transport of ['socket', 'tcp'] as const) await (await open(t, dataDir, transport)).stop();
  const { uid } = await stat(clusterDir);
  for (const name of await readdir(clusterDir)) {
    assert.ok((await lstat(join(clusterDir, name))).uid === uid && !name.startsWith('orderflow'), name);
  }
  const victim = join(folder, 'victim');
  await writeFile(victim, 'secret of root\n', { mode: 0o600 });
  const before = await lstat(victim);
  const unchanged = async () => {
    const now = await lstat(victim);
    assert.deepEqual([now.uid, now.mode, now.mtimeMs, now.size], [0, before.mode, before.mtimeMs, before.size]);
  };

  await t.test('in the folder of that account', async (t) => {
    for (const name of ['orderflow.port', `orderflow.port.${process.pid}`, 'orderflow.password', 'pg_hba.conf']) {
      await rm(join(clusterDir, name), { force: true });
      await symlink(victim, join(clusterDir, name));
    }
    const next = await open(t, dataDir);
    assert.deepEqual(await query(next.connectionString, 'SELECT 1 AS one'), { one: 1 });
    await next.stop();
    await unchanged();
  });

  await t.test('where the release before kept its password', async (t) => {
    await rename(passwordFile, `${passwordFile}.aside`);
    await assert.rejects(open(t, dataDir), /orderflow\.password is a link or no ordinary file/);
    await rename(`${passwordFile}.aside`, passwordFile);
  });

  await t.test('in place of the log', async (t) => {
    for (const plant of [() => symlink(victim, logFile), () => link(victim, logFile)]) {
      await rm(logFile);
      await plant();
      await assert.rejects(open(t, dataDir), /postgres\.log is a link or no ordinary file/);
      await unchanged();
    }
    await rm(logFile);
  });

  await t.test('of a start that was cut off', async (t) => {
    const gone = spawn(process.execPath, ['-e', '']);
    await once(gone, 'exit');
    const kept = join(folder, 'kept');
    await mkdir(kept);
    await writeFile(join(kept, 'file'), '');
    const draft = join(homeDir, `data.new-${gone.pid}-cafe`);
    await mkdir(draft, { mode: 0o700 });
    await symlink(kept, join(draft, 'base'));
    const { uid, gid } = await stat(clusterDir);
    await chown(draft, uid, gid);
    await open(t, dataDir);
    await assert.rejects(lstat(draft), { code: 'ENOENT' });
    await lstat(join(kept, 'file'));
  });
});
