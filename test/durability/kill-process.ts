/** kill -9 of single processes of `start --processes` under load, while the others go on. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit, inWords } from './audit.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger } from './ledger.ts';
import { startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';

export interface KillProcessOptions {
  readonly kills: number;
  /** The longest time between two kills. */
  readonly lifeMs: number;
  readonly pauseMs?: number;
  readonly told?: (line: string) => void;
}

/** A worker's death is looked at in `worker-faults.ts`: until its jobs are given back takes a while. */
const NAMES = ['smtp-1', 'smtp-2'];

export async function killProcessUnderLoad(t: TestContext, o: KillProcessOptions): Promise<void> {
  const { told = (line) => t.diagnostic(line) } = o;
  const door = await openFrontDoor(t, { args: ['--processes', '2'] });
  const ledger = createLedger();
  const queue = startMailQueue(t, {
    port: door.port,
    ledger,
    mails: orders(SLUGS),
    connections: 12,
    pauseMs: o.pauseMs ?? 0,
  });
  const started = (name: string) =>
    door.product.log.filter(({ process, msg }) => process === name && msg === 'process started');
  for (let kill = 0; kill < o.kills; kill++) {
    await sleep(randomInt(20, o.lifeMs));
    const name = NAMES[kill % NAMES.length] ?? '';
    await waitFor(() => started(name).length > 0, { what: `the line that ${name} has started` });
    const lives = started(name).length;
    process.kill(Number(started(name).at(-1)?.pid), 'SIGKILL');
    await waitFor(() => started(name).length > lives, { timeoutMs: 30_000, what: `the successor of ${name}` });
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
