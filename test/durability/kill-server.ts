/** kill -9 of the server at any moment under load. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { audit, inWords } from './audit.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger } from './ledger.ts';
import { startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';

export interface KillServerOptions {
  readonly kills: number;
  /** The longest life between two kills. */
  readonly lifeMs: number;
  /** Between two mails on each connection. */
  readonly pauseMs?: number;
  readonly told?: (line: string) => void;
}

export async function killServerUnderLoad(t: TestContext, o: KillServerOptions): Promise<void> {
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
  for (let kill = 1; kill <= o.kills; kill++) {
    const before = ledger.acknowledged().length;
    await sleep(randomInt(20, o.lifeMs));
    await door.product.kill();
    const gained = ledger.acknowledged().length - before;
    await door.start();
    if (o.kills > 20 && kill % 10 === 0)
      told(`${kill} kills: ${JSON.stringify(ledger.outcomes())}, ${gained} mails in the last life`);
  }
  await queue.drain(60_000);
  const report = await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  told(`${o.kills} kills: ${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}`);
  assert.deepEqual(report.problems, []);
  assert.deepEqual(queue.complaints, []);
  assert.ok(report.acknowledged > o.kills, 'there was load');
  assert.ok((ledger.outcomes().lost ?? 0) > 0, 'a kill met mails under way');
  await door.product.stop();
}
