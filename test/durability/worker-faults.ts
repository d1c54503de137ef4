/** The extraction is killed half-way, or robbed of its job: there is one set of documents, with one job each. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit, inWords } from './audit.ts';
import { type FrontDoor, openFrontDoor, withClient } from './front-door.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { deliverOnce } from './mail-queue.ts';
import { composeOrder, type OrderMail } from './order-mail.ts';

const ATTACHMENTS = 60;

const severalAttachments = (): Promise<OrderMail> =>
  composeOrder({ slugs: ['acme'], attachmentBytes: Array.from({ length: ATTACHMENTS }, () => 150_000) });

export interface WorkerKillOptions {
  readonly kills: number;
  readonly told?: (line: string) => void;
}

export async function workerKilledHalfWay(t: TestContext, o: WorkerKillOptions): Promise<void> {
  const door = await openFrontDoor(t);
  const ledger = createLedger();
  for (let kill = 1; kill <= o.kills; kill++) {
    const before = (await documentsIn(door)).length;
    assert.equal((await deliverOnce(door.port, await severalAttachments(), ledger)).code, 250);
    await documentsBegun(door, before + 3);
    await door.product.kill();
    const half = (await documentsIn(door)).length - before;
    assert.ok(half > 0 && half < ATTACHMENTS, `killed after ${half} of ${ATTACHMENTS} attachments`);
    assert.equal(await parsedMessages(door), kill - 1);
    await door.start();
    // The queue's own patience with a dead worker is four hours.
    await waitFor(async () => (await parsedMessages(door)) === kill, {
      timeoutMs: 60_000,
      what: 'the mail to be taken up again',
    });
  }
  await assertWhole(t, door, ledger, o.told);
  await door.product.stop();
}

/** Two workers are at the same mail, because the first was taken for dead; the next stage has begun when it wakes up. */
export async function workerRobbed(t: TestContext): Promise<void> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const door = await openFrontDoor(t, { databaseUrl: database.url });
  const ledger = createLedger();
  const first = door.product;
  assert.equal((await deliverOnce(door.port, await severalAttachments(), ledger)).code, 250);
  await documentsBegun(door, 3);
  process.kill(first.pid, 'SIGSTOP');
  assert.equal(await parsedMessages(door), 0);
  // What the sweep of another worker does when the first one's lease is gone.
  await withClient(database.url, (client) =>
    client.query(
      'SELECT graphile_worker.force_unlock_workers(array_agg(locked_by)) FROM graphile_worker.jobs WHERE locked_by IS NOT NULL',
    ),
  );
  const second = await openFrontDoor(t, {
    databaseUrl: database.url,
    dataDir: door.dataDir,
    args: ['--roles', 'worker,http'],
  });
  await waitFor(async () => (await parsedMessages(door)) === 1, {
    timeoutMs: 60_000,
    what: 'the second worker to finish',
  });
  const jobs = await nextStageTakesAll(database.url);
  assert.equal(jobs, ATTACHMENTS);

  process.kill(first.pid, 'SIGCONT');
  const end = ['another worker finished this message first', 'mail parsed'];
  await waitFor(() => first.log.some(({ msg }) => end.includes(String(msg))), {
    timeoutMs: 60_000,
    what: 'the first worker to come to its end',
  });
  assert.equal(await nextStageTakesAll(database.url), 0, 'no second job for a document that the next stage has had');
  const untouched = await withClient(database.url, (client) =>
    client.query(`SELECT FROM document WHERE status = 'EXTRACTED'`),
  );
  assert.equal(untouched.rowCount, ATTACHMENTS, 'what the next stage wrote stays');
  await second.product.stop();
  await first.stop();
}

/** As the next stage does: takes the job, writes what it found. */
async function nextStageTakesAll(url: string): Promise<number> {
  return withClient(url, async (client) => {
    const { rowCount } = await client.query(
      `DELETE FROM graphile_worker._private_jobs
       WHERE task_id = (SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'extract_document')`,
    );
    await client.query(`UPDATE document SET status = 'EXTRACTED' WHERE status = 'STORED'`);
    return rowCount ?? 0;
  });
}

async function assertWhole(
  t: TestContext,
  door: FrontDoor,
  ledger: Ledger,
  told = (line: string) => t.diagnostic(line),
): Promise<void> {
  const report = await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  told(inWords(report));
  assert.deepEqual([report.problems, report.orphans], [[], []]);
}

async function documentsBegun(door: FrontDoor, count: number): Promise<void> {
  await waitFor(async () => (await documentsIn(door)).length >= count, {
    timeoutMs: 30_000,
    intervalMs: 1,
    what: 'the first attachments to be stored',
  });
}

async function documentsIn({ objectsDir }: FrontDoor): Promise<readonly string[]> {
  const names = await readdir(objectsDir, { recursive: true });
  return names.filter((name) => name.endsWith('.bin'));
}

async function parsedMessages({ databaseUrl }: FrontDoor): Promise<number> {
  return withClient(databaseUrl, async (client) => {
    const { rowCount } = await client.query(`SELECT FROM inbound_message WHERE status = 'PARSED'`);
    return rowCount ?? 0;
  });
}
