/**
 * Mails that got a 250 after the backup that a database is restored from: told at once, handed in again whole, each once, also
 * when that is killed in the middle.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { missing } from '../../src/testing/missing.ts';
import { type Product, startProduct } from '../../src/testing/product.ts';
import { noS3Server, s3Environment, startS3Server } from '../../src/testing/s3-server.ts';
import { scrape } from '../../src/testing/scrape.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { withClient } from './front-door.ts';
import { composeOrder, type OrderMail } from './order-mail.ts';

const TIMEOUT_MS = 240_000;
/** Not told at once, only once it is quiet: what may have been written while the restore was noticed, see `gapsOf`. */
const STORE_TIME_STEP_MS = 2_000;
const PROGRAM = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));

interface Restored {
  readonly product: Product;
  readonly env: Record<string, string>;
  readonly dataDir: string;
  reconcile(...options: string[]): Promise<{ readonly code: number; readonly stderr: string; readonly report: Report }>;
  rows(): Promise<readonly Row[]>;
  allParsed(): Promise<void>;
}

interface Report {
  readonly objects: {
    readonly looked_at: number;
    readonly kept: { readonly after_restore: number; readonly after_restore_mails: number };
    readonly kept_keys: readonly { readonly key: string; readonly reason: string }[];
  };
  readonly redelivered: Readonly<Record<string, number>> & { readonly ids: readonly string[] };
}

interface Row {
  readonly id: string;
  readonly slug: string;
  readonly status: string;
  readonly raw_sha256: string;
  readonly received_at: Date;
  readonly to_email: string;
  readonly documents: number;
}

const send = async (product: Product, mail: OrderMail, from = 'buyer@customer.example') => {
  const to = mail.slugs.map((slug) => `orders+${slug}@orderflow.example.com`);
  const { verdict } = await sendRaw({ port: product.smtpPort, from, to, data: mail.raw });
  assert.equal(verdict.code, 250, verdict.lines.join(' '));
  return verdict.lines.join(' ').match(/[0-9a-f-]{36}/g) ?? [];
};

const ROWS = `
  SELECT message.id, org.slug, message.status, raw_sha256, received_at, to_email::text,
    (SELECT count(*)::int FROM document WHERE inbound_message_id = message.id AND status = 'STORED') AS documents
  FROM inbound_message AS message JOIN org ON org.id = message.org_id
  UNION ALL
  SELECT conflict.id, org.slug, 'CONFLICT', raw_sha256, received_at, to_email::text, 0
  FROM inbound_conflict AS conflict JOIN org ON org.id = conflict.org_id ORDER BY id`;

const rowsOf = (url: string): Promise<readonly Row[]> =>
  withClient(url, async (client) => (await client.query<Row>(ROWS)).rows);

const allParsed = (url: string): Promise<unknown> =>
  waitFor(async () => (await rowsOf(url)).every(({ status }) => status === 'PARSED' || status === 'CONFLICT'), {
    timeoutMs: 60_000,
    what: 'all to be PARSED',
  });

/** Mails before and after a backup, which the database then goes back to; the objects stay. */
async function restoreAfter(
  t: TestContext,
  store: Readonly<Record<string, string>>,
  before: readonly OrderMail[],
  after: readonly OrderMail[],
): Promise<{ restored: Restored; lost: readonly Row[]; kept: readonly Row[] }> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const dataDir = await temporaryFolder(t);
  const env = { DATABASE_URL: database.url, ...store };
  await withClient(database.url, (client) => client.query(`INSERT INTO org (slug) VALUES ('acme'), ('globex')`));
  const first = await startProduct(t, { dataDir, env });
  for (const mail of before) await send(first, mail);
  await allParsed(database.url);
  await first.stop();
  const kept = await rowsOf(database.url);

  const url = await copied(t, database.url);
  const second = await startProduct(t, { dataDir, env });
  for (const mail of after) await send(second, mail);
  await allParsed(database.url);
  const known = new Set(kept.map(({ id }) => id));
  const lost = (await rowsOf(database.url)).filter(({ id }) => !known.has(id));
  await second.kill();
  await sleep(STORE_TIME_STEP_MS);

  const restoredEnv = { ...env, DATABASE_URL: url };
  const product = await startProduct(t, { dataDir, env: restoredEnv });
  const cli = createTestCli({ compose, cwd: dataDir, env: { ...restoredEnv, DATA_DIR: dataDir } });
  const restored: Restored = {
    product,
    env: restoredEnv,
    dataDir,
    async reconcile(...options) {
      const { code, stdout, stderr } = await cli.run('reconcile', '--json', ...options);
      return { code, stderr, report: JSON.parse(stdout) };
    },
    rows: () => rowsOf(url),
    allParsed: async () => void (await allParsed(url)),
  };
  return { restored, lost, kept };
}

async function copied(t: TestContext, url: string): Promise<string> {
  const copy = new URL(url);
  const name = copy.pathname.slice(1);
  const other = `copy_${randomUUID().replaceAll('-', '')}`;
  copy.pathname = '/postgres';
  const keeper = copy.href;
  await withClient(keeper, async (client) => {
    await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    await client.query(`CREATE DATABASE ${other} TEMPLATE ${name}`);
  });
  cleanUp(t, () =>
    withClient(keeper, async (client) => void (await client.query(`DROP DATABASE ${other} WITH (FORCE)`))),
  );
  copy.pathname = `/${other}`;
  return copy.href;
}

const restoreDetails = async (product: Product) => {
  const { checks } = (await (await fetch(`${product.httpUrl}/readyz`)).json()) as {
    checks: { database: { details?: { restored: Record<string, unknown> } } };
  };
  return checks.database.details?.restored ?? null;
};

const facts = (rows: readonly Row[]) =>
  rows.map(({ id, slug, status, raw_sha256, documents, to_email }) => ({
    id,
    slug,
    status,
    raw_sha256,
    documents,
    to_email,
  }));

const order = (slugs: readonly string[], messageId?: string): Promise<OrderMail> =>
  composeOrder({ slugs, attachmentBytes: [500, 2_000], ...(messageId === undefined ? {} : { messageId }) });

async function handsIn(t: TestContext, store: Readonly<Record<string, string>>): Promise<void> {
  const shared = `<${randomUUID()}@shared.example>`;
  const before = [await order(['acme'])];
  // One to both organisations, and two with one Message-ID: the second is a conflict, and stays one.
  const after = [
    await order(['acme']),
    await order(['acme', 'globex']),
    await order(['acme'], shared),
    await order(['acme'], shared),
  ];
  const { restored, lost, kept } = await restoreAfter(t, store, before, after);
  assert.deepEqual([kept.length, lost.length], [1, 5]);
  const lostDocuments = lost.reduce((sum, { documents }) => sum + documents, 0);

  const told = await restored.reconcile();
  assert.equal(told.code, 0, told.stderr);
  assert.deepEqual(told.report.objects.kept, {
    after_restore: 5 + lostDocuments,
    after_restore_mails: 5,
    unknown_organisation: 0,
    being_extracted: 0,
  });
  assert.match(told.stderr, /5 mails, 8 documents.*--redeliver hands the mails in again/);
  const { mails_without_row: mails, documents_without_row: documents } = (await restoreDetails(restored.product)) ?? {};
  assert.deepEqual([mails, documents], [5, lostDocuments]);
  assert.match(await scrape(restored.product.httpUrl), /^store_gap_objects\{kind="mail"\} 5$/m);
  assert.deepEqual(facts(await restored.rows()), facts(kept), 'telling changes nothing');
  assert.equal((await restored.reconcile('--dry-run', '--redeliver')).report.redelivered.planned, 5);

  // Its sender has kept one, and sends it again before anybody hands it in.
  const [again] = await send(restored.product, after[0] ?? assert.fail());
  const handedIn = await restored.reconcile('--redeliver');
  assert.equal(handedIn.code, 0, handedIn.stderr);
  const { accepted, duplicates, conflicts, refused } = handedIn.report.redelivered;
  assert.deepEqual(
    { accepted, duplicates, conflicts, refused },
    { accepted: 3, duplicates: 1, conflicts: 1, refused: 0 },
  );
  await restored.allParsed();
  const sentAgain = ({ raw_sha256 }: Row): boolean => raw_sha256 === after[0]?.rawSha256;
  const whole = (rows: readonly Row[]) => facts(rows.filter((row) => !sentAgain(row)));
  const now = await restored.rows();
  assert.deepEqual(whole(now), whole([...kept, ...lost].sort((a, b) => (a.id < b.id ? -1 : 1))));
  assert.deepEqual(
    now.filter(sentAgain).map(({ id }) => id),
    [again],
  );
  for (const row of now) {
    const was = lost.find(({ id }) => id === row.id);
    if (was !== undefined)
      assert.ok(Math.abs(row.received_at.getTime() - was.received_at.getTime()) < 5_000, 'as received');
  }
  // The documents of the mail that was sent again are there under other ids; the second copies wait for somebody to decide.
  const settled = await restored.reconcile();
  assert.deepEqual(
    [settled.report.objects.kept.after_restore_mails, settled.report.objects.kept.after_restore],
    [0, 2],
  );
  assert.deepEqual((await restored.reconcile('--redeliver')).report.redelivered.accepted, 0);
  const doubled = await withClient(restored.env.DATABASE_URL ?? '', async (client) => {
    const sql = `SELECT payload->>'document_id' AS id FROM graphile_worker._private_jobs AS job
      JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id WHERE identifier = 'extract_document'`;
    return (await client.query<{ id: string }>(sql)).rows.map(({ id }) => id);
  });
  assert.equal(new Set(doubled).size, doubled.length);
  const audit = await withClient(
    restored.env.DATABASE_URL ?? '',
    async (client) =>
      (await client.query(`SELECT sum(count)::int AS count FROM audit_log WHERE action = 'message.redeliver'`)).rows,
  );
  assert.deepEqual(audit, [{ count: 4 }]);
}

test('files: acknowledged mails of a gap are told at once, and handed in again', { timeout: TIMEOUT_MS }, (t) =>
  handsIn(t, {}),
);

test('a bucket: acknowledged mails of a gap are told at once, and handed in again', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const why = noS3Server();
  if (why !== null) return missing(t, 'an S3 server', why);
  const server = await startS3Server();
  cleanUp(t, server.close);
  await handsIn(t, s3Environment(await server.newBucket()));
});

test('a prefix in a bucket that others use: acknowledged mails of a gap are told at once, and handed in again', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const why = noS3Server();
  if (why !== null) return missing(t, 'an S3 server', why);
  const server = await startS3Server();
  cleanUp(t, server.close);
  const settings = await server.newBucket();
  const theirs = ['', 'on/', 'two/'].map((prefix) => `${prefix}${randomUUID()}/2026/01/${randomUUID()}.eml`);
  for (const Key of theirs) await server.client.send(new PutObjectCommand({ Bucket: settings.bucket, Key, Body: 'x' }));
  await handsIn(t, { ...s3Environment(settings), OBJECT_STORAGE_PREFIX: 'one' });
  const { Contents = [] } = await server.client.send(new ListObjectsV2Command({ Bucket: settings.bucket }));
  const others = Contents.map(({ Key = '' }) => Key).filter((key) => !key.startsWith('one/'));
  assert.deepEqual(others.sort(), theirs.sort());
});

test('kill -9 while mails are handed in, again and again: each is there once in the end', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const after = await Promise.all(
    Array.from({ length: 100 }, (_, index) => order([index % 3 === 0 ? 'globex' : 'acme'])),
  );
  const { restored, lost } = await restoreAfter(t, {}, [], after);
  await waitFor(async () => Number((await restoreDetails(restored.product))?.mails_without_row) === after.length, {
    timeoutMs: 30_000,
    what: 'the server to count what the restore has lost',
  });
  // So that a busy machine sees a part of them, and not all at once.
  await withClient(restored.env.DATABASE_URL ?? '', (client) =>
    client.query(`
      CREATE FUNCTION a_moment() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
      CREATE TRIGGER a_moment BEFORE INSERT ON inbound_message FOR EACH ROW EXECUTE FUNCTION a_moment()`),
  );
  let kills = 0;
  for (let lives = 0; lives < 20 && (await restored.rows()).length < after.length; lives++) {
    const child = spawn(process.execPath, [PROGRAM, 'reconcile', '--redeliver'], {
      cwd: restored.dataDir,
      env: { ...bareEnvironment(), ...restored.env, DATA_DIR: restored.dataDir },
      stdio: 'ignore',
    });
    const ended = once(child, 'exit');
    const reached = (await restored.rows()).length + 8;
    await Promise.race([
      ended,
      waitFor(async () => (await restored.rows()).length >= reached, {
        timeoutMs: 60_000,
        intervalMs: 2,
        what: 'some mails',
      }),
    ]);
    const killed = child.kill('SIGKILL');
    await ended;
    if (killed && (await restored.rows()).length < after.length) kills++;
  }
  await withClient(restored.env.DATABASE_URL ?? '', (client) =>
    client.query('DROP TRIGGER a_moment ON inbound_message'),
  );
  t.diagnostic(`${kills} kills`);
  assert.ok(kills > 0, 'one was killed half-way');
  await waitFor(async () => (await restored.reconcile('--redeliver')).code === 0, {
    timeoutMs: 30_000,
    what: 'the last run',
  });
  await restored.allParsed();
  assert.deepEqual(facts(await restored.rows()), facts(lost));
  const { report } = await restored.reconcile();
  assert.equal(report.objects.kept.after_restore, 0);
  assert.equal(await restoreDetails(restored.product), null);
  assert.equal(report.objects.looked_at, after.length * 3, 'no second object of any');
});
