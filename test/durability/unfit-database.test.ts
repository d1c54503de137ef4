/** What keeps mail from being taken ends the start, in the words of `doctor`; a process that takes another's place waits. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { createPool } from '../../src/adapters/postgres/pool.ts';
import { loadSettings } from '../../src/config/load.ts';
import { makeCertificateIn, opensslProblem } from '../../src/testing/certificate.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { missing } from '../../src/testing/missing.ts';
import { noPooler, startPooler } from '../../src/testing/pgbouncer.ts';
import { startProduct } from '../../src/testing/product.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { sendOrder } from './failover.ts';
import { openFrontDoor, withClient } from './front-door.ts';
import { startReplicated, whyNoStandby } from './standby.ts';

const LAUNCHER = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));

async function database(t: TestContext): Promise<string> {
  const { url, close } = await createTestDatabase();
  cleanUp(t, close);
  return url;
}

/** Shape: exit code and standard error of a start that should not come about. */
async function start(t: TestContext, databaseUrl: string, env: Record<string, string> = {}) {
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const child = spawn(process.execPath, [LAUNCHER, 'start'], {
    cwd: await temporaryFolder(t),
    env: { ...bareEnvironment(), SMTP_PORT: `${smtp}`, HTTP_PORT: `${http}`, DATABASE_URL: databaseUrl, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  cleanUp(t, () => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, 'close', { signal: AbortSignal.timeout(60_000) });
  return { code, stderr };
}

async function assertRefused(t: TestContext, url: string, words: RegExp): Promise<void> {
  const { code, stderr } = await start(t, url);
  assert.equal(code, 1, stderr);
  assert.match(stderr, words);
  assert.doesNotMatch(stderr, /\n\s+at |Warning/);
}

test('a database of another encoding ends the start', async (t) => {
  const url = new URL(await database(t));
  const name = `latin_${randomBytes(6).toString('hex')}`;
  await withClient(url.href, (client) =>
    client.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'`),
  );
  cleanUp(t, () => withClient(url.href, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`)).then(() => {}));
  const other = Object.assign(new URL(url), { pathname: `/${name}` });
  await assertRefused(t, other.href, /^error: DATABASE_URL: its encoding is LATIN1: .*; to mend: make it anew: CREATE/);
});

test('a database that is read-only for us, and a login without rights, end the start', async (t) => {
  const url = await database(t);
  const name = `login_${randomBytes(6).toString('hex')}`;
  await withClient(url, (client) => client.query(`CREATE ROLE ${name} LOGIN PASSWORD 'secret-password'`));
  cleanUp(t, () => withClient(url, (client) => client.query(`DROP ROLE ${name}`)).then(() => {}));
  const other = Object.assign(new URL(url), { username: name, password: 'secret-password' });
  await assertRefused(
    t,
    other.href,
    /DATABASE_URL: the tables .* belong to another login .*\n.*may not take the role/s,
  );
  const readOnly = new URL(url);
  readOnly.searchParams.set('options', '-c default_transaction_read_only=on');
  await assertRefused(
    t,
    readOnly.href,
    /DATABASE_URL: default_transaction_read_only is on: nothing can be written; to/,
  );
});

test('a pooler in transaction mode ends the start with one line; in session mode, with its defaults, mail is taken and read', {
  timeout: 120_000,
}, async (t) => {
  const why = noPooler();
  if (why !== null) return missing(t, 'pgbouncer', why);
  const url = await database(t);
  const { url: handedOver } = await startPooler(t, url, ['pool_mode = transaction']);
  await assertRefused(t, handedOver, /^error: DATABASE_URL: there is a pooler in between .*\(transaction mode\).*\n$/);

  const { url: pooled } = await startPooler(t, url, []);
  const door = await openFrontDoor(t, { databaseUrl: pooled });
  assert.equal(await sendOrder(door.port), 250);
  await waitFor(
    () =>
      withClient(url, async (client) => {
        const { rows } = await client.query<{ status: string }>('SELECT status FROM inbound_message');
        return rows[0]?.status === 'PARSED';
      }),
    { what: 'the extraction through the pooler' },
  );
  const held = await withClient(url, async (client) => {
    const { rows } = await client.query<{ held: number }>(
      `SELECT count(*)::int AS held FROM pg_stat_activity WHERE application_name LIKE 'orderflow-%'`,
    );
    return rows[0]?.held;
  });
  assert.ok((held ?? 0) > 0);
  await door.product.stop();
});

test('TLS to the database, with libpq’s variables, and nothing of them reaches the embedded one', {
  timeout: 180_000,
}, async (t) => {
  const why = whyNoStandby() ?? opensslProblem();
  if (why !== null) return missing(t, 'a PostgreSQL with TLS', why);
  const folder = await temporaryFolder(t);
  const { certFile, keyFile } = makeCertificateIn(folder, { name: 'localhost' });
  const { primary } = await startReplicated(t, { tls: { certFile, keyFile } });
  const url = primary.url.replace('127.0.0.1', 'localhost');
  const unknown = await start(t, url, { PGSSLMODE: 'require' });
  assert.equal(unknown.code, 1);
  assert.match(
    unknown.stderr,
    /^error: DATABASE_URL: .* has a certificate of an authority that is not known here.*\n$/,
  );
  const env = { PGSSLMODE: 'verify-ca', PGSSLROOTCERT: certFile, PGOPTIONS: '-c statement_timeout=61s' };
  const product = await startProduct(t, { dataDir: await temporaryFolder(t), env: { DATABASE_URL: url, ...env } });
  assert.doesNotMatch(product.stderr(), /Warning/);
  const encrypted = await withClient(primary.url, async (client) => {
    const { rows } = await client.query<{ plain: number; all: number }>(
      `SELECT count(*)::int AS all, count(*) FILTER (WHERE NOT ssl)::int AS plain
       FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'orderflow-%'`,
    );
    return rows[0];
  });
  assert.ok(encrypted !== undefined && encrypted.all > 0 && encrypted.plain === 0, JSON.stringify(encrypted));
  await product.stop();
  const stray = { ...env, PGHOST: '192.0.2.1', PGUSER: 'nobody', PGCLIENTENCODING: 'LATIN1', PGPORT: '1' };
  const embedded = await startProduct(t, { dataDir: await temporaryFolder(t), env: stray });
  assert.equal(embedded.stderr().includes('Warning'), false);
  await embedded.stop();
});

test('TLS to the database: with a client certificate, and an authority whose file is replaced without a restart', {
  timeout: 60_000,
}, async (t) => {
  const why = whyNoStandby() ?? opensslProblem();
  if (why !== null) return missing(t, 'a PostgreSQL with TLS', why);
  const folder = await temporaryFolder(t);
  const own = makeCertificateIn(join(folder, 'own'), { name: 'localhost' });
  const other = makeCertificateIn(join(folder, 'other'), { name: 'localhost' });
  const { primary } = await startReplicated(t, { tls: own });
  await withClient(primary.url, async (client) => {
    const { rows } = await client.query<{ file: string }>(`SELECT current_setting('hba_file') AS file`);
    await writeFile(rows[0]?.file ?? '', 'hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n');
    await client.query('SELECT pg_reload_conf()');
  });
  const authority = join(folder, 'authority.pem');
  await copyFile(other.certFile, authority);
  const connect = (certificate: string) => {
    const url = `${primary.url.replace('127.0.0.1', 'localhost')}?sslmode=require&sslrootcert=${authority}${certificate}`;
    const loaded = loadSettings({ env: { DATABASE_URL: url }, cwd: folder, readEnvFile: () => null });
    assert.ok('settings' in loaded && loaded.settings.databaseUrl !== null);
    const log = pino({ level: 'silent' });
    const pool = createPool({ url: loaded.settings.databaseUrl, applicationName: 'test', maxConnections: 1, log });
    cleanUp(t, () => pool.end());
    return pool;
  };
  const pool = connect(`&sslcert=${own.certFile}&sslkey=${own.keyFile}`);
  await assert.rejects(pool.query('SELECT'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
  await copyFile(own.certFile, authority);
  assert.equal((await pool.query('SELECT')).rowCount, 1);
  await assert.rejects(connect('').query('SELECT'), /connection requires a valid client certificate/);
});

test('a standby ends the first start; a process that is replaced meanwhile waits for the primary, not ready', {
  timeout: 180_000,
}, async (t) => {
  const why = whyNoStandby();
  if (why !== null) return missing(t, 'a PostgreSQL with pg_basebackup', why);
  const { primary, standby } = await startReplicated(t);
  await assertRefused(t, standby.url, /^error: DATABASE_URL: it is a standby: nothing can be written; to mend: set/);

  const door = await openFrontDoor(t, { databaseUrl: primary.url, args: ['--processes', '2'] });
  const readOnly = (word: string) =>
    withClient(`${primary.url}?options=-c%20default_transaction_read_only%3Doff`, async (client) => {
      await client.query(`ALTER SYSTEM SET default_transaction_read_only = ${word}`);
      await client.query('SELECT pg_reload_conf()');
    });
  await readOnly('on');
  const smtp = door.product.log.filter(
    ({ msg, process }) => msg === 'process started' && /^smtp/.test(String(process)),
  );
  for (const { pid } of smtp) process.kill(Number(pid), 'SIGKILL');
  const waiting = () =>
    door.product.log.filter(({ msg }) => String(msg).startsWith('the database takes no mail')).length;
  await waitFor(() => waiting() > 0, { what: 'a process that waits' });
  const answer = await fetch(`${door.product.httpUrl}/readyz`);
  const { checks } = (await answer.json()) as { checks: Record<string, { ready: boolean; reason?: string }> };
  assert.equal(answer.status, 503);
  assert.deepEqual([checks.database?.ready, checks.smtp?.ready], [false, false]);
  await readOnly('off');
  await waitFor(async () => (await fetch(`${door.product.httpUrl}/readyz`)).ok, {
    what: 'readiness',
    timeoutMs: 30_000,
  });
  assert.equal(await sendOrder(door.port), 250);
  await readOnly('on');
  const again = door.product.log.findLast(
    ({ msg, process }) => msg === 'process started' && /^smtp/.test(String(process)),
  );
  const before = waiting();
  process.kill(Number(again?.pid), 'SIGKILL');
  await waitFor(() => waiting() > before, { what: 'a process that waits again' });
  // One that waits ends in order as well.
  await door.product.stop();
});
