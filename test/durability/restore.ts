/** A backup under load, restored elsewhere: what was acknowledged before it began is there. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { clusterPaths } from '../../src/adapters/embedded-postgres/cluster.ts';
import { startProduct } from '../../src/testing/product.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit, inWords } from './audit.ts';
import { BACKUP_RIGHTS, BACKUP_SETTINGS, backUpDatabase, backUpObjects, restore } from './backup.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger, type Entry, isAcknowledgement, type Ledger } from './ledger.ts';
import { startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';
import { openOwnPostgres } from './own-postgres.ts';

export async function backupUnderLoad(t: TestContext): Promise<void> {
  const folder = await temporaryFolder(t);
  const ledger = createLedger();
  const { beganAt, ...backup } = await takeBackup(t, folder, ledger);
  const acknowledgedBefore = ledger.acknowledged().filter((entry) => wasAcknowledged(entry, beganAt)).length;
  assert.ok(
    acknowledgedBefore > 40 && ledger.acknowledged().length >= acknowledgedBefore + 40,
    'mail before and after',
  );

  const dataDir = join(folder, 'restored');
  await restore({ ...backup, dataDir });
  const product = await startProduct(t, { dataDir });
  const restored = { ledger: asOf(ledger, beganAt), databaseUrl: product.databaseUrl };
  const report = await audit({ ...restored, objectsDir: join(dataDir, 'objects') });
  // Documents of mails that came after the backup of the database, and before that of the objects.
  const problems = report.problems.filter((problem) => !problem.startsWith("a document's object without a document"));
  t.diagnostic(`${acknowledgedBefore} acknowledged before the backup: ${inWords(report)}`);
  assert.deepEqual(problems, []);
  assert.ok(report.orphans.length > 0, 'objects of later mails are in the backup, and do no harm');

  // The order matters, or this test would prove nothing: objects copied first lack those of the last rows.
  const wrong = await audit({ ...restored, objectsDir: backup.objectsTooEarly });
  assert.ok(
    wrong.problems.some((problem) => /^LOST: the mail .* has no object/.test(problem)),
    inWords(wrong),
  );
  await product.stop();
}

interface Backup {
  readonly database: string;
  readonly objects: string;
  /** Copied before the database was. */
  readonly objectsTooEarly: string;
  /** By performance.now(). */
  readonly beganAt: number;
}

async function takeBackup(t: TestContext, folder: string, ledger: Ledger): Promise<Backup> {
  const postgres = await openOwnPostgres(t, { settings: BACKUP_SETTINGS, asSuperuser: BACKUP_RIGHTS });
  const door = await openFrontDoor(t, { databaseUrl: postgres.url });
  const queue = startMailQueue(t, { port: door.port, ledger, mails: orders(SLUGS), connections: 6, pauseMs: 50 });
  const [database, objects, objectsTooEarly] = ['database', 'objects', 'objects-too-early'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const more = async (count: number): Promise<void> => {
    const enough = ledger.acknowledged().length + count;
    await waitFor(() => ledger.acknowledged().length >= enough, { timeoutMs: 60_000, what: `${count} more mails` });
  };
  await more(40);
  await backUpObjects({ objectsDir: door.objectsDir, to: objectsTooEarly });
  await more(20);
  const beganAt = performance.now();
  await backUpDatabase({ url: postgres.url, paths: clusterPaths(postgres.dataDir), to: database });
  await more(40);
  await backUpObjects({ objectsDir: door.objectsDir, to: objects });
  await queue.drain(60_000);
  assert.deepEqual(queue.complaints, []);
  await door.product.stop();
  return { database, objects, objectsTooEarly, beganAt };
}

function wasAcknowledged({ attempts }: Entry, before: number): boolean {
  return attempts.some((attempt) => isAcknowledgement(attempt) && attempt.endedAt <= before);
}

/** What the clients knew at that time. Later 250s are gone with the machine: each counts as a try that heard nothing. */
function asOf(ledger: Ledger, time: number): Ledger {
  const entries = ledger.entries.map(({ mail, attempts }) => ({
    mail,
    attempts: attempts.map((attempt) =>
      attempt.endedAt <= time ? attempt : { ...attempt, outcome: 'lost' as const, code: 0, text: '' },
    ),
  }));
  return { ...ledger, entries, acknowledged: () => entries.filter(({ attempts }) => attempts.some(isAcknowledgement)) };
}
