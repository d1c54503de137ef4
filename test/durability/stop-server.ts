/** SIGTERM under load, again and again, as a rolling update does it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { audit, inWords } from './audit.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger, nameOf } from './ledger.ts';
import { startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';

export interface StopServerOptions {
  readonly stops: number;
  readonly lifeMs: number;
  readonly pauseMs?: number;
  readonly told?: (line: string) => void;
}

/** A client may hear these, or find nobody there while the next one starts. */
const ALLOWED = new Set(['250', '421', '451', 'refused']);

export async function stopServerUnderLoad(t: TestContext, o: StopServerOptions): Promise<void> {
  const { told = (line) => t.diagnostic(line) } = o;
  const door = await openFrontDoor(t);
  const ledger = createLedger();
  const queue = startMailQueue(t, {
    port: door.port,
    ledger,
    mails: orders(SLUGS),
    connections: 12,
    pauseMs: o.pauseMs ?? 0,
  });
  for (let stop = 1; stop <= o.stops; stop++) {
    await sleep(o.lifeMs);
    await door.product.stop(); // Rejects unless it ends with 0.
    await door.start();
    if (o.stops > 20 && stop % 10 === 0) told(`${stop} stops: ${JSON.stringify(ledger.outcomes())}`);
  }
  await queue.drain(60_000);
  const report = await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  told(`${o.stops} stops: ${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}`);
  const heard = ledger.attempts().filter((attempt) => !ALLOWED.has(nameOf(attempt)));
  assert.deepEqual(heard, [], 'clients hear 250, 421 or 451');
  assert.deepEqual([report.problems, report.orphans, report.leftovers, queue.complaints], [[], [], [], []]);
  assert.ok((ledger.outcomes()['421'] ?? 0) > 0, 'a stop met sessions');
  await door.product.stop();
}
