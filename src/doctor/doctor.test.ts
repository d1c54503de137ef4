/** Every finding provoked for real: a folder, a port, a database, a disk that are as wrong as the finding says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { createTestCli } from '../cli/test-context.ts';
import * as compose from '../compose/index.ts';
import type { Finding } from '../ports/finding.ts';
import { type CertificateWish, makeCertificate, opensslProblem } from '../testing/certificate.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { createTestDatabase } from '../testing/database.ts';
import { bareEnvironment } from '../testing/environment.ts';
import { freePort } from '../testing/free-port.ts';
import { missing } from '../testing/missing.ts';
import { startOtlpReceiver } from '../testing/otlp-receiver.ts';
import { noPooler, startPooler } from '../testing/pgbouncer.ts';
import { startProduct } from '../testing/product.ts';
import { startTestRedis } from '../testing/redis.ts';
import { noS3Server, s3Environment, startS3Server } from '../testing/s3-server.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';

type Env = Record<string, string>;

interface Examined {
  readonly code: number | string | null;
  readonly findings: readonly Finding[];
}

/** In this process, on ports that are free unless `env` names others. */
async function examine(t: TestContext, env: Env, ...options: string[]): Promise<Examined> {
  const cwd = await temporaryFolder(t);
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const given = { SMTP_PORT: `${smtp}`, HTTP_PORT: `${http}`, UV_THREADPOOL_SIZE: '32', ...env };
  const { code, stdout, stderr } = await createTestCli({ compose, cwd, env: given }).run(
    'doctor',
    '--json',
    ...options,
  );
  assert.doesNotMatch(stderr, /unexpected|\n\s+at /);
  assert.deepEqual(await readdir(cwd), [], 'nothing is made');
  const report = JSON.parse(stdout) as { broken: boolean; findings: Finding[] };
  assert.equal(report.broken, code === 1);
  return { code, findings: report.findings };
}

function assertFinds({ code, findings }: Examined, check: string, state: Finding['state'], words: RegExp): void {
  const found = findings.find((one) => one.check === check && one.state === state && words.test(one.found));
  assert.ok(found, `${state} ${check} ${words} is not among\n${JSON.stringify(findings, null, 1)}`);
  assert.equal(found.mend === null, state === 'ok');
  assert.equal(code, findings.some((one) => one.state === 'broken') ? 1 : 0);
}

async function listener(t: TestContext, talk: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    talk(socket);
    cleanUp(t, () => void socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => void server.close());
  return (server.address() as { port: number }).port;
}

async function database(t: TestContext, ...statements: string[]): Promise<string> {
  const { url, close } = await createTestDatabase();
  cleanUp(t, close);
  await query(url, ...statements.map((sql) => sql.replaceAll('{database}', new URL(url).pathname.slice(1))));
  return url;
}

async function query(url: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const sql of statements) await client.query(sql);
  } finally {
    await client.end();
  }
}

/** Another login to the same database, gone after the test. */
async function otherLogin(t: TestContext, url: string): Promise<string> {
  const name = `login_${randomBytes(6).toString('hex')}`;
  await query(url, `CREATE ROLE ${name} LOGIN PASSWORD 'secret-password'`);
  cleanUp(t, () => query(url, `DROP ROLE ${name}`));
  const other = new URL(url);
  other.username = name;
  other.password = 'secret-password';
  return other.href;
}

test('before the first start all is in order, and nothing is made', async (t) => {
  const examined = await examine(t, {});
  assert.deepEqual(
    examined.findings.filter(({ state }) => state === 'broken'),
    [],
  );
  assertFinds(examined, 'database', 'ok', /none yet: start makes/);
  assertFinds(examined, 'data folder', 'ok', /not there yet: start makes it/);
  assertFinds(examined, 'object store', 'ok', /not there yet: start makes it/);
});

test('beside a running server it says so, and nothing is broken; after it, the database is looked at as well', async (t) => {
  const dataDir = await temporaryFolder(t);
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const env = { SMTP_PORT: `${smtp}`, HTTP_PORT: `${http}`, DATA_DIR: dataDir };
  const product = await startProduct(t, { dataDir, env });
  const during = await examine(t, env);
  assert.deepEqual(
    during.findings.filter(({ state }) => state === 'broken'),
    [],
  );
  assertFinds(during, 'smtp port', 'ok', /our own server runs/);
  assertFinds(during, 'http port', 'ok', /our own server runs .* is ready/);
  assertFinds(during, 'durability', 'ok', /waits for its disk/);
  assertFinds(during, 'organisations', 'ok', /there is one/);
  assertFinds(during, 'object store', 'ok', /written, read back and removed/);
  await product.stop();
  const before = await readdir(dataDir, { recursive: true });
  const after = await examine(t, env);
  assertFinds(after, 'smtp port', 'ok', /is free/);
  assertFinds(after, 'schema', 'ok', /up to date/);
  const left = (await readdir(dataDir, { recursive: true })).filter((name) => !name.includes('pg_wal'));
  assert.deepEqual(
    left.filter((name) => !before.includes(name) && !name.startsWith('postgres/data/')),
    [],
  );
});

test('wrong settings are findings, all at once, without their secrets', async (t) => {
  const env = { SMTP_PORT: 'x', HTTP_PROT: '1', DATABASE_URL: 'mysql://u:hunter2@h/d' };
  const examined = await examine(t, env);
  assertFinds(examined, 'settings', 'broken', /SMTP_PORT is "x"/);
  assertFinds(examined, 'settings', 'broken', /HTTP_PROT is not a setting/);
  assertFinds(examined, 'settings', 'broken', /DATABASE_URL/);
  assertFinds(examined, 'node', 'ok', /Node/);
  assert.doesNotMatch(JSON.stringify(examined), /hunter2/);
});

test('a port that another program has is told from our own', { timeout: 60_000 }, async (t) => {
  const postfix = await listener(t, (socket) => {
    socket.write('220 mail.example.com ESMTP Postfix\r\n');
    socket.on('data', () => socket.write('250 mail.example.com\r\n').valueOf() && socket.end());
  });
  const web = await listener(t, (socket) => {
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'));
  });
  const silent = await listener(t, () => {});
  const examined = await examine(t, { SMTP_PORT: `${postfix}`, HTTP_PORT: `${web}` });
  assertFinds(examined, 'smtp port', 'broken', /is taken by another program/);
  assertFinds(examined, 'http port', 'broken', /is taken by another program/);
  const hanging = await examine(t, { SMTP_PORT: `${silent}`, HTTP_PORT: `${silent}` });
  assertFinds(hanging, 'smtp port', 'broken', /is taken by another program/);
  assertFinds(hanging, 'http port', 'broken', /are both/);
  const elsewhere = await examine(t, { SMTP_HOST: '192.0.2.1', HTTP_HOST: 'no-such-host.invalid' });
  assertFinds(elsewhere, 'smtp port', 'broken', /no address of this machine/);
  assertFinds(elsewhere, 'http port', 'broken', /192|resolve|EAI_AGAIN/);
});

test('a database that refuses or is not there is told in words and without its password', {
  timeout: 60_000,
}, async (t) => {
  const there = await database(t);
  const other = new URL(there);
  other.pathname = '/no_such_database';
  const wrongPassword = new URL(there);
  wrongPassword.password = 'hunter2';
  const cases = [
    ['postgresql://app:hunter2@127.0.0.1:9/orders', /127\.0\.0\.1:9, database "orders", refuses connections/],
    [other.href, /"no_such_database", does not exist/],
    [wrongPassword.href, /refuses the password/],
  ] as const;
  const all = await Promise.all(
    cases.map(async ([url, words]) => [await examine(t, { DATABASE_URL: url }), words] as const),
  );
  for (const [examined, words] of all) {
    assertFinds(examined, 'database', 'broken', words);
    assert.doesNotMatch(JSON.stringify(examined), /hunter2/);
  }
});

for (const [what, statements, check, state, words] of [
  ['runs with fsync=off', [], 'durability', 'broken', /fsync=off/],
  ['runs with full_page_writes=off', [], 'durability', 'broken', /full_page_writes=off/],
  ['runs with synchronous_commit=off', [], 'durability', 'warning', /synchronous_commit is off/],
  ['has no organisation', [], 'organisations', 'warning', /none: every mail is refused/],
  [
    'has disabled organisations only',
    [`INSERT INTO org (slug, settings_json) VALUES ('acme', '{"disabled": true}')`],
    'organisations',
    'warning',
    /all are disabled/,
  ],
  [
    'lacks a migration',
    [`DELETE FROM schema_migration WHERE name <> '0001_inbound'`],
    'schema',
    'warning',
    /older than this program: 0002/,
  ],
  [
    'was migrated by a newer program',
    [`INSERT INTO schema_migration (name, run_on) VALUES ('9999_future', now())`],
    'schema',
    'broken',
    /newer program \(9999_future\)/,
  ],
  [
    'has no room for our connections',
    ['ALTER DATABASE {database} CONNECTION LIMIT 5'],
    'connections',
    'broken',
    /allows 5 connections/,
  ],
  [
    'is read-only',
    ['ALTER DATABASE {database} SET default_transaction_read_only = on'],
    'database',
    'broken',
    /nothing can be written/,
  ],
] as const) {
  test(`a database that ${what}: ${state}`, async (t) => {
    const DATABASE_URL = await database(t, ...statements);
    assertFinds(await examine(t, { DATABASE_URL }), check, state, words);
  });
}

for (const [what, statements, state, words] of [
  ['is not there', [], 'warning', /no organisation desk, so mail to postmaster is answered 451/],
  ['is there', [`INSERT INTO org (slug) VALUES ('desk')`], 'ok', /recorded for desk/],
  [
    'is disabled',
    [`INSERT INTO org (slug, settings_json) VALUES ('desk', '{"disabled": true}')`],
    'warning',
    /organisation desk is disabled/,
  ],
] as const) {
  test(`an organisation named for postmaster that ${what}: ${state}`, async (t) => {
    const DATABASE_URL = await database(t, ...statements);
    assertFinds(await examine(t, { DATABASE_URL, SMTP_POSTMASTER_ORG: 'desk' }), 'postmaster', state, words);
  });
}

test('a database of another encoding is broken; an empty one waits for its first start', async (t) => {
  const url = await database(t);
  const name = `latin_${randomBytes(6).toString('hex')}`;
  await query(url, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'`);
  cleanUp(t, () => query(url, `DROP DATABASE ${name} WITH (FORCE)`));
  const other = new URL(url);
  other.pathname = `/${name}`;
  const examined = await examine(t, { DATABASE_URL: other.href });
  assertFinds(examined, 'database', 'broken', /its encoding is LATIN1/);
  assertFinds(examined, 'schema', 'ok', /not set up yet: run `migrate`/);
  await query(other.href, 'CREATE TABLE schema_migration (id SERIAL PRIMARY KEY, name TEXT, run_on TIMESTAMP)');
  const refused = await examine(t, { DATABASE_URL: other.href });
  assertFinds(refused, 'schema', 'ok', /not set up yet: run `migrate`/);
  assertFinds(examined, 'login', 'ok', /may do all/);
});

test('a login that does not own the tables, and may not take the role, is told how to be mended', async (t) => {
  const url = await database(t);
  const examined = await examine(t, { DATABASE_URL: await otherLogin(t, url) });
  assertFinds(
    examined,
    'login',
    'broken',
    /blocked_sender, document, inbound_conflict, inbound_message, org belong to another/,
  );
  assertFinds(examined, 'login', 'broken', /may not take the role orderflow_tenant/);
  assert.doesNotMatch(JSON.stringify(examined), /secret-password/);
});

test('a pooler in transaction mode is seen through, and its size is held against what is needed', {
  timeout: 120_000,
}, async (t) => {
  const why = noPooler();
  if (why !== null) return missing(t, 'pgbouncer', why);
  const url = await database(t, `INSERT INTO org (slug) VALUES ('acme')`);
  for (const mode of ['transaction', 'statement', 'session'] as const) {
    const pooler = await startPooler(t, url, [`pool_mode = ${mode}`]);
    const examined = await examine(t, { DATABASE_URL: pooler.url });
    const seen = examined.findings.some(({ found }) => found.includes('transaction mode'));
    assert.equal(seen, mode !== 'session', JSON.stringify(examined.findings));
  }
  const DATABASE_URL = (await startPooler(t, url, [])).url;
  const [fits, many] = [await examine(t, { DATABASE_URL }), await examine(t, { DATABASE_URL }, '--processes', '4')];
  assertFinds(fits, 'connections', 'ok', /all processes of one start may open 19 \(6 to take mail, 9 to read it/);
  assertFinds(fits, 'connections', 'ok', /a pooler in between, whose size cannot be seen .* default is 20/);
  assertFinds(many, 'connections', 'warning', /cannot be seen .* default is 20\); 37 connections are needed/);
  const told = (await startPooler(t, url, ['default_pool_size = 12', 'stats_users = {user}'])).url;
  assertFinds(await examine(t, { DATABASE_URL: told }), 'connections', 'broken', /gives 12 connections; 19 are needed/);
});

test('an S3 store that refuses, hangs, lacks the bucket or knows us not; the bucket is made when asked for', {
  timeout: 120_000,
}, async (t) => {
  const why = noS3Server();
  if (why !== null) return missing(t, 'an S3 server', why);
  const server = await startS3Server();
  cleanUp(t, server.close);
  const settings = await server.newBucket();
  const env = s3Environment(settings);
  const absent = { ...env, OBJECT_STORAGE_BUCKET: 'not-made-yet' };
  for (const [given, words] of [
    [absent, /OBJECT_STORAGE_BUCKET/],
    [{ ...env, OBJECT_STORAGE_SECRET_KEY: 'hunter2-hunter2' }, /OBJECT_STORAGE_SECRET_KEY/],
    [{ ...env, OBJECT_STORAGE_ENDPOINT: 'http://127.0.0.1:9' }, /OBJECT_STORAGE_ENDPOINT.*127\.0\.0\.1:9/],
  ] as const) {
    const examined = await examine(t, given);
    assertFinds(examined, 'object store', 'broken', words);
    assert.doesNotMatch(JSON.stringify(examined), /hunter2/);
  }
  const fine = await examine(t, env);
  assertFinds(fine, 'object store', 'ok', /written, read back and removed/);
  assertFinds(fine, 'clock', 'ok', /agrees with that of the object store/);
  assertFinds(await examine(t, absent, '--create-bucket'), 'object store', 'ok', /not-made-yet .* was made/);
  assertFinds(await examine(t, absent, '--create-bucket'), 'object store', 'ok', /not-made-yet at /);
});

test('a certificate that is missing, over or for another name', async (t) => {
  const why = opensslProblem();
  if (why !== null) return missing(t, 'openssl', why);
  const examineWith = async (wish: CertificateWish) => {
    const { certFile, keyFile } = await makeCertificate(t, wish);
    return examine(t, { SMTP_TLS_CERT_FILE: certFile, SMTP_TLS_KEY_FILE: keyFile });
  };
  const name = 'orderflow.example.com';
  assertFinds(await examineWith({ name, days: -1 }), 'certificate', 'broken', /expired on/);
  assertFinds(
    await examineWith({ name: 'mx.example', days: 90 }),
    'certificate',
    'warning',
    /is for mx\.example, not for/,
  );
  assertFinds(await examineWith({ name, days: 90 }), 'certificate', 'ok', /is valid/);
  const absent = await examine(t, { SMTP_TLS_CERT_FILE: '/no/such.crt', SMTP_TLS_KEY_FILE: '/no/such.key' });
  assertFinds(absent, 'certificate', 'broken', /SMTP_TLS_CERT_FILE.*\/no\/such\.crt/);
});

test('a Redis that refuses, and one that may forget', { timeout: 60_000 }, async (t) => {
  const refusing = await examine(t, { REDIS_URL: 'redis://:hunter2@127.0.0.1:9' });
  assertFinds(refusing, 'redis', 'broken', /^REDIS_URL: Redis /);
  assert.doesNotMatch(JSON.stringify(refusing), /hunter2/);
  const redis = await startTestRedis(t, { args: ['--maxmemory-policy', 'allkeys-lru'] });
  if (redis === null) return;
  const examined = await examine(t, { REDIS_URL: redis.url });
  assertFinds(examined, 'redis', 'ok', /can be reached/);
  assertFinds(examined, 'redis', 'warning', /maxmemory-policy is allkeys-lru/);
});

test('a collector of spans that is away, one that refuses, and one that takes them; none of it is broken', {
  timeout: 60_000,
}, async (t) => {
  const ask = (url: string) =>
    examine(t, { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_HEADERS: 'authorization=hunter2' });
  const receiver = await startOtlpReceiver(t);
  assertFinds(await ask(receiver.url), 'tracing', 'ok', /takes spans/);
  assert.equal(receiver.headers[0]?.authorization, 'hunter2');
  receiver.answer(401);
  const refused = await ask(receiver.url);
  assertFinds(refused, 'tracing', 'warning', /^OTEL_EXPORTER_OTLP_ENDPOINT: http:.* answers HTTP 401/);
  assert.doesNotMatch(JSON.stringify(refused), /hunter2/);
  const away = await ask(`http://127.0.0.1:${await freePort()}`);
  assertFinds(away, 'tracing', 'warning', /cannot be asked \(ECONNREFUSED\)/);
});

test('database, store and Redis that take connections and never answer are findings', {
  timeout: 60_000,
}, async (t) => {
  const port = await listener(t, () => {});
  const examined = await examine(t, {
    DATABASE_URL: `postgresql://app:hunter2@127.0.0.1:${port}/orders`,
    REDIS_URL: `redis://:hunter2@127.0.0.1:${port}`,
    OBJECT_STORAGE_ENDPOINT: `http://127.0.0.1:${port}`,
    OBJECT_STORAGE_BUCKET: 'orders',
    OBJECT_STORAGE_ACCESS_KEY: 'hunter2hunter2',
    OBJECT_STORAGE_SECRET_KEY: 'hunter2hunter2',
  });
  for (const check of ['database', 'object store', 'redis'])
    assertFinds(examined, check, 'broken', /127\.0\.0\.1|answer/);
  assertFinds(examined, 'node', 'ok', /Node/);
  assert.doesNotMatch(JSON.stringify(examined), /hunter2/);
});

test('object files whose place is on another file system cannot be renamed into it', async (t) => {
  if (!existsSync('/dev/shm')) return missing(t, '/dev/shm', 'Linux has it');
  const dataDir = await temporaryFolder(t);
  const elsewhere = await mkdtemp('/dev/shm/orderflow-test-');
  cleanUp(t, () => rm(elsewhere, { recursive: true }));
  await mkdir(join(dataDir, 'objects'));
  await symlink(elsewhere, join(dataDir, 'objects', 'mounted'));
  const mounted = await examine(t, { DATA_DIR: dataDir });
  assertFinds(mounted, 'object store', 'broken', /mounted lies on another file system/);
  await rm(join(dataDir, 'objects', 'mounted'));
  await symlink(elsewhere, join(dataDir, 'objects', '+incoming'));
  const incoming = await examine(t, { DATA_DIR: dataDir });
  assertFinds(incoming, 'object store', 'broken', /\+incoming lies on another file system/);
  assert.deepEqual(await readdir(elsewhere), [], 'no probe is left');
  const inMemory = await examine(t, { DATA_DIR: elsewhere });
  assertFinds(inMemory, 'disk', 'warning', /lies in memory \(tmpfs\)/);
  assertFinds(inMemory, 'data folder', 'ok', /can be written/);
});

test('a data folder that is a file', async (t) => {
  const dataDir = join(await temporaryFolder(t), 'data');
  await writeFile(dataDir, '');
  assertFinds(await examine(t, { DATA_DIR: dataDir }), 'data folder', 'broken', /is a file/);
});

const PROGRAM = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));

/** As a process of its own: for limits, and for what root is never refused. */
async function examineApart(
  t: TestContext,
  o: { env: Env; prefix?: readonly string[]; uid?: number },
): Promise<Examined> {
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const env = { ...bareEnvironment(), SMTP_PORT: `${smtp}`, HTTP_PORT: `${http}`, ...o.env };
  const [file = '', ...args] = [...(o.prefix ?? []), process.execPath, PROGRAM, 'doctor', '--json'];
  const options = { env, cwd: await temporaryFolder(t), timeout: 60_000, ...(o.uid ? { uid: o.uid, gid: o.uid } : {}) };
  return new Promise((resolve, reject) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      if (stdout === '') reject(new Error(stderr || String(error)));
      else resolve({ code: error?.code ?? 0, findings: JSON.parse(stdout).findings });
    });
  });
}

test('too few file descriptors for the connections that are promised', async (t) => {
  const few = await examineApart(t, { env: {}, prefix: ['/bin/sh', '-c', 'ulimit -n 300; exec "$@"', 'sh'] });
  assertFinds(few, 'descriptors', 'broken', /only 300 files may be open; SMTP_MAX_CONNECTIONS=1000 needs 2200/);
});

test('a folder that an ordinary user may not write', async (t) => {
  const dataDir = await temporaryFolder(t);
  const asRoot = process.getuid?.() === 0;
  await mkdir(join(dataDir, 'objects', '+incoming'), { recursive: true });
  await chmod(join(dataDir, 'objects'), 0o555);
  await chmod(dataDir, 0o555);
  cleanUp(t, () => chmod(dataDir, 0o755));
  cleanUp(t, () => chmod(join(dataDir, 'objects'), 0o755));
  const run = (env: Env) => examineApart(t, { env, ...(asRoot ? { uid: 65534 } : {}) });
  const examined = await run({ DATA_DIR: dataDir });
  assertFinds(examined, 'data folder', 'broken', /cannot be written \(EACCES\)/);
  assertFinds(examined, 'object store', 'broken', /cannot be used \(EACCES\)/);
  assertFinds(await run({ DATA_DIR: join(dataDir, 'new') }), 'data folder', 'broken', /not there, and cannot be made/);
  assertFinds(await run({ SMTP_PORT: '25' }), 'smtp port', 'broken', /no permission for that port|taken/);
});

test('a disk that says "written" before it is', async (t) => {
  const library = ['/usr/lib/x86_64-linux-gnu/libeatmydata.so', '/usr/lib/aarch64-linux-gnu/libeatmydata.so'].find(
    existsSync,
  );
  if (library === undefined) return missing(t, 'libeatmydata', 'apt install libeatmydata1');
  const lying = await examineApart(t, { env: { LD_PRELOAD: library } });
  assertFinds(lying, 'disk', 'warning', /less than any disk/);
  const honest = await examineApart(t, { env: {} });
  assert.ok(
    !honest.findings.some(({ found }) => found.includes('less than any disk')),
    JSON.stringify(honest.findings),
  );
});

test('for people: one line each, the remedy below it, colours on a terminal only', async () => {
  const found: readonly Finding[] = [
    { check: 'disk', state: 'ok', found: 'roomy', mend: null },
    { check: 'smtp port', state: 'broken', found: 'taken by \u001b[31mx', mend: 'choose another' },
  ];
  const fake = { compose: { examine: async () => found } };
  const { code, stdout, stderr } = await createTestCli(fake).run('doctor');
  assert.equal(code, 1);
  assert.equal(stderr, 'error: 1 broken, 0 to be warned of, 2 in order\n');
  assert.equal(
    stdout,
    'ok       settings   all are of the right form\n' +
      'ok       disk       roomy\n' +
      'broken   smtp port  taken by \\u{1b}[31mx\n' +
      `${' '.repeat(20)}to mend: choose another\n`,
  );
  const coloured = await createTestCli({ ...fake, terminal: true }).run('doctor');
  assert.match(coloured.stdout, /\u001b\[31mbroken \u001b\[39m/);
  const plain = await createTestCli({ ...fake, terminal: true, env: { NO_COLOR: '1' } }).run('doctor');
  assert.equal(plain.stdout, stdout);
});

test('a bucket cannot be made where there is no S3 store', async () => {
  const { code, stderr } = await createTestCli().run('doctor', '--create-bucket');
  assert.equal(code, 2);
  assert.match(stderr, /OBJECT_STORAGE_ENDPOINT is not set/);
});
