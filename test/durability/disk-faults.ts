/** The disk is full, or says no to a sync: of the object store, and of PostgreSQL. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { missing } from '../../src/testing/missing.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit } from './audit.ts';
import { type FrontDoor, openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { deliverOnce, startMailQueue } from './mail-queue.ts';
import { composeOrder, orders } from './order-mail.ts';
import { openOwnPostgres } from './own-postgres.ts';
import { canTrace, trace } from './tracing.ts';

async function openDoorOnTestDatabase(t: TestContext, dataDir?: string): Promise<FrontDoor> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  return openFrontDoor(t, { databaseUrl: database.url, ...(dataDir === undefined ? {} : { dataDir }) });
}

const look = (door: FrontDoor, ledger: Ledger) =>
  audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });

export async function diskFull(t: TestContext): Promise<void> {
  const dataDir = await temporaryFolder(t);
  const objectsDir = join(dataDir, 'objects');
  if (!(await mountSmallDisk(t, objectsDir, 4))) return;
  const door = await openDoorOnTestDatabase(t, dataDir);
  const ledger = createLedger();
  const small = () => composeOrder({ slugs: ['acme'], attachmentBytes: [2_000] });
  assert.equal((await deliverOnce(door.port, await small(), ledger)).code, 250);
  await look(door, ledger); // Its extraction has room.

  const free = (await statfs(objectsDir)).bavail * 4096;
  await writeFile(join(dataDir, 'objects', 'ballast'), Buffer.alloc(free - 40_000));
  const large = await composeOrder({ slugs: ['acme'], attachmentBytes: [300_000] });
  const refused = await deliverOnce(door.port, large, ledger);
  assert.deepEqual([refused.stage, refused.code, refused.text.slice(0, 5)], ['mail data', 452, '4.3.1']);
  await rm(join(dataDir, 'objects', 'ballast'));

  const during = await look(door, ledger);
  assert.deepEqual(
    [during.messages, during.problems, during.orphans, during.leftovers],
    [1, [], [], []],
    'nothing of it stays',
  );
  assert.equal((await deliverOnce(door.port, large, ledger)).code, 250, 'it is taken once there is room');
  const after = await look(door, ledger);
  assert.deepEqual([after.messages, after.problems, after.orphans, after.leftovers], [2, [], [], []]);
  await door.product.stop();
}

/** false, and the test is skipped, where nothing can be mounted. */
async function mountSmallDisk(t: TestContext, folder: string, sizeMiB: number): Promise<boolean> {
  await mkdir(folder);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=700`, 'none', folder]);
  if (mounted.status === 0) {
    cleanUp(t, () => void spawnSync('umount', ['-l', folder]));
    return true;
  }
  missing(
    t,
    'mount',
    `a small disk cannot be mounted here: ${mounted.error?.message ?? mounted.stderr.toString().trim()}`,
  );
  return false;
}

/**
 * `call` is what the kernel refuses: the file's sync, or the directory's. A small mail has no sync of its own: its write is
 * one, and the file store's tests refuse that.
 */
export async function objectSyncFails(t: TestContext, call: 'fdatasync' | 'fsync'): Promise<void> {
  if (!canTrace(t)) return;
  const door = await openDoorOnTestDatabase(t);
  const ledger = createLedger();
  assert.equal((await deliverOnce(door.port, await composeOrder({ slugs: SLUGS }), ledger)).code, 250);
  await look(door, ledger);

  const tracing = await trace(t, { pids: [door.product.pid], calls: call, inject: `${call}:error=EIO` });
  const mail = await composeOrder({ slugs: SLUGS, attachmentBytes: [call === 'fdatasync' ? 400_000 : 300] });
  const refused = await deliverOnce(door.port, mail, ledger);
  const calls = await tracing.detach();
  assert.ok(
    calls.some(({ text }) => text.includes('INJECTED')),
    'the fault was met',
  );
  assert.deepEqual([refused.stage, refused.code], ['mail data', 451]);
  const during = await look(door, ledger);
  assert.deepEqual(
    [during.messages, during.problems, during.orphans, during.leftovers],
    [2, [], [], []],
    'no row, no object',
  );

  assert.equal((await deliverOnce(door.port, mail, ledger)).code, 250, 'it is taken once the disk is well');
  const after = await look(door, ledger);
  assert.deepEqual([after.messages, after.problems, after.orphans, after.leftovers], [4, [], [], []]);
  await door.product.stop();
}

/**
 * PostgreSQL's answer to a failed sync of its log is to crash and to recover. The commit that met it may be found in the
 * log then: its raw mail must be there.
 */
export async function databaseSyncFails(t: TestContext): Promise<void> {
  if (!canTrace(t)) return;
  const postgres = await openOwnPostgres(t);
  const door = await openFrontDoor(t, { databaseUrl: postgres.url });
  const ledger = createLedger();
  const queue = startMailQueue(t, { port: door.port, ledger, mails: orders(SLUGS), connections: 6, pauseMs: 5 });
  await waitFor(() => ledger.acknowledged().length > 30, { what: 'load' });
  const tracing = await trace(t, {
    pids: await postgres.processes(),
    calls: 'fdatasync',
    inject: 'fdatasync:error=EIO',
  });
  await waitFor(() => (ledger.outcomes()['451'] ?? 0) > 5, { timeoutMs: 30_000, what: 'senders told to come again' });
  const calls = await tracing.detach();
  assert.ok(
    calls.some(({ text }) => text.includes('INJECTED')),
    'the fault was met',
  );
  const before = ledger.acknowledged().length;
  await waitFor(() => ledger.acknowledged().length > before + 20, { timeoutMs: 60_000, what: 'PostgreSQL to be back' });
  await queue.drain(60_000);
  const report = await look(door, ledger);
  assert.deepEqual([report.problems, report.leftovers, queue.complaints], [[], [], []]);
  await door.product.stop();
}
