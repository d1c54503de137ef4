/** What a crash can leave, made for real in PostgreSQL and on disk, and mended. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import pino from 'pino';
import { v5 as uuidV5, v7 as uuidV7 } from 'uuid';
import { createFileStoreMarks } from '../adapters/fs/marks.ts';
import { createFileObjectStore, removeFileLeftovers } from '../adapters/fs/object-store.ts';
import { createPostgresGapMemory } from '../adapters/postgres/gap-memory.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import { createPostgresReconciliation } from '../adapters/postgres/reconciliation.ts';
import { createTestCli } from '../cli/test-context.ts';
import * as compose from '../compose/index.ts';
import { createRedelivery } from '../intake/redelivery.ts';
import { createRecorder } from '../messages/recorder.ts';
import { isStoreError } from '../ports/object-store.contract.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { addOrganisation, newMessage, openTestPool } from '../testing/postgres-fixtures.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { type ReconcileOptions, type ReconcileReport, reconcile } from './reconcile.ts';
import { type Acquaintance, createStoreWatch } from './store-watch.ts';

const HOUR_MS = 3_600_000;
const log = pino({ level: 'silent' });

interface House {
  readonly pool: pg.Pool;
  readonly url: string;
  readonly dataDir: string;
  readonly rootDir: string;
  readonly orgId: string;
  run(over?: Partial<ReconcileOptions>): Promise<ReconcileReport>;
  visit(): Promise<unknown>;
  adopt(): Promise<unknown>;
  /** An object of this age. Shape: its key. */
  object(id: string, hoursOld: number, o?: { orgId?: string; extension?: string }): Promise<string>;
  /** A mail as the server records it: object, row and job. */
  mail(o?: { hoursOld?: number; status?: string }): Promise<{ id: string; key: string }>;
  /** Every file below the root. */
  files(): Promise<readonly string[]>;
  query<T extends pg.QueryResultRow>(sql: string, ...values: unknown[]): Promise<T[]>;
}

async function openHouse(t: TestContext, over: Partial<Pick<House, 'pool' | 'url' | 'dataDir'>> = {}): Promise<House> {
  const { pool, url } = over.pool && over.url ? { pool: over.pool, url: over.url } : await openTestPool(t);
  const dataDir = over.dataDir ?? (await temporaryFolder(t));
  const rootDir = join(dataDir, 'objects');
  const objects = await createFileObjectStore({ rootDir, keepLeftovers: true });
  const memory = createPostgresMarkMemory({ pool });
  const watch = createStoreWatch({ marks: createFileStoreMarks({ rootDir }), memory, objects, log });
  const rows = createPostgresReconciliation({ pool });
  const messages = createPostgresMessageStore({ pool });
  const query: House['query'] = async (sql, ...values) => (await pool.query(sql, values)).rows;
  const present = await query<{ id: string }>('SELECT id FROM org LIMIT 1');
  const orgId = present[0]?.id ?? (await addOrganisation(pool, 'acme'));
  await watch.visit();
  const options = {
    objects,
    rows,
    watch,
    memory,
    gapMemory: createPostgresGapMemory({ pool }),
    handIn: createRedelivery({
      objects,
      recorder: createRecorder({ store: messages }),
      domain: 'orderflow.example.com',
    }),
    leftovers: ({ dryRun }: { readonly dryRun: boolean }) => removeFileLeftovers({ rootDir, dryRun }),
    dryRun: false,
    acceptMissing: false,
    evenAfterRestore: false,
    redeliver: null,
  };
  const house: House = {
    pool,
    url,
    dataDir,
    rootDir,
    orgId,
    query,
    run: (given = {}) => reconcile({ ...options, ...given }),
    visit: () => watch.visit(),
    adopt: () => watch.adopt(),
    async object(id, hoursOld, { orgId: org = orgId, extension = '.eml' } = {}) {
      const key = `${org}/2026/03/${id}${extension}`;
      await mkdir(dirname(join(rootDir, key)), { recursive: true });
      await writeFile(join(rootDir, key), 'mail');
      const then = new Date(Date.now() - hoursOld * HOUR_MS);
      await utimes(join(rootDir, key), then, then);
      return key;
    },
    async mail({ hoursOld = 48, status = 'RECEIVED' } = {}) {
      const id = uuidV7();
      const key = await house.object(id, hoursOld);
      const receivedAt = new Date(Date.now() - hoursOld * HOUR_MS);
      await messages.record([[newMessage(orgId, { id, rawStorageKey: key, receivedAt })]]);
      const steps =
        { RECEIVED: [], STORED: ['STORED'], PARSED: ['STORED', 'PARSED'], FAILED: ['FAILED'] }[status] ?? [];
      for (const step of steps) await query('UPDATE inbound_message SET status = $2 WHERE id = $1', id, step);
      if (status === 'PARSED' || status === 'FAILED') await forgetJob(house, id);
      return { id, key };
    },
    async files() {
      const entries = await readdir(rootDir, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => relative(rootDir, join(parentPath, name)))
        .sort();
    },
  };
  return house;
}

const JOBS = `graphile_worker._private_jobs WHERE payload->>'inbound_message_id' = $1`;
const forgetJob = (house: House, id: string) => house.query(`DELETE FROM ${JOBS}`, id);
const statusOf = async (house: House, id: string) =>
  (
    await house.query<{ status: string; error_json: unknown }>(
      'SELECT status, error_json FROM inbound_message WHERE id = $1',
      id,
    )
  )[0];

async function addDocument(house: House, mailId: string, id: string, key: string): Promise<void> {
  await house.query(
    `INSERT INTO document (id, org_id, inbound_message_id, file_name, mime_type, size_bytes, sha256, storage_key, status, part_path)
     VALUES ($1::uuid, $2, $3, 'a.pdf', 'application/pdf', 4, 'x', $4, 'STORED', $1::uuid::text)`,
    id,
    house.orgId,
    mailId,
    key,
  );
}

async function addConflict(house: House, mailId: string, id: string, key: string): Promise<void> {
  await house.query(
    `INSERT INTO inbound_conflict (id, org_id, inbound_message_id, raw_storage_key, content_sha256, received_at)
     VALUES ($1::uuid, $2, $3, $4, $1::uuid::text, now())`,
    id,
    house.orgId,
    mailId,
    key,
  );
}

/** A house with one of everything; what a run would do to it is known. */
async function untidy(t: TestContext) {
  const house = await openHouse(t);
  const parsed = await house.mail({ status: 'PARSED' });
  const [documentId, conflictId] = [uuidV5('1', parsed.id), uuidV7()];
  const documentKey = await house.object(documentId, 48, { extension: '.pdf' });
  await addDocument(house, parsed.id, documentId, documentKey);
  const conflictKey = await house.object(conflictId, 48);
  await addConflict(house, parsed.id, conflictId, conflictKey);
  // Named by a row of another id: nobody makes such rows, and nothing may rely on that.
  const oddKey = await house.object(uuidV7(), 48);
  await addConflict(house, parsed.id, uuidV7(), oddKey);
  const named = [parsed.key, documentKey, conflictKey, oddKey];
  const young = await house.object(uuidV7(), 23);
  const orphans = [
    await house.object(uuidV7(), 25),
    await house.object(randomUUID(), 49),
    await house.object(uuidV5('2', parsed.id), 25, { extension: '.xlsx' }),
  ];
  await writeFile(join(house.rootDir, 'README'), 'not ours');
  const [old, fresh] = ['old', 'fresh'].map((name) => join(house.rootDir, '+incoming', name)) as [string, string];
  for (const path of [old, fresh]) await writeFile(path, 'half a mail');
  await utimes(old, new Date(0), new Date(0));
  // Not older than the orphans: documents of such a message would be waited for.
  const lost = await house.mail({ hoursOld: 1 });
  await forgetJob(house, lost.id);
  return { house, orphans, old, stay: [...named, young, lost.key, 'README', '+incoming/fresh'].sort(), lost };
}

test('objects without a row go after a day, with unfinished files; what a row names stays, and so does what is young or not ours', async (t) => {
  const { house, orphans, stay, lost } = await untidy(t);
  const report = await house.run();
  assert.deepEqual(await house.files(), stay);
  assert.deepEqual([...report.orphans.removedKeys].sort(), [...orphans].sort());
  const { removed, removedBytes, young, foreign } = report.orphans;
  assert.deepEqual({ removed, removedBytes, young, foreign }, { removed: 3, removedBytes: 12, young: 2, foreign: 1 });
  assert.deepEqual(
    [report.stopped, report.rows, report.leftovers, report.jobs],
    [null, { looked: 5, missing: 0 }, 1, 1],
  );
  const jobs = await house.query<{ payload: object }>(`SELECT payload FROM ${JOBS}`, lost.id);
  assert.deepEqual(jobs, [
    { payload: { inbound_message_id: lost.id, org_id: house.orgId, trace_id: '0af7651916cd43dd8448eb211c80319c' } },
  ]);
  const again = await house.run();
  assert.deepEqual([again.orphans.removed, again.leftovers, again.jobs], [0, 0, 0], 'nothing is left to do');
});

test('a dry run says the same and changes nothing', async (t) => {
  const { house, orphans } = await untidy(t);
  const gone = await house.mail({ hoursOld: 1 });
  await rename(join(house.rootDir, gone.key), join(house.dataDir, 'aside'));
  const facts = async () => ({
    files: await house.files(),
    marks: await readdir(join(house.rootDir, '+seen')),
    messages: await house.query('SELECT * FROM inbound_message ORDER BY id'),
    jobs: await house.query('SELECT id, payload FROM graphile_worker._private_jobs ORDER BY id'),
    memory: await house.query('SELECT * FROM store_mark'),
  });
  const before = await facts();
  const report = await house.run({ dryRun: true });
  assert.deepEqual(await facts(), before);
  assert.deepEqual([...report.orphans.removedKeys].sort(), [...orphans].sort());
  assert.deepEqual([report.failed, report.leftovers, report.jobs], [[gone.id], 1, 1]);
});

test('a message whose raw mail is gone becomes FAILED with the reason; one that has ended, conflicts and documents are told', async (t) => {
  const house = await openHouse(t);
  const whole = await house.mail();
  const mails = await Promise.all(['RECEIVED', 'STORED', 'PARSED', 'FAILED'].map((status) => house.mail({ status })));
  const [received, stored, parsed, failed] = mails as [typeof whole, typeof whole, typeof whole, typeof whole];
  await addDocument(house, parsed.id, uuidV5('1', parsed.id), `${house.orgId}/2026/03/${uuidV5('1', parsed.id)}.pdf`);
  await addConflict(house, parsed.id, uuidV7(), `${house.orgId}/2026/03/${uuidV7()}.eml`);
  for (const { key } of mails) await rename(join(house.rootDir, key), join(house.dataDir, 'aside'));
  const report = await house.run();
  assert.deepEqual(report.rows, { looked: 7, missing: 6 });
  assert.deepEqual([...report.failed].sort(), [received.id, stored.id].sort());
  for (const { id } of [received, stored]) {
    const row = await statusOf(house, id);
    assert.equal(row?.status, 'FAILED');
    assert.equal((row.error_json as { code: string }).code, 'object-missing');
  }
  assert.equal((await statusOf(house, parsed.id))?.status, 'PARSED');
  assert.equal((await statusOf(house, failed.id))?.status, 'FAILED');
  assert.equal((await statusOf(house, whole.id))?.status, 'RECEIVED');
  const again = await house.run();
  assert.deepEqual([again.rows.missing, again.failed], [4, []], 'what failed for that is not told again');
});

test('a store that goes away fails the run and no message', async (t) => {
  const house = await openHouse(t);
  const { id } = await house.mail();
  await rename(house.rootDir, join(house.dataDir, 'unmounted'));
  for (const acceptMissing of [false, true]) {
    assert.match((await house.run({ acceptMissing })).stopped ?? '', /it holds no mark of it/);
  }
  assert.equal((await statusOf(house, id))?.status, 'RECEIVED');
});

test('a store that becomes another in the middle of it, too, before anything is given up or removed', async (t) => {
  const house = await openHouse(t);
  const gone = await house.mail({ hoursOld: 1 });
  const orphan = await house.object(uuidV7(), 48);
  await rename(join(house.rootDir, gone.key), join(house.dataDir, 'aside'));
  const found: Acquaintance[] = ['known', 'store-unmarked'];
  const watch = { look: async () => found.shift() ?? 'known', visit: async () => assert.fail('it goes no further') };
  await assert.rejects(house.run({ watch }), /in the middle of it, .*: nothing more is changed/);
  assert.equal((await statusOf(house, gone.id))?.status, 'RECEIVED');
  await rename(join(house.dataDir, 'aside'), join(house.rootDir, gone.key));
  const later: Acquaintance[] = ['known', 'store-foreign'];
  const visit = async () => ({ found: 'known' as const, storeNow: new Date() });
  await assert.rejects(
    house.run({ watch: { look: async () => later.shift() ?? 'known', visit } }),
    /in the middle of it/,
  );
  assert.ok((await house.files()).includes(orphan));
});

test('a store that goes away in the middle of it, too', async (t) => {
  const house = await openHouse(t);
  const { id } = await house.mail();
  const looked = async () => {
    await rename(house.rootDir, join(house.dataDir, 'unmounted'));
    return 'known' as const;
  };
  const watch = { look: looked, visit: () => assert.fail('it goes no further') };
  await assert.rejects(house.run({ watch }), isStoreError('store-unavailable'));
  assert.equal((await statusOf(house, id))?.status, 'RECEIVED');
});

test('where too many are missing, nothing at all is changed, unless that is accepted', async (t) => {
  const house = await openHouse(t);
  const mails = await Promise.all(Array.from({ length: 12 }, () => house.mail()));
  for (const { key } of mails.slice(0, 11)) await rename(join(house.rootDir, key), join(house.dataDir, 'aside'));
  const orphan = await house.object(uuidV7(), 48);
  const before = await house.files();
  const report = await house.run();
  assert.match(report.stopped ?? '', /so many objects are missing/);
  assert.deepEqual([report.rows, report.failed], [{ looked: 12, missing: 11 }, []]);
  assert.deepEqual(await house.files(), before);
  for (const { id } of mails) assert.equal((await statusOf(house, id))?.status, 'RECEIVED');
  const accepted = await house.run({ acceptMissing: true });
  assert.deepEqual([accepted.stopped, accepted.failed.length, accepted.orphans.removedKeys], [null, 11, [orphan]]);
});

test('another store than the one last used with this database is not believed, however few are missing', async (t) => {
  const house = await openHouse(t);
  const { id } = await house.mail();
  await rename(house.rootDir, join(house.dataDir, 'right'));
  const other = await openHouse(t); // Somebody else's objects, with somebody else's mark.
  await other.object(uuidV7(), 48);
  await rename(other.rootDir, house.rootDir);
  const before = await house.files();
  const report = await house.run();
  assert.match(report.stopped ?? '', /it holds the marks of another/);
  assert.equal((await statusOf(house, id))?.status, 'RECEIVED');
  assert.deepEqual(await house.files(), before);
  const accepted = await house.run({ acceptMissing: true });
  assert.match(accepted.stopped ?? '', /it holds the marks of another/, 'that objects are missing is not all');
  assert.equal((await statusOf(house, id))?.status, 'RECEIVED');
  await house.adopt();
  const adopted = await house.run({ acceptMissing: true, dryRun: true });
  assert.deepEqual(adopted.failed, [id], 'on purpose');
  assert.equal(adopted.orphans.removed, 0, 'and its objects are not ours to remove');
  assert.equal(adopted.orphans.kept['unknown-organisation'], 1);
});

test('a job that waits, runs, or has no attempt left is not missing; one of an ended message is not added', async (t) => {
  const house = await openHouse(t);
  const [waiting, running, exhausted] = [
    await house.mail(),
    await house.mail(),
    await house.mail({ status: 'STORED' }),
  ];
  await house.query(`UPDATE ${JOBS.replace('WHERE', "SET locked_by = 'w', locked_at = now() WHERE")}`, running.id);
  await house.query(`UPDATE ${JOBS.replace('WHERE', 'SET attempts = max_attempts WHERE')}`, exhausted.id);
  for (const status of ['PARSED', 'FAILED']) await house.mail({ status });
  assert.equal((await house.run({ dryRun: true })).jobs, 0);
  assert.equal((await house.run()).jobs, 0);
  for (const { id } of [waiting, running, exhausted]) await forgetJob(house, id);
  assert.equal((await house.run({ dryRun: true })).jobs, 3);
  assert.equal((await house.run()).jobs, 3);
  assert.equal((await house.query(`SELECT FROM ${JOBS}`, exhausted.id)).length, 1);
});

test('documents of a message that is still to be extracted are waited for', async (t) => {
  const house = await openHouse(t);
  const stuck = await house.mail({ status: 'STORED' });
  const document = await house.object(uuidV5('1', stuck.id), 30, { extension: '.pdf' });
  const mail = await house.object(uuidV7(), 30);
  const report = await house.run();
  assert.deepEqual(report.orphans.removedKeys, [mail]);
  assert.deepEqual(report.orphans.keptKeys, [{ key: document, reason: 'being-extracted' }]);
  await house.query(`UPDATE inbound_message SET status = 'PARSED' WHERE id = $1`, stuck.id);
  assert.deepEqual((await house.run()).orphans.removedKeys, [document]);
});

/** A copy of the database as it is now, to be gone back to. */
async function backUp(t: TestContext, house: House): Promise<{ readonly pool: pg.Pool; readonly url: string }> {
  const url = new URL(house.url);
  const [name, copy] = [url.pathname.slice(1), `copy_${randomUUID().replaceAll('-', '')}`];
  const keeper = new URL(house.url);
  keeper.pathname = '/postgres';
  const client = new pg.Client({ connectionString: keeper.href });
  await client.connect();
  cleanUp(t, async () => {
    await client.query(`DROP DATABASE ${copy} WITH (FORCE)`);
    await client.end();
  });
  await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
  await client.query(`CREATE DATABASE ${copy} TEMPLATE ${name}`);
  url.pathname = `/${copy}`;
  const pool = createPool({ url: url.href, applicationName: 'test', maxConnections: 4, log });
  cleanUp(t, () => pool.end());
  return { pool, url: url.href };
}

for (const first of ['a server starts', 'reconcile is run'] as const) {
  test(`after a restore of the database, mails acknowledged since the backup are kept: ${first} first`, async (t) => {
    const house = await openHouse(t);
    const before = await house.mail({ hoursOld: 80 });
    const crashed = await house.object(uuidOf(100), 100);
    const restored = await backUp(t, house);
    await house.visit(); // The server goes on: its next mark, and mails that get a 250.
    const lost = await Promise.all([0, 1, 2].map(() => house.mail({ hoursOld: 48 })));
    const copied = await house.object(uuidV7(), 100); // Its time on disk says nothing: somebody has copied it.
    const after = await openRestored(t, house, restored, first);
    const report = await after.run();
    const files = await house.files();
    for (const { key } of [before, ...lost, { key: copied }]) assert.ok(files.includes(key), `${key} is kept`);
    assert.equal(report.orphans.kept['after-restore'], 4);
    assert.deepEqual(report.orphans.removedKeys, [crashed], 'what a crash left before the backup goes all the same');
    for (let times = 0; times < 3; times++) await after.visit();
    assert.equal((await after.run()).orphans.kept['after-restore'], 4, 'it is not forgotten when new marks are made');
    const meant = await after.run({ evenAfterRestore: true });
    assert.equal(meant.orphans.removed, 4);
  });
}

/** As `openHouse`, but for reconcile as the first to see the restored database. */
async function openRestored(t: TestContext, house: House, restored: { pool: pg.Pool; url: string }, first: string) {
  if (first === 'a server starts') return openHouse(t, { ...restored, dataDir: house.dataDir });
  const objects = await createFileObjectStore({ rootDir: house.rootDir });
  const marks = createFileStoreMarks({ rootDir: house.rootDir });
  const memory = createPostgresMarkMemory({ pool: restored.pool });
  const watch = createStoreWatch({ marks, memory, objects, log });
  const rows = createPostgresReconciliation({ pool: restored.pool });
  return {
    visit: () => watch.visit(),
    run: (over: Partial<ReconcileOptions> = {}) => house.run({ objects, rows, watch, memory, ...over }),
  };
}

test('handed in again: the second object of a mail goes where the first is there, and stays where it is the last copy', async (t) => {
  const house = await openHouse(t);
  await house.query('INSERT INTO store_gap (begins) VALUES (NULL)');
  const redeliver = { actor: 'test' };
  const first = await house.object(uuidOf(3), 3);
  const accepted = await house.run({ redeliver });
  assert.deepEqual([accepted.redelivery?.accepted, accepted.orphans.keptMails], [1, 0]);
  const second = await house.object(uuidOf(2), 2);
  assert.equal((await house.run({ redeliver })).redelivery?.duplicate, 1);
  assert.deepEqual(await house.files(), [first]);
  await rename(join(house.rootDir, first), join(house.dataDir, 'aside'));
  const lastCopy = await house.object(uuidOf(1), 1);
  const run = await house.run({ redeliver, acceptMissing: true });
  assert.deepEqual([run.redelivery?.duplicate, run.orphans.keptMails], [1, 1]);
  assert.deepEqual(await house.files(), [lastCopy]);
  const [row] = await house.query<{ id: string; notes_json: { code: string }[]; to_email: string; org_id: string }>(
    'SELECT id, notes_json, to_email, org_id FROM inbound_message',
  );
  assert.deepEqual([row?.notes_json.map(({ code }) => code), row?.org_id], [['redelivered'], house.orgId]);
  assert.deepEqual([row?.to_email, first.includes(row?.id ?? '-')], ['orders+acme@orderflow.example.com', true]);
  assert.ok(!(await house.files()).includes(second));
});

test('what a gap has lost is removed on purpose only, and not while a server may be at work on it', async (t) => {
  const house = await openHouse(t);
  const [old, young] = [await house.object(uuidOf(1), 1), await house.object(uuidV7(), 0.1)];
  await house.query('INSERT INTO store_gap (begins) VALUES (NULL)');
  assert.equal((await house.run()).orphans.keptMails, 2);
  const decided = await house.run({ evenAfterRestore: true });
  assert.deepEqual([decided.orphans.removedKeys, decided.orphans.keptMails], [[old], 1]);
  assert.deepEqual(await house.files(), [young]);
});

/** As of so many hours ago. */
const uuidOf = (hoursOld: number): string => uuidV7({ msecs: Date.now() - hoursOld * HOUR_MS });

test('objects from before there were marks are kept: nothing says what their database remembers', async (t) => {
  const dataDir = await temporaryFolder(t);
  const orgId = randomUUID();
  const path = join(dataDir, 'objects', orgId, '2026', '03', `${uuidOf(60)}.eml`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, 'mail');
  await utimes(path, new Date(0), new Date(0));
  const { pool, url } = await openTestPool(t);
  await pool.query(`INSERT INTO org (id, slug) VALUES ($1, 'acme')`, [orgId]);
  const house = await openHouse(t, { dataDir, pool, url });
  assert.equal((await house.run()).orphans.kept['after-restore'], 1);
  await stat(path);
});

test('pages are crossed: thousands of objects and rows, none left out, none taken twice', {
  timeout: 120_000,
}, async (t) => {
  const house = await openHouse(t);
  const mails = Array.from({ length: 1_203 }, () => uuidV7());
  const keys = await Promise.all(mails.map((id) => house.object(id, 48)));
  await house.query(
    `INSERT INTO inbound_message (id, org_id, source, source_message_id, received_at, raw_storage_key, status, trace_id)
     SELECT id, $3, 'EMAIL', id::text, now(), key, 'RECEIVED', 't' FROM unnest($1::uuid[], $2::text[]) AS mail (id, key)`,
    mails,
    keys,
    house.orgId,
  );
  await Promise.all(Array.from({ length: 2_307 }, () => house.object(uuidV7(), 48)));
  const report = await house.run();
  assert.deepEqual(report.rows, { looked: 1_203, missing: 0 });
  assert.deepEqual([report.orphans.looked, report.orphans.removed, report.jobs], [3_510, 2_307, 1_203]);
  assert.deepEqual(await house.files(), keys.toSorted());
});

function realCli(house: House, dataDir = house.dataDir) {
  return createTestCli({ compose, cwd: dataDir, env: { DATABASE_URL: house.url, DATA_DIR: dataDir } });
}

test('the command: words and JSON, 0 when all is well, 1 and loud when an object is missing', async (t) => {
  const { house, orphans } = await untidy(t);
  const cli = realCli(house);
  const dry = await cli.run('reconcile', '--dry-run');
  assert.equal(dry.code, 0);
  assert.match(
    dry.stdout,
    /3 without a row to remove \(12 bytes\)[\s\S]*1 unfinished files to remove[\s\S]*1 missing ones to add[\s\S]*dry run/,
  );
  assert.equal((await house.files()).filter((key) => orphans.includes(key)).length, 3);
  const done = await cli.run('reconcile', '--json');
  assert.equal(done.code, 0, done.stderr);
  const report = JSON.parse(done.stdout);
  assert.deepEqual([report.objects.removed, report.leftovers.removed, report.jobs.added], [3, 1, 1]);
  const gone = await house.mail();
  await rename(join(house.rootDir, gone.key), join(house.dataDir, 'aside'));
  const loud = await cli.run('reconcile');
  assert.equal(loud.code, 1);
  assert.ok(loud.stderr.includes(`warning: message ${gone.id}: no object ${gone.key}`), loud.stderr);
  assert.match(loud.stderr, /error: 1 objects are missing from the store; 1 messages became FAILED/);
});

test('two at once: the second one says so; a store that is not there is not made', async (t) => {
  const house = await openHouse(t);
  const { loadSettings } = await import('../config/load.ts');
  const loaded = loadSettings({ env: { DATABASE_URL: house.url, DATA_DIR: house.dataDir }, cwd: house.dataDir });
  assert.ok('settings' in loaded);
  const first = await compose.openReconciler({ settings: loaded.settings, log });
  const second = await realCli(house).run('reconcile');
  assert.deepEqual([second.code, second.stderr], [1, 'error: another reconcile is at work on this database\n']);
  await first.close();
  assert.equal((await realCli(house).run('reconcile')).code, 0);
  const elsewhere = await temporaryFolder(t);
  const unmounted = await realCli(house, elsewhere).run('reconcile');
  assert.equal(unmounted.code, 1);
  assert.match(unmounted.stderr, /^error: no object store in .*is it mounted\?/);
  assert.deepEqual(await readdir(elsewhere), []);
});
