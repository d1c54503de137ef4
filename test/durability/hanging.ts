/** PostgreSQL stands still (SIGSTOP): it takes connections and answers nobody. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit, inWords } from './audit.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger, isAcknowledgement, type Ledger } from './ledger.ts';
import { startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';
import { openOwnPostgres } from './own-postgres.ts';

export interface HangOptions {
  readonly hangs: number;
  readonly hangMs: number;
  readonly told?: (line: string) => void;
}

/** Our own deadlines are 17 s for a statement and 30 s for a step; a client of RFC 5321 waits ten minutes. */
const REPLY_WITHIN_MS = 45_000;
/** A pool may grow to its full number of connections. */
const MORE_DESCRIPTORS = 20;
const MORE_MEMORY_BYTES = 96 * 1024 * 1024;

export async function postgresHangsUnderLoad(t: TestContext, o: HangOptions): Promise<void> {
  const told = o.told ?? ((line: string) => t.diagnostic(line));
  const postgres = await openOwnPostgres(t);
  const door = await openFrontDoor(t, { databaseUrl: postgres.url });
  const ledger = createLedger();
  const options = { port: door.port, ledger, connections: 40, mailsPerConnection: 2, replyTimeoutMs: REPLY_WITHIN_MS };
  const warming = startMailQueue(t, { ...options, mails: orders(SLUGS) });
  await moreMails(ledger, 200);
  await warming.drain(60_000);
  await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  const before = await resourcesOf(door.product.pid);

  const queue = startMailQueue(t, { ...options, mails: orders(SLUGS), pauseMs: 100 });
  await moreMails(ledger, 50);

  for (let hang = 1; hang <= o.hangs; hang++) {
    await postgres.suspend();
    const stoppedAt = performance.now();
    await sleep(o.hangMs);
    const resumedAt = performance.now();
    const meanwhile = ledger.attempts().filter(({ endedAt }) => endedAt > stoppedAt + 1_000 && endedAt < resumedAt);
    await postgres.resume();
    assert.deepEqual(meanwhile.filter(isAcknowledgement), [], 'no 250 while it stands still');
    assert.ok(
      meanwhile.some(({ code }) => code === 451),
      'senders are told to come again while it stands still',
    );
    await moreMails(ledger, 50);
    const longestMs = Math.max(...meanwhile.map(({ waitedMs }) => waitedMs));
    told(`hang ${hang}: ${meanwhile.length} replies meanwhile, the longest after ${Math.round(longestMs)} ms`);
  }

  await queue.drain(60_000);
  const report = await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  const after = await resourcesOf(door.product.pid);
  told(
    `${inWords(report)}; heard: ${JSON.stringify(ledger.outcomes())}; before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`,
  );
  assert.deepEqual([report.problems, report.leftovers, queue.complaints], [[], [], []]);
  assert.equal(ledger.outcomes().lost, undefined, 'nobody waits in vain for a reply');
  assert.ok(after.descriptors <= before.descriptors + MORE_DESCRIPTORS, 'no descriptor is left open');
  assert.ok(after.memoryBytes <= before.memoryBytes + MORE_MEMORY_BYTES, 'no memory is kept');
  await door.product.stop();
}

async function moreMails(ledger: Ledger, count: number): Promise<void> {
  const enough = ledger.acknowledged().length + count;
  await waitFor(() => ledger.acknowledged().length >= enough, { timeoutMs: 60_000, what: `${count} more mails taken` });
}

async function resourcesOf(pid: number): Promise<{ descriptors: number; memoryBytes: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const memoryBytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  return { descriptors: (await readdir(`/proc/${pid}/fd`)).length, memoryBytes };
}
