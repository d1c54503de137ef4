/** kill -9 of PostgreSQL under load: the embedded one, which the product starts again, and one that stays away a while. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type AuditReport, audit, inWords } from './audit.ts';
import { type FrontDoor, openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger, isAcknowledgement, type Ledger } from './ledger.ts';
import { type MailQueue, startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';
import { openOwnPostgres, signal, withChildren } from './own-postgres.ts';

export interface PostgresDownOptions {
  readonly kills: number;
  readonly pauseMs?: number;
  readonly told?: (line: string) => void;
}

/** Each kill takes the postmaster alone, or all of its processes, in turn. */
export async function killEmbeddedPostgresUnderLoad(
  t: TestContext,
  o: PostgresDownOptions & { readonly whole: boolean },
): Promise<void> {
  const door = await openFrontDoor(t);
  const { ledger, queue } = load(t, door, o.pauseMs);
  for (let kill = 1; kill <= o.kills; kill++) {
    await nextAcknowledgements(ledger, 40);
    const postmaster = await postmasterOf(door.dataDir);
    const victims = o.whole ? await withChildren(postmaster) : [postmaster];
    for (const pid of victims) signal(pid, 'SIGKILL');
    await waitFor(async () => (await postmasterOf(door.dataDir)) !== postmaster, {
      timeoutMs: 30_000,
      what: 'another postmaster',
    });
    await nextAcknowledgements(ledger, 40);
  }
  const report = await settled(door, ledger, queue);
  (o.told ?? ((line) => t.diagnostic(line)))(
    `${o.kills} kills: ${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}`,
  );
  assert.ok((ledger.outcomes()['451'] ?? 0) > 0, 'a kill met mails under way');
  await door.product.stop();
}

/** While it is away nothing is acknowledged, and everybody is told to come again. */
export async function postgresAwayUnderLoad(
  t: TestContext,
  o: PostgresDownOptions & { readonly awayMs: number },
): Promise<void> {
  const postgres = await openOwnPostgres(t);
  const door = await openFrontDoor(t, { databaseUrl: postgres.url });
  const { ledger, queue } = load(t, door, o.pauseMs);
  for (let kill = 1; kill <= o.kills; kill++) {
    await nextAcknowledgements(ledger, 40);
    await postgres.kill();
    const goneAt = performance.now();
    await sleep(o.awayMs);
    const backAt = performance.now();
    await postgres.start();
    await nextAcknowledgements(ledger, 40);
    const meanwhile = ledger
      .attempts()
      .filter(({ dataSentAt, endedAt }) => (dataSentAt ?? 0) > goneAt && endedAt < backAt);
    assert.deepEqual(meanwhile.filter(isAcknowledgement), [], 'no 250 while it is away');
    const turnedAway = ledger
      .attempts()
      .filter(({ code, endedAt }) => code === 451 && endedAt > goneAt && endedAt < backAt);
    assert.ok(turnedAway.length > 0, 'senders are told to come again while it is away');
  }
  const report = await settled(door, ledger, queue);
  (o.told ?? ((line) => t.diagnostic(line)))(
    `${o.kills} kills: ${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}`,
  );
  await door.product.stop();
}

function load(t: TestContext, door: FrontDoor, pauseMs = 5): { ledger: Ledger; queue: MailQueue } {
  const ledger = createLedger();
  const queue = startMailQueue(t, { port: door.port, ledger, mails: orders(SLUGS), connections: 10, pauseMs });
  return { ledger, queue };
}

async function settled(door: FrontDoor, ledger: Ledger, queue: MailQueue): Promise<AuditReport> {
  await queue.drain(60_000);
  const report = await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  assert.deepEqual([report.problems, report.leftovers, queue.complaints], [[], [], []]);
  assert.equal(ledger.outcomes().lost, undefined, 'nobody was left without a reply');
  return report;
}

async function nextAcknowledgements(ledger: Ledger, count: number): Promise<void> {
  const enough = ledger.acknowledged().length + count;
  await waitFor(() => ledger.acknowledged().length >= enough, { timeoutMs: 60_000, what: `${count} more mails taken` });
}

/** 0 while there is none. */
async function postmasterOf(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, 'postgres', 'data', 'postmaster.pid'), 'utf8').catch(() => '');
  return Number.parseInt(text, 10) || 0;
}
