import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit, inWords } from './audit.ts';
import { openFrontDoor, SLUGS } from './front-door.ts';
import { createLedger } from './ledger.ts';
import { startMailQueue } from './mail-queue.ts';
import { orders } from './order-mail.ts';

test('reconcile beside a server under load takes nothing that was acknowledged', { timeout: 180_000 }, async (t) => {
  const door = await openFrontDoor(t);
  const ledger = createLedger();
  const queue = startMailQueue(t, { port: door.port, ledger, mails: orders(SLUGS) });
  const env = { DATABASE_URL: door.databaseUrl, DATA_DIR: door.dataDir };
  const cli = createTestCli({ compose, cwd: door.dataDir, env });
  for (let run = 1; run <= 4; run++) {
    const enough = ledger.acknowledged().length + 40;
    await waitFor(() => ledger.acknowledged().length >= enough, { timeoutMs: 60_000, what: '40 more mails taken' });
    const { code, stdout, stderr } = await cli.run('reconcile', '--json');
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout);
    assert.deepEqual([report.objects.removed, report.rows.missing_objects, report.jobs.added], [0, 0, 0], stdout);
  }
  await queue.drain(60_000);
  const report = await audit({ ledger, databaseUrl: door.databaseUrl, objectsDir: door.objectsDir });
  t.diagnostic(inWords(report));
  assert.deepEqual([report.problems, report.orphans, report.leftovers, queue.complaints], [[], [], [], []]);
  await door.product.stop();
});
