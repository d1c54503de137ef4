/** The answer to a commit is lost: nobody knows whether the rows are there. Whatever they are, nothing may be lost by it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { audit, inWords } from './audit.ts';
import { openCuttingProxy } from './cutting-proxy.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger } from './ledger.ts';
import { deliverOnce, startMailQueue } from './mail-queue.ts';
import { composeOrder, orders } from './order-mail.ts';

const INTAKE = 'orderflow-intake';
const WORKER = 'orderflow-worker';

async function openDoorBehindProxy(t: TestContext) {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const proxy = await openCuttingProxy(t, database.url);
  const door = await openFrontDoor(t, { databaseUrl: proxy.url });
  const ledger = createLedger();
  const look = () => audit({ ledger, databaseUrl: database.url, objectsDir: door.objectsDir });
  return { proxy, door, ledger, look };
}

/** The mail was written, its sender hears 451 and comes again. */
export async function answerToCommitLost(t: TestContext, slugs: readonly string[]): Promise<void> {
  const { proxy, door, ledger, look } = await openDoorBehindProxy(t);
  const mail = await composeOrder({ slugs });
  const cut = proxy.cutNextCommit(INTAKE, 'forwarded');
  const first = await deliverOnce(door.port, mail, ledger);
  await cut;
  assert.deepEqual([first.stage, first.code], ['mail data', 451]);
  const between = await look();
  assert.deepEqual(
    [between.messages, between.problems, between.orphans],
    [slugs.length, [], []],
    'the rows are there, and so are their objects',
  );
  const second = await deliverOnce(door.port, mail, ledger);
  assert.match(second.text, /^2\.0\.0 duplicate of /);
  const after = await look();
  assert.deepEqual([after.messages, after.problems, after.orphans], [slugs.length, [], []]);
  await door.product.stop();
}

/** The commit never reached the server: the retry is the first to be written, the first try leaves objects without rows. */
export async function commitNeverArrived(t: TestContext, slugs: readonly string[]): Promise<void> {
  const { proxy, door, ledger, look } = await openDoorBehindProxy(t);
  const mail = await composeOrder({ slugs });
  const cut = proxy.cutNextCommit(INTAKE, 'withheld');
  assert.equal((await deliverOnce(door.port, mail, ledger)).code, 451);
  await cut;
  assert.match((await deliverOnce(door.port, mail, ledger)).text, /^2\.0\.0 accepted /);
  const report = await look();
  assert.deepEqual([report.messages, report.problems], [slugs.length, []]);
  await door.product.stop();
}

export interface CutOptions {
  readonly cuts: number;
  readonly pauseMs?: number;
  readonly told?: (line: string) => void;
}

export async function commitsCutUnderLoad(t: TestContext, o: CutOptions): Promise<void> {
  const { proxy, door, ledger, look } = await openDoorBehindProxy(t);
  const queue = startMailQueue(t, {
    port: door.port,
    ledger,
    mails: orders(SLUGS),
    connections: 8,
    pauseMs: o.pauseMs ?? 0,
  });
  for (let cut = 0; cut < o.cuts; cut++) {
    await proxy.cutNextCommit(cut % 4 === 3 ? WORKER : INTAKE, cut % 3 === 2 ? 'withheld' : 'forwarded');
  }
  await queue.drain(60_000);
  const report = await look();
  (o.told ?? ((line) => t.diagnostic(line)))(
    `${o.cuts} cuts: ${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}`,
  );
  assert.deepEqual([report.problems, report.leftovers, queue.complaints], [[], [], []]);
  assert.ok((ledger.outcomes()['451'] ?? 0) > 0, 'cuts met mails under way');
  assert.equal(ledger.outcomes().lost, undefined, 'nobody was left without a reply');
  await door.product.stop();
}
