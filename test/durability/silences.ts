/**
 * The network forgets every connection, and says so to nobody: mail is accepted and read again without a restart, `/readyz`
 * says so for as long as it is not, and SIGTERM ends the product in order.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { openFirewall } from '../../src/testing/firewall.ts';
import { type Middlebox, openSilentWay } from '../../src/testing/silent-way.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type FrontDoor, openFrontDoor, withClient } from './front-door.ts';
import { createLedger, isAcknowledgement, type Ledger } from './ledger.ts';
import { deliverOnce } from './mail-queue.ts';
import { composeOrder } from './order-mail.ts';

/** A statement has 17 s to be answered, a pool of jobs 5 s to end and 2 s until the next. */
const RECOVERY_MS = 60_000;
/** An orchestrator kills after 30 s or less. */
const STOP_MS = 20_000;
const MAILS = 4;

export interface SilenceOptions {
  readonly silences: number;
  readonly silentMs: number;
  readonly args?: readonly string[];
  readonly told?: (line: string) => void;
}

export async function databaseForgotten(t: TestContext, o: SilenceOptions): Promise<void> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  await silencesSurvived(t, await openSilentWay(t, database.url), database.url, o);
}

/** The same by a firewall that drops packets: nothing is acknowledged any more. */
export async function databaseFirewalled(t: TestContext, o: SilenceOptions): Promise<void> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const firewall = await openFirewall(t, database.url);
  if (firewall !== null) await silencesSurvived(t, firewall, database.url, o);
}

export async function silencesSurvived(
  t: TestContext,
  middlebox: Middlebox,
  directUrl: string,
  o: SilenceOptions,
): Promise<void> {
  const told = o.told ?? ((line: string) => t.diagnostic(line));
  const door = await openFrontDoor(t, { databaseUrl: middlebox.url, ...(o.args ? { args: o.args } : {}) });
  const ledger = createLedger();
  await deliverMails(door, ledger, MAILS);
  await allRead(directUrl, ledger);

  for (let silence = 1; silence <= o.silences; silence++) {
    await middlebox.silence();
    const silentAt = Date.now();
    await sleep(o.silentMs);
    const { status, since } = await readiness(door);
    assert.equal(status, 503, '/readyz says not ready while nothing can be read');
    assert.ok(since.length > 0 && since.every((at) => at >= silentAt - 30_000 && at <= Date.now()), 'and since when');
    await middlebox.speak();
    const spokeAt = performance.now();
    await deliverMails(door, ledger, MAILS);
    const takenAt = performance.now();
    await allRead(directUrl, ledger);
    const readAt = performance.now();
    await waitFor(async () => (await readiness(door)).status === 200, { timeoutMs: RECOVERY_MS, what: '/readyz' });
    told(
      `silence ${silence}: ${MAILS} mails taken ${Math.round(takenAt - spokeAt)} ms after it, read ` +
        `${Math.round(readAt - takenAt)} ms later, ready ${Math.round(performance.now() - readAt)} ms later`,
    );
  }
  assert.equal(ledger.outcomes().lost, undefined, 'nobody waits in vain for a reply');
  await stopsInTime(door);
}

/** SIGTERM while the network is silent. */
export async function stoppedInSilence(t: TestContext, silentMs: number): Promise<void> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const way = await openSilentWay(t, database.url);
  const door = await openFrontDoor(t, { databaseUrl: way.url });
  way.silence();
  await sleep(silentMs);
  await stopsInTime(door);
}

async function stopsInTime(door: FrontDoor): Promise<void> {
  const stoppingAt = performance.now();
  await door.product.stop();
  const tookMs = performance.now() - stoppingAt;
  assert.ok(tookMs < STOP_MS, `SIGTERM ends it in time, not after ${Math.round(tookMs)} ms`);
}

/** Again and again, as a sender does that is told to come back. */
async function deliverMails(door: FrontDoor, ledger: Ledger, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const mail = await composeOrder({ slugs: ['acme'], attachmentBytes: [2_000, 3_000] });
    const taken = async () => isAcknowledgement(await deliverOnce(door.port, mail, ledger));
    await waitFor(taken, { timeoutMs: RECOVERY_MS, intervalMs: 500, what: 'a mail to be taken' });
  }
}

async function allRead(url: string, ledger: Ledger): Promise<void> {
  const read = async () =>
    withClient(url, async (client) => {
      const { rowCount } = await client.query(`SELECT FROM inbound_message WHERE status = 'PARSED'`);
      return rowCount === ledger.acknowledged().length;
    });
  await waitFor(read, { timeoutMs: RECOVERY_MS, intervalMs: 250, what: 'every accepted mail to be read' });
}

/** Shape: `since`, in milliseconds of the clock, of the parts that are not ready. */
async function readiness(door: FrontDoor): Promise<{ status: number; since: readonly number[] }> {
  const response = await fetch(`${door.product.httpUrl}/readyz`);
  const { checks } = (await response.json()) as { checks: Record<string, { ready: boolean; since?: string }> };
  const failed = Object.values(checks).filter(({ ready }) => !ready);
  return { status: response.status, since: failed.map(({ since }) => Date.parse(since ?? '')) };
}
