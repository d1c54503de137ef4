/** "Reliability Tests" of the specification's testing strategy, in its words. Each has a product of its own to hurt. */
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { connectSmtp, type SmtpClient } from '../../src/testing/smtp-client.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { redisAway } from '../durability/redis-relay.ts';
import { acceptedId, assertSameItems } from './support/assertions.ts';
import { type CuttableWay, openWay } from './support/cuttable-way.ts';
import { type Ingest, startIngest, wireText } from './support/ingest.ts';
import { CSV, mailWith, PDF, SPREADSHEET, ZIP } from './support/mails.ts';
import { postgresProcesses, signalAll } from './support/postgres-processes.ts';
import { type Sender, startSender } from './support/senders.ts';

const LATER = /^451 4\.3\.0 Temporary failure, try again later \([0-9a-f-]{36}\)$/;

test('Reliability Tests', { concurrency: 3 }, async (t) => {
  await Promise.all([
    t.test('Worker crash during attachment extraction (job retry)', workerCrash),
    t.test('Database connection failure (reject email): the database hangs', databaseHangs),
    t.test('RE-001: SMTP server restart (no lost emails)', serverRestart),
    t.test('Database connection failure (reject email): the connection is cut', databaseCut),
    t.test('Database connection failure (reject email): PostgreSQL is killed', databaseKilled),
    t.test('Worker crash during attachment extraction (job retry): PostgreSQL is killed right after it', killedAfter),
    t.test('RE-003: Object storage failure (reject email)', storeFails),
    t.test('Redis failure (queue email for retry)', redisAway),
    t.test('RE-002: Failed attachment extraction does not block email receipt', extractionFails),
  ]);
});

/**
 * What was answered 250 is there: once, whole, PARSED, its documents once and with one job each. `mayBeLeft`: objects
 * of mails that were never answered 250; see "What a crash can leave" in docs/operations.md.
 */
async function assertNothingLost(
  { rows, objects }: Ingest,
  senders: readonly Sender[],
  { filesEach, mayBeLeft = 0 }: { readonly filesEach: number; readonly mayBeLeft?: number },
): Promise<void> {
  await rows.settled(60_000);
  const messages = await rows.messages();
  for (const verdict of senders.flatMap(({ verdicts }) => verdicts)) {
    assert.match(verdict, /^(250 2\.0\.0 (accepted|duplicate of) [0-9a-f-]{36}|451 .*|421 .*|none)$/);
    const id = /^250 .* (\S+)$/.exec(verdict)?.[1];
    if (id !== undefined)
      assert.ok(
        messages.some((message) => message.id === id),
        `${verdict} is not there`,
      );
  }
  assert.equal(new Set(messages.map(({ source_message_id }) => source_message_id)).size, messages.length);
  assert.ok(messages.every(({ status }) => status === 'PARSED'));
  const documents = await rows.documents();
  assert.equal(documents.length, messages.length * filesEach);
  assertSameItems(
    (await rows.jobs('extract_document')).map(({ payload }) => payload.document_id),
    documents.map(({ id }) => id),
    'one job for each document',
  );
  await objects.assertMatchRows(rows, mayBeLeft);
}

async function serverRestart(t: TestContext): Promise<void> {
  const ingest = await startIngest(t);
  const port = { SMTP_PORT: String(ingest.port) };
  const start = (name: string) => startSender({ port: ingest.port, name, count: 25, files: [PDF] });
  const senders = ['a', 'b', 'c', 'd'].map(start);
  const everyoneAtWork = () => senders.every(({ verdicts }) => verdicts.length >= 3);
  await waitFor(everyoneAtWork, { what: 'mail on its way' });

  await t.test(
    'SIGTERM: a mail in DATA gets its reply, a session between two commands 421, and the end is 0',
    async () => {
      const [writing, idle] = [await openMail(ingest.port), await connectSmtp({ port: ingest.port })];
      assert.equal((await writing.command('DATA')).code, 354);
      await idle.readReply();
      const stopped = ingest.product.stop();
      assert.equal(wireText(await idle.readReply()), '421 4.3.2 Service shutting down, try again later');
      await writing.write(Buffer.concat([mailWith([PDF]), Buffer.from('.\r\n')]));
      const id = acceptedId(wireText(await writing.readReply()));
      await stopped;
      assert.ok(await ingest.rows.message(id));
    },
  );
  const second = await ingest.startAnother(port);
  await waitFor(() => senders.some(({ verdicts }) => verdicts.at(-1)?.startsWith('250')), { what: 'mail taken again' });
  await t.test('kill -9: the next start goes on', async () => {
    await second.kill();
    await ingest.startAnother(port);
    await Promise.all(senders.map(({ done }) => done));
    await assertNothingLost(ingest, senders, { filesEach: 1, mayBeLeft: senders.length });
    assert.equal((await ingest.rows.messages()).length, 4 * 25 + 1);
  });
}

async function openMail(port: number): Promise<SmtpClient> {
  const client = await connectSmtp({ port, timeoutMs: 40_000 });
  await client.readReply();
  for (const line of ['EHLO c.example', 'MAIL FROM:<b@c.example>', 'RCPT TO:<orders+acme@orderflow.example.com>']) {
    const { code } = await client.command(line);
    assert.equal(code, 250);
  }
  return client;
}

/** Two senders, one before MAIL and one with its mail ready, meet a database that is away. */
async function assertTurnedAway(ingest: Ingest, ready: SmtpClient, data: Buffer): Promise<void> {
  const turnedAway = async () =>
    assert.match(await ingest.send({ data, from: 'new@c.example', timeoutMs: 40_000 }), LATER);
  const turnedAwayLate = async () => {
    assert.equal((await ready.command('DATA')).code, 354);
    await ready.write(Buffer.concat([data, Buffer.from('.\r\n')]));
    assert.match(wireText(await ready.readReply()), LATER);
  };
  await Promise.all([turnedAway(), turnedAwayLate()]);
  ready.close();
}

async function readiness(ingest: Ingest): Promise<{ status: number; checks: Record<string, { ready: boolean }> }> {
  const response = await fetch(`${ingest.product.httpUrl}/readyz`);
  const { checks } = (await response.json()) as { checks: Record<string, { ready: boolean }> };
  return { status: response.status, checks };
}

async function databaseCut(t: TestContext): Promise<void> {
  let way: CuttableWay | undefined;
  const through = async (url: string): Promise<string> => {
    way = await openWay(t, url);
    return way.url;
  };
  const ingest = await startIngest(t, { through });
  await ingest.take(mailWith([PDF]));
  const [messages, keys] = [await ingest.rows.messages(), await ingest.objects.keys()];
  const ready = await openMail(ingest.port);
  const data = mailWith([CSV]);

  await way?.cut();
  await assertTurnedAway(ingest, ready, data);
  const { status, checks } = await readiness(ingest);
  assert.deepEqual([status, checks.database?.ready, checks.object_store?.ready], [503, false, true]);
  assert.equal((await fetch(`${ingest.product.httpUrl}/healthz`)).status, 200);
  assert.deepEqual(await ingest.rows.messages(), messages);
  await ingest.objects.assertBackTo(keys);
  assert.ok((await ingest.metric('smtp_processing_errors_total', { error_type: 'database-unavailable' })) > 0);

  await way?.mend();
  await waitFor(async () => (await readiness(ingest)).status === 200, {
    timeoutMs: 30_000,
    what: 'readiness by itself',
  });
  const { documents } = await ingest.take(data);
  assert.equal(documents.length, 1, 'the worker goes on as well');
  await ingest.objects.assertMatchRows(ingest.rows);
}

async function databaseHangs(t: TestContext): Promise<void> {
  if (process.platform !== 'linux') return missing(t, '/proc', 'finding the processes of PostgreSQL needs Linux');
  const ingest = await startIngest(t, { database: 'embedded' });
  await ingest.take(mailWith([PDF]));
  const ready = await openMail(ingest.port);
  const data = mailWith([CSV]);
  const frozen = await postgresProcesses(ingest.dataDir);
  try {
    signalAll(frozen, 'SIGSTOP');
    await assertTurnedAway(ingest, ready, data);
    assert.equal((await readiness(ingest)).status, 503);
  } finally {
    signalAll(frozen, 'SIGCONT');
  }
  const taken = await waitFor(
    async () => {
      const verdict = await ingest.send({ data });
      return verdict.startsWith('250') && verdict;
    },
    { timeoutMs: 30_000, what: 'mail taken again' },
  );
  // The statement that was under way may have been carried out after all: then it is a duplicate of that.
  assert.match(taken, /^250 2\.0\.0 (accepted|duplicate of) [0-9a-f-]{36}$/);
  await ingest.rows.settled(60_000);
  assert.equal((await ingest.rows.messages()).length, 2);
  await ingest.objects.assertMatchRows(ingest.rows, 1);
}

async function databaseKilled(t: TestContext): Promise<void> {
  if (process.platform !== 'linux') return missing(t, '/proc', 'finding the processes of PostgreSQL needs Linux');
  const ingest = await startIngest(t, { database: 'embedded' });
  const senders = ['a', 'b', 'c'].map((name) => startSender({ port: ingest.port, name, count: 40, files: [PDF] }));
  for (const atLeast of [5, 20]) {
    await waitFor(() => senders.every(({ verdicts }) => verdicts.length >= atLeast), { what: 'mail on its way' });
    const [postmaster] = await postgresProcesses(ingest.dataDir);
    signalAll(postmaster ? [postmaster] : [], 'SIGKILL');
    await waitFor(() => senders.some(({ verdicts }) => verdicts.some((verdict) => LATER.test(verdict))), {
      what: '451 while the database is away',
    });
  }
  await Promise.all(senders.map(({ done }) => done));
  assert.equal((await ingest.rows.messages()).length, 3 * 40);
  const mayBeLeft = await ingest.metric('smtp_processing_errors_total', { error_type: 'outcome-unknown' });
  await assertNothingLost(ingest, senders, { filesEach: 1, mayBeLeft });
}

/** The worker's last commits may be lost with it; the worker thinks they are done, and must not keep their jobs. */
async function killedAfter(t: TestContext): Promise<void> {
  if (process.platform !== 'linux') return missing(t, '/proc', 'finding the processes of PostgreSQL needs Linux');
  const ingest = await startIngest(t, { database: 'embedded' });
  const [postmaster] = await postgresProcesses(ingest.dataDir);
  for (const file of [PDF, CSV, ZIP]) acceptedId(await ingest.send({ data: mailWith([file]) }));
  const parsed = () => ingest.logged({ msg: 'mail parsed' }).length === 3;
  await waitFor(parsed, { what: 'three mails parsed', intervalMs: 1 });
  signalAll(postmaster ? [postmaster] : [], 'SIGKILL');
  await ingest.waitForLog({ msg: 'the embedded PostgreSQL is back' });
  await waitFor(async () => (await ingest.rows.messages()).length === 3, { what: 'the database answering' });
  await assertNothingLost(ingest, [], { filesEach: 1 });
}

async function storeFails(t: TestContext): Promise<void> {
  const ingest = await startIngest(t);
  const { message } = await ingest.take(mailWith([PDF]));
  const [messages, keys] = [await ingest.rows.messages(), await ingest.objects.keys()];
  const data = mailWith([CSV]);
  const [root, aside] = [join(ingest.dataDir, 'objects'), join(ingest.dataDir, 'objects-aside')];

  await rename(root, aside);
  await writeFile(root, 'a file where the folder of all objects has to be');
  for (let n = 0; n < 3; n++) assert.match(await ingest.send({ data }), LATER);
  assert.deepEqual(await ingest.rows.messages(), messages);
  const { status, checks } = await readiness(ingest);
  assert.deepEqual([status, checks.object_store?.ready, checks.database?.ready], [503, false, true]);
  await ingest.waitForLog({ level: 'error', error_type: 'store-unavailable' });

  await rename(root, join(ingest.dataDir, 'no-objects'));
  await rename(aside, root);
  await ingest.objects.assertBackTo(keys);
  // A server that has found another folder there looks again every two seconds.
  await waitFor(async () => (await readiness(ingest)).status === 200, { what: 'the store to be known again' });
  assert.equal((await ingest.take(data)).documents.length, 1);
  assert.ok(await ingest.objects.read(message.raw_storage_key));
  await ingest.objects.assertMatchRows(ingest.rows);
}

async function extractionFails(t: TestContext): Promise<void> {
  const ingest = await startIngest(t, { args: ['--roles', 'smtp,http'] });
  const [gone, whole] = [
    acceptedId(await ingest.send({ data: mailWith([PDF]) })),
    acceptedId(await ingest.send({ data: mailWith([CSV]) })),
  ];
  assert.deepEqual(
    [(await ingest.rows.message(gone)).status, (await ingest.rows.message(whole)).status],
    ['RECEIVED', 'RECEIVED'],
  );
  // Somebody removes a raw mail before the worker comes to it.
  const lost = await ingest.rows.message(gone);
  await rename(join(ingest.dataDir, 'objects', lost.raw_storage_key), join(ingest.dataDir, 'taken-away'));

  await ingest.startAnother({}, ['--roles', 'worker,http']);
  await ingest.rows.settled();
  const failed = await ingest.rows.message(gone);
  assert.deepEqual([failed.status, failed.error_json?.code], ['FAILED', 'object-missing']);
  assert.equal((await ingest.rows.message(whole)).status, 'PARSED');
  assert.deepEqual(
    (await ingest.rows.documents()).map(({ inbound_message_id }) => inbound_message_id),
    [whole],
  );
  const { message } = await ingest.take(mailWith([ZIP]));
  assert.equal(message.status, 'PARSED', 'mail is taken and read on');
}

async function workerCrash(t: TestContext): Promise<void> {
  // Taken without a worker first, so that many wait when it comes.
  const ingest = await startIngest(t, { args: ['--roles', 'smtp,http'] });
  const files = [PDF, SPREADSHEET, CSV];
  const senders = Array.from({ length: 6 }, (_, n) =>
    startSender({ port: ingest.port, name: `s${n}`, count: 25, files }),
  );
  await Promise.all(senders.map(({ done }) => done));
  const waiting = async () => (await ingest.rows.jobs('extract_attachments')).length;
  assert.equal(await waiting(), 150);

  const worker = await ingest.startAnother({}, ['--roles', 'worker,http']);
  await waitFor(async () => (await waiting()) < 145, { what: 'the worker at work', intervalMs: 1 });
  await worker.kill();
  const left = await waiting();
  t.diagnostic(`killed with ${left} of 150 mails left`);
  assert.ok(left > 0, 'the worker was killed in the middle');

  await ingest.startAnother({}, ['--roles', 'worker,http']);
  await ingest.rows.settled(60_000);
  // Four jobs at once: of each, the killed worker may have left a document that no row knows, until the retry wrote it again.
  await assertNothingLost(ingest, senders, { filesEach: files.length, mayBeLeft: 4 });
  assert.equal((await ingest.rows.messages()).length, 150);
}
