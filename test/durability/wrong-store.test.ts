/**
 * A store that is empty, another's, or not mounted: it takes no mail, nothing stored before ends FAILED, and all goes on when the
 * right one is back. Files here; buckets in test/object-storage.
 */
import assert from 'node:assert/strict';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { composeMail } from '../../src/testing/compose-mail.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { type Product, startProduct } from '../../src/testing/product.ts';
import { connectSmtp, sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';

const TIMEOUT_MS = 180_000;
const FROM = 'buyer@customer.example';
const TO = 'orders+acme@orderflow.example.com';

interface House {
  readonly dataDir: string;
  readonly env: Record<string, string>;
  start(...args: string[]): Promise<Product>;
  /** `start` that is to be refused. */
  refused(): Promise<{ readonly code: number; readonly stderr: string }>;
  cli(...args: string[]): ReturnType<ReturnType<typeof createTestCli>['run']>;
  statuses(): Promise<string>;
  /** Ids of its mails that are answered 250. */
  send(product: Product, count: number): Promise<void>;
  allParsed(count: number): Promise<void>;
  query<R extends pg.QueryResultRow>(sql: string): Promise<readonly R[]>;
}

async function openHouse(t: TestContext): Promise<House> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const pool = new pg.Pool({ connectionString: database.url, max: 1 });
  cleanUp(t, () => pool.end());
  await pool.query(`INSERT INTO org (name, slug) VALUES ('Acme', 'acme')`);
  const dataDir = await temporaryFolder(t);
  const env = { DATABASE_URL: database.url };
  const cli = createTestCli({
    compose,
    cwd: dataDir,
    env: { ...env, DATA_DIR: dataDir, SMTP_PORT: String(await freePort()), HTTP_PORT: String(await freePort()) },
  });
  const statuses = async (): Promise<string> =>
    (await pool.query(`SELECT string_agg(DISTINCT status, ' ') AS all FROM inbound_message`)).rows[0].all ?? '';
  return {
    dataDir,
    env,
    start: (...args) => startProduct(t, { dataDir, env, args }),
    refused: () => cli.run('start'),
    cli: cli.run,
    statuses,
    async send(product, count) {
      for (let index = 0; index < count; index++) assert.equal((await sendOne(product)).code, 250);
    },
    async allParsed(count) {
      await waitFor(
        async () => {
          const { rows } = await pool.query(
            `SELECT status, count(*)::int AS count FROM inbound_message GROUP BY status`,
          );
          return rows.length === 1 && rows[0].status === 'PARSED' && rows[0].count === count;
        },
        { timeoutMs: 60_000, what: `${count} mails to be PARSED` },
      ).catch(async (error: unknown) => assert.fail(`${error}: ${await statuses()}`));
    },
    query: async (sql) => (await pool.query(sql)).rows,
  };
}

let orders = 0;

async function sendOne(product: Product): Promise<{ readonly code: number }> {
  const content = Buffer.from(`order ${++orders}`);
  const data = await composeMail({ attachments: [{ fileName: 'order.pdf', content, contentType: 'application/pdf' }] });
  return (await sendRaw({ port: product.smtpPort, from: FROM, to: [TO], data })).verdict;
}

/** The reply to MAIL. */
async function mailReply(product: Product): Promise<string> {
  const client = await connectSmtp({ port: product.smtpPort });
  await client.readReply('greeting');
  await client.command('EHLO a.example');
  const { code, lines } = await client.command(`MAIL FROM:<${FROM}>`);
  client.socket.destroy();
  return `${code} ${lines.join(' ')}`;
}

const objectsOf = ({ dataDir }: House): string => join(dataDir, 'objects');

/** As when the disk is not mounted: the folder that is below it. Shape: how to mount it again. */
async function unmount(house: House): Promise<() => Promise<void>> {
  const aside = join(house.dataDir, 'the-right-disk');
  await rename(objectsOf(house), aside);
  await mkdir(objectsOf(house));
  return async () => {
    await rename(objectsOf(house), join(house.dataDir, `below-${Date.now()}`));
    await rename(aside, objectsOf(house));
  };
}

const readyz = async (product: Product): Promise<string> => (await fetch(`${product.httpUrl}/readyz`)).text();

test('an unmounted folder at the start: refused in one line, nothing FAILED; mounted again, the mails that waited are PARSED', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const house = await openHouse(t);
  const taking = await house.start('--roles', 'smtp,http');
  await house.send(taking, 5);
  await taking.stop();
  const mount = await unmount(house);
  const { code, stderr } = await house.refused();
  assert.equal(code, 1);
  assert.match(stderr, /^error: the object store is not the one .*not mounted.*\/objects\); mount .*--adopt-store\n$/);
  assert.equal(await house.statuses(), 'RECEIVED');
  await mount();
  const product = await house.start();
  await house.allParsed(5);
  await product.stop();
});

for (const processes of ['1', '2']) {
  test(`unmounted while ${processes === '1' ? 'it runs' : 'several processes run'}: no 250, 451 at MAIL, /readyz says why, nothing is read or left there; back again, all goes on`, {
    timeout: TIMEOUT_MS,
  }, async (t) => {
    const house = await openHouse(t);
    const first = await house.start('--roles', 'smtp,http');
    await house.send(first, 5);
    const mount = await unmount(house);
    assert.equal((await sendOne(first)).code, 451, 'before anybody has looked, too');
    await first.stop();
    await mount();
    const product = await house.start('--processes', processes);
    await house.allParsed(5);
    await house.send(product, 3);
    await house.allParsed(8);
    const mountAgain = await unmount(house);
    await waitFor(async () => (await readyz(product)).includes('no mark of it'), {
      timeoutMs: 60_000,
      what: '/readyz to say why',
    });
    await waitFor(async () => (await mailReply(product)).startsWith('451'), { timeoutMs: 60_000, what: '451 at MAIL' });
    // A job that was there already, and one that comes now: both wait.
    await house.query(
      `WITH again AS (INSERT INTO inbound_message (org_id, source, received_at, raw_storage_key, status, trace_id)
         SELECT org_id, source, received_at, raw_storage_key, 'RECEIVED', trace_id FROM inbound_message LIMIT 1 RETURNING *)
       SELECT graphile_worker.add_job('extract_attachments',
         json_build_object('inbound_message_id', id, 'org_id', org_id, 'trace_id', trace_id)) FROM again`,
    );
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    assert.deepEqual(
      (await house.statuses()).split(' ').filter((status) => status === 'FAILED'),
      [],
    );
    assert.deepEqual(await readdir(objectsOf(house)), [], 'not even a mark is left there');
    await mountAgain();
    // Each process looks for itself.
    const takes = async (): Promise<boolean> => (await mailReply(product)).startsWith('250');
    for (let inARow = 0; inARow < 10; inARow++)
      await waitFor(takes, { timeoutMs: 60_000, what: 'mail to be taken again' });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await house.send(product, 2);
    await house.allParsed(11);
    const lines = product.log.filter(({ level, msg }) => level === 'error' && String(msg).startsWith('not the known'));
    assert.ok(
      lines.length > 0 && /doctor --adopt-store/.test(JSON.stringify(lines)),
      'an error line says what to mend',
    );
    await product.stop();
  });
}

test('a store that is another on purpose: doctor says so, adopts it, and start goes on; messages retry reads what FAILED meanwhile', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const house = await openHouse(t);
  const taking = await house.start('--roles', 'smtp,http');
  await house.send(taking, 2);
  await taking.stop();
  const mount = await unmount(house);
  const marksIn = async (args: readonly string[]): Promise<{ state: string; found: string; mend: string | null }> => {
    const { stdout } = await house.cli('doctor', '--json', ...args);
    return JSON.parse(stdout).findings.find(({ check }: { check: string }) => check === 'store marks');
  };
  const told = await marksIn([]);
  assert.equal(told.state, 'broken');
  assert.match(`${told.found} ${told.mend}`, /no mark of it.*doctor --adopt-store/);
  const reconciled = await house.cli('reconcile', '--accept-missing');
  assert.equal(reconciled.code, 1, 'a folder without the store is not reconciled with');
  assert.equal((await marksIn(['--adopt-store'])).state, 'ok');
  assert.equal((await marksIn([])).state, 'ok');
  const adopted = await house.start();
  await waitFor(async () => (await house.statuses()) === 'FAILED', { timeoutMs: 60_000, what: 'FAILED, on purpose' });
  await house.send(adopted, 1);
  await adopted.stop();
  // Not on purpose after all: the right one is now the foreign one, and is adopted again.
  await mount();
  assert.match((await house.refused()).stderr, /it holds the marks of another/);
  assert.equal((await marksIn(['--adopt-store'])).state, 'ok');
  const product = await house.start();
  const { code, stdout } = await house.cli('messages', 'retry', '--failed', '--reason', 'object-missing', '--json');
  assert.deepEqual([code, JSON.parse(stdout).retried >= 2], [0, true]);
  await waitFor(async () => (await house.query(`SELECT FROM inbound_message WHERE status = 'PARSED'`)).length >= 2, {
    timeoutMs: 60_000,
    what: 'the mails to be PARSED',
  });
  const [entry] = await house.query<{ action: string; target: string }>('SELECT action, target FROM audit_log');
  assert.deepEqual(entry, { action: 'message.retry', target: 'failed: object-missing' });
  await product.stop();
});
