/** Damage made for real, on disk beside PostgreSQL, and found by `reconcile --verify`; runs that are stopped go on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import pino from 'pino';
import { createFileStoreMarks } from '../adapters/fs/marks.ts';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPostgresVerification } from '../adapters/postgres/verification.ts';
import { createTestCli } from '../cli/test-context.ts';
import * as compose from '../compose/index.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { bareEnvironment } from '../testing/environment.ts';
import { addOrganisation, openTestPool } from '../testing/postgres-fixtures.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import {
  rotten,
  type StoredRow,
  sha256Of,
  storeDocument,
  storeMails,
  storeOneOfEach,
} from '../testing/verified-house.ts';
import { waitFor } from '../testing/wait-for.ts';
import { createStoreWatch } from './store-watch.ts';
import { type VerifyOptions, verify } from './verify.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));
const log = pino({ level: 'silent' });

interface House {
  readonly pool: pg.Pool;
  readonly env: Readonly<Record<string, string>>;
  readonly dataDir: string;
  readonly objects: ObjectStore;
  readonly watch: VerifyOptions['watch'];
  put(key: string, bytes: Buffer): Promise<void>;
  path(key: string): string;
  cli(o?: { terminal?: boolean }): ReturnType<typeof createTestCli>;
  /** `reconcile --verify --json`. */
  run(...options: string[]): Promise<{ code: number; stderr: string; report: Report }>;
  /** Without the command. */
  verify(over?: Partial<VerifyOptions>): ReturnType<typeof verify>;
}

interface Report {
  readonly run_id: string;
  readonly resumed: boolean;
  readonly ended: boolean;
  readonly objects: { verified: number; verified_bytes: number; total_at_start: number; without_digest: number };
  readonly problems: number;
  readonly found: readonly { problem: string; kind: string; id: string; org_id: string; storage_key: string }[];
}

async function openHouse(t: TestContext): Promise<House> {
  const { pool, url } = await openTestPool(t);
  const dataDir = await temporaryFolder(t);
  const rootDir = join(dataDir, 'objects');
  const objects = await createFileObjectStore({ rootDir, keepLeftovers: true });
  const marks = createFileStoreMarks({ rootDir });
  const watch = createStoreWatch({ marks, memory: createPostgresMarkMemory({ pool }), objects, log });
  await watch.visit();
  const env = { DATABASE_URL: url, DATA_DIR: dataDir };
  const path = (key: string): string => join(rootDir, key);
  const cli: House['cli'] = (o = {}) => createTestCli({ compose, cwd: dataDir, env, ...o });
  return {
    pool,
    env,
    dataDir,
    objects,
    watch,
    path,
    cli,
    async put(key, bytes) {
      await mkdir(dirname(path(key)), { recursive: true });
      await writeFile(path(key), bytes);
    },
    async run(...options) {
      const { code, stdout, stderr } = await cli().run('reconcile', '--verify', '--json', ...options);
      return { code, stderr, report: JSON.parse(stdout === '' ? 'null' : stdout) };
    },
    verify: (over = {}) =>
      verify({
        objects,
        rows: createPostgresVerification({ pool }),
        watch,
        log,
        bytesPerSecond: null,
        signal: new AbortController().signal,
        onProgress: () => {},
        ...over,
      }),
  };
}

const problemsOf = ({ found }: Report): readonly string[] =>
  found.map(({ problem, kind, id, storage_key }) => `${problem} ${kind} ${id} ${storage_key}`).sort();

/** Everything that it must not change. */
async function facts({ pool, dataDir }: House): Promise<unknown> {
  const tables = ['inbound_message', 'inbound_conflict', 'document', 'store_mark', 'store_gap', 'audit_log'];
  const rows = await Promise.all(tables.map((table) => pool.query(`SELECT * FROM ${table} ORDER BY id`)));
  const jobs = await pool.query('SELECT id, payload FROM graphile_worker._private_jobs ORDER BY id');
  return [rows.map((each) => each.rows), jobs.rows, (await readdir(dataDir, { recursive: true })).sort()];
}

test('what is whole is said to be; each run is a new one', async (t) => {
  const house = await openHouse(t);
  const { parsed } = await storeOneOfEach(house.pool, house.put);
  const before = await facts(house);
  const { code, report, stderr } = await house.run();
  assert.deepEqual([code, stderr], [0, '']);
  const { objects, problems, ended, resumed, run_id } = report;
  assert.deepEqual(objects, { verified: 4, verified_bytes: 8_000, without_digest: 0, total_at_start: 4 });
  assert.deepEqual([problems, ended, resumed], [0, true, false]);
  await house.put(parsed.key, rotten(parsed.bytes));
  const again = await house.run();
  assert.deepEqual([again.code, again.report.problems, again.report.resumed], [1, 1, false]);
  assert.notEqual(again.report.run_id, run_id);
  assert.deepEqual(await facts(house), before);
});

for (const [name, problem, damage] of [
  ['a bit that has flipped', 'wrong_digest', (h: House, row: StoredRow) => h.put(row.key, rotten(row.bytes))],
  ['an end that is cut off', 'wrong_size', (h: House, row: StoredRow) => truncate(h.path(row.key), 1_999)],
  ['a longer object', 'wrong_size', (h: House, { key, bytes }: StoredRow) => h.put(key, Buffer.concat([bytes, bytes]))],
  ['an object that is gone', 'missing', (h: House, row: StoredRow) => rm(h.path(row.key))],
] as const) {
  test(`of each kind, also of a FAILED mail: ${name} is found, and no row is changed`, async (t) => {
    const house = await openHouse(t);
    const { parsed, failed, conflict, document } = await storeOneOfEach(house.pool, house.put);
    const whole = await storeDocument(house.pool, house.put, parsed);
    for (const row of [parsed, failed, conflict, document]) await damage(house, row);
    const before = await facts(house);
    const { code, report, stderr } = await house.run();
    assert.equal(code, 1);
    assert.deepEqual(
      problemsOf(report),
      [
        `${problem} message ${parsed.id} ${parsed.key}`,
        `${problem} message ${failed.id} ${failed.key}`,
        `${problem} conflict ${conflict.id} ${conflict.key}`,
        `${problem} document ${document.id} ${document.key}`,
      ].sort(),
    );
    assert.equal(report.objects.verified, 5);
    assert.ok(!stderr.includes(whole.id));
    assert.match(stderr, /error: 4 objects are not what their rows say\n$/);
    assert.deepEqual(await facts(house), before);
  });
}

test('an object that the disk does not give is told, and the others are read', async (t) => {
  const house = await openHouse(t);
  const { document } = await storeOneOfEach(house.pool, house.put);
  await rm(house.path(document.key));
  await symlink(house.path(document.key), house.path(document.key)); // ELOOP: the name is there, and cannot be opened.
  const { code, report, stderr } = await house.run();
  assert.deepEqual([code, problemsOf(report)], [1, [`unreadable document ${document.id} ${document.key}`]]);
  assert.equal(report.objects.verified, 4);
  assert.match(stderr, new RegExp(`warning: document ${document.id}: object ${document.key} cannot be read`));
  assert.match(stderr, /an object cannot be read.*ELOOP|ELOOP.*an object cannot be read/);
});

test('documents that were erased, or are not stored yet, have no object to be looked for', async (t) => {
  const house = await openHouse(t);
  const { parsed } = await storeOneOfEach(house.pool, house.put);
  const [erased, coming] = [
    await storeDocument(house.pool, house.put, parsed, 'FAILED'),
    await storeDocument(house.pool, house.put, parsed, 'UPLOADED'),
  ];
  for (const { key } of [erased, coming]) await rm(house.path(key));
  await house.pool.query('UPDATE document SET storage_key = NULL WHERE id = $1', [erased.id]);
  const { code, report } = await house.run();
  assert.deepEqual([code, report.objects.verified], [0, 4]);
});

test('rows without a digest are read, and counted as such', async (t) => {
  const house = await openHouse(t);
  const { conflict } = await storeOneOfEach(house.pool, house.put);
  await house.pool.query('UPDATE inbound_conflict SET raw_sha256 = NULL');
  await house.put(conflict.key, rotten(conflict.bytes));
  const { code, report } = await house.run();
  assert.deepEqual([code, report.objects.without_digest], [0, 1]);
  await rm(house.path(conflict.key));
  assert.equal((await house.run()).code, 1);
});

/** An object store that does something just before this key is read for the first time. */
function before(objects: ObjectStore, key: string, act: () => Promise<unknown>): Pick<ObjectStore, 'get'> {
  let acted = false;
  return {
    async get(asked, options) {
      if (asked === key && !acted) {
        acted = true;
        await act();
      }
      return objects.get(asked, options);
    },
  };
}

test('an object that goes with its row while it is being read is no problem', async (t) => {
  const house = await openHouse(t);
  const { document } = await storeOneOfEach(house.pool, house.put);
  const objects = before(house.objects, document.key, async () => {
    await house.pool.query('DELETE FROM document WHERE id = $1', [document.id]);
    await rm(house.path(document.key));
  });
  const { ended, run } = await house.verify({ objects });
  assert.deepEqual([ended, run.progress.problems], [true, []]);
});

test('a row that changes with its object is held to what it says now', async (t) => {
  const house = await openHouse(t);
  const { document } = await storeOneOfEach(house.pool, house.put);
  const change = (row: Buffer, object: Buffer) => async (): Promise<void> => {
    const values = [document.id, row.length, sha256Of(row)];
    await house.pool.query('UPDATE document SET size_bytes = $2, sha256 = $3 WHERE id = $1', values);
    await house.put(document.key, object);
  };
  const [next, after] = [Buffer.from('read again'), Buffer.from('read again and again')];
  const whole = await house.verify({ objects: before(house.objects, document.key, change(next, next)) });
  assert.deepEqual(whole.run.progress.problems, []);
  const broken = await house.verify({ objects: before(house.objects, document.key, change(after, rotten(after))) });
  assert.deepEqual(
    broken.run.progress.problems.map(({ id, problem }) => [id, problem]),
    [[document.id, 'wrong-digest']],
  );
});

test('a document whose message is read again may have its next bytes before its row says so', async (t) => {
  const house = await openHouse(t);
  const orgId = await addOrganisation(house.pool, 'acme');
  const [mail] = await storeMails(house.pool, house.put, { orgId, count: 1, status: 'RECEIVED' });
  assert.ok(mail);
  const document = await storeDocument(house.pool, house.put, mail);
  await house.put(document.key, Buffer.from('of the next reading'));
  assert.equal((await house.run()).code, 0);
  for (const status of ['STORED', 'PARSED']) await house.pool.query('UPDATE inbound_message SET status = $1', [status]);
  assert.equal((await house.run()).code, 1, 'and not once it has ended');
});

/** Mails that take some seconds at a megabyte a second. */
async function slowHouse(t: TestContext) {
  const house = await openHouse(t);
  const orgId = await addOrganisation(house.pool, 'acme');
  const mails = await storeMails(house.pool, house.put, { orgId, count: 60, sizeBytes: 100_000 });
  const [first, second] = mails as [StoredRow, StoredRow];
  const document = await storeDocument(house.pool, house.put, first);
  for (const row of [second, document]) await house.put(row.key, rotten(row.bytes));
  const verifiedSoFar = async (): Promise<number> =>
    (await house.pool.query<{ rows: number }>('SELECT rows FROM reconcile_run WHERE ended_at IS NULL')).rows[0]?.rows ??
    0;
  /** What was verified before the stop is damaged, and what was damaged is whole again: neither may be looked at once more. */
  const swap = async (): Promise<void> => {
    await house.put(first.key, rotten(first.bytes));
    await house.put(second.key, second.bytes);
  };
  const goesOn = async (): Promise<void> => {
    await swap();
    const { code, report } = await house.run();
    assert.deepEqual([code, report.resumed, report.ended, report.objects.verified], [1, true, true, 61]);
    assert.equal(report.objects.verified_bytes, 60 * 100_000 + 2_000);
    const expected = [
      `wrong_digest message ${second.id} ${second.key}`,
      `wrong_digest document ${document.id} ${document.key}`,
    ];
    assert.deepEqual(problemsOf(report), expected.sort());
    const next = await house.run();
    assert.deepEqual([next.report.resumed, next.report.problems], [false, 2]);
    assert.ok(
      next.report.found.some(({ id }) => id === first.id),
      'the next run reads all of them again',
    );
  };
  return { house, verifiedSoFar, goesOn };
}

test('stopped by a signal it saves its place, and goes on there with what was found before', async (t) => {
  const { house, verifiedSoFar, goesOn } = await slowHouse(t);
  const cli = house.cli();
  const running = cli.run('reconcile', '--verify', '--rate', '1', '--json');
  await waitFor(async () => (await verifiedSoFar()) >= 2, { what: 'two objects' });
  await sleep(500); // So that there is something that is not saved yet.
  cli.signal('SIGTERM');
  const stopped = await running;
  const report: Report = JSON.parse(stopped.stdout);
  assert.deepEqual([stopped.code, report.ended, report.problems], [1, false, 1]);
  assert.match(stopped.stderr, /error: interrupted: run it again, and it goes on there\n$/);
  assert.ok(report.objects.verified < 50, 'it was in the middle');
  assert.equal(await verifiedSoFar(), report.objects.verified, 'the place is exact');
  await goesOn();
});

test('killed, it goes on where it last said to be', async (t) => {
  const { house, verifiedSoFar, goesOn } = await slowHouse(t);
  const child = spawn(process.execPath, [PROGRAM, 'reconcile', '--verify', '--rate', '1'], {
    cwd: house.dataDir,
    env: { ...bareEnvironment(), ...house.env },
    stdio: 'ignore',
  });
  const exit = once(child, 'exit');
  cleanUp(t, () => void child.kill('SIGKILL'));
  await waitFor(async () => (await verifiedSoFar()) >= 8, { what: 'eight objects', timeoutMs: 30_000 });
  child.kill('SIGKILL');
  await exit;
  assert.ok((await verifiedSoFar()) < 50, 'it was in the middle');
  // Its lock goes with its connection.
  await waitFor(async () => (await house.pool.query(LOCKS)).rowCount === 0, { what: 'the lock of the killed one' });
  await goesOn();
});

const LOCKS = `SELECT FROM pg_locks WHERE locktype = 'advisory'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;

test('--rate holds it back', async (t) => {
  const house = await openHouse(t);
  const orgId = await addOrganisation(house.pool, 'acme');
  await storeMails(house.pool, house.put, { orgId, count: 15, sizeBytes: 100_000 });
  const startedAt = performance.now();
  assert.equal((await house.run('--rate', '1')).code, 0);
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs >= 1_400, `1.5 MB at 1 MB/s took ${Math.round(tookMs)} ms`);
});

test('of many problems the first thousand are kept, and all are counted; pages are crossed', {
  timeout: 120_000,
}, async (t) => {
  const house = await openHouse(t);
  const orgId = await addOrganisation(house.pool, 'acme');
  await storeMails(house.pool, house.put, { orgId, count: 600, sizeBytes: 10 });
  await house.pool.query(
    `INSERT INTO inbound_message (id, org_id, source, source_message_id, received_at, raw_storage_key, size_bytes, raw_sha256, status)
     SELECT id, $1::uuid, 'EMAIL', id::text, now(), $1::uuid || '/2026/03/' || id || '.eml', 10, 'x', 'RECEIVED'
     FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 1003)) AS made`,
    [orgId],
  );
  const { code, report, stderr } = await house.run();
  assert.deepEqual([code, report.objects.verified, report.problems], [1, 1_603, 1_003]);
  assert.equal(new Set(report.found.map(({ id }) => id)).size, 1_000);
  assert.match(stderr, /warning: and 983 more; --json has the first 1000\n/);
});

test('memory does not grow with the object', async (t) => {
  const house = await openHouse(t);
  const { parsed } = await storeOneOfEach(house.pool, house.put);
  const sizeBytes = 400_000_000;
  await truncate(house.path(parsed.key), sizeBytes);
  await house.pool.query('UPDATE inbound_message SET size_bytes = $2 WHERE id = $1', [parsed.id, sizeBytes]);
  let peak = 0;
  const onProgress = (): void => {
    peak = Math.max(peak, process.memoryUsage().arrayBuffers);
  };
  const { run } = await house.verify({ onProgress });
  assert.deepEqual(
    run.progress.problems.map(({ problem, found }) => [problem, found?.sizeBytes]),
    [['wrong-digest', sizeBytes]],
  );
  assert.ok(peak < 150_000_000, `${peak} bytes were held`);
});

test('a store that is not ours is refused in words, and no run begins', async (t) => {
  const house = await openHouse(t);
  await storeOneOfEach(house.pool, house.put);
  await rename(house.path(''), join(house.dataDir, 'right'));
  const unmounted = await house.run();
  assert.match(unmounted.stderr, /^error: no object store in .*is it mounted\?/);
  await mkdir(house.path('+incoming'), { recursive: true });
  const empty = await house.run();
  assert.deepEqual([unmounted.code, empty.code, empty.report], [1, 1, null]);
  assert.match(empty.stderr, /^error: the object store is not the one this database knows: it holds no mark of it/);
  assert.equal((await house.pool.query('SELECT FROM reconcile_run')).rowCount, 0);
});

test('a store that becomes another in the middle of it ends the run, which finds nothing and goes on later', async (t) => {
  const house = await openHouse(t);
  const { parsed, failed } = await storeOneOfEach(house.pool, house.put);
  const second = parsed.id < failed.id ? failed : parsed;
  const objects = before(house.objects, second.key, async () => {
    await rename(house.path(''), join(house.dataDir, 'right'));
    await mkdir(house.path('+incoming'), { recursive: true });
  });
  await assert.rejects(house.verify({ objects }), /not the one this database knows/);
  await rm(house.path(''), { recursive: true });
  await rename(join(house.dataDir, 'right'), house.path(''));
  const { code, report } = await house.run();
  assert.deepEqual([code, report.problems, report.objects.verified], [0, 0, 4]);
});

test('the command: in words, a bar on a terminal only, one at a time, and beside a reconcile', async (t) => {
  const house = await openHouse(t);
  const { document } = await storeOneOfEach(house.pool, house.put);
  const quiet = await house.cli().run('reconcile', '--verify');
  assert.deepEqual([quiet.code, quiet.stderr], [0, '']);
  assert.match(quiet.stdout, /^verified {6}4 objects \(0\.0 MB\) read and compared with their rows\nwrong {9}0\n$/);
  const shown = await house.cli({ terminal: true }).run('reconcile', '--verify');
  assert.match(shown.stderr, /^\r\u001b\[K\[\.+\] 0 % {2}0 of 4 objects, [0-9.]+ MB\/s/);
  assert.ok(shown.stderr.endsWith('\r\u001b[K'), 'the line is left empty');
  await rm(house.path(document.key));
  const loud = await house.cli().run('reconcile', '--verify');
  assert.equal(loud.code, 1);
  assert.ok(loud.stderr.includes(`warning: document ${document.id}: no object ${document.key}`), loud.stderr);

  const { loadSettings } = await import('../config/load.ts');
  const loaded = loadSettings({ env: house.env, cwd: house.dataDir });
  assert.ok('settings' in loaded);
  const first = await compose.openVerifier({ settings: loaded.settings, log });
  const second = await house.cli().run('reconcile', '--verify');
  assert.deepEqual(
    [second.code, second.stderr],
    [1, 'error: another reconcile --verify is at work on this database\n'],
  );
  assert.equal(
    (await house.cli().run('reconcile', '--dry-run')).code,
    1,
    'a document is missing, and it was looked for',
  );
  await first.close();
});

test('what does not go together is a wrong use', async () => {
  const cli = createTestCli();
  for (const [options, why] of [
    [['--verify', '--dry-run'], /--verify mends nothing/],
    [['--verify', '--redeliver'], /--verify mends nothing/],
    [['--rate', '5'], /--rate is how fast --verify reads/],
    [['--verify', '--rate', '0'], /megabytes a second/],
    [['--verify', '--rate', '-1'], /megabytes a second/],
    [['--verify', '--rate', 'fast'], /megabytes a second/],
  ] as const) {
    const { code, stderr } = await cli.run('reconcile', ...options);
    assert.equal(code, 2, options.join(' '));
    assert.match(stderr, why);
  }
});

test('a run is one row, of which one may be open', async (t) => {
  const house = await openHouse(t);
  const begin = 'INSERT INTO reconcile_run (id, total_rows, total_bytes) VALUES ($1, 0, 0)';
  await house.pool.query(begin, [randomUUID()]);
  await assert.rejects(house.pool.query(begin, [randomUUID()]), /reconcile_run_open/);
});
