/** A later version has taken a breaking migration of the job queue: what this one, the earlier, does then. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { bareEnvironment } from '../../src/testing/environment.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { sendOrder } from '../durability/failover.ts';
import { type FrontDoor, openFrontDoor, withClient } from '../durability/front-door.ts';

const LAUNCHER = fileURLToPath(new URL('../../bin/orderflow-ingest.cjs', import.meta.url));

/** As graphile-worker leaves it, and tells the workers that run. */
const BREAKING = `
  INSERT INTO graphile_worker.migrations (id, breaking) VALUES (999999, true);
  SELECT pg_notify('worker:migrate', '{"migrationNumber":999999,"breaking":true}')`;

/** `start` that does not become ready as a whole. Shape: its ports. */
async function startUnready(t: TestContext, { databaseUrl, dataDir }: FrontDoor) {
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const child = spawn(process.execPath, [LAUNCHER, 'start'], {
    cwd: dataDir,
    env: {
      ...bareEnvironment(),
      DATABASE_URL: databaseUrl,
      DATA_DIR: dataDir,
      SMTP_PORT: String(smtpPort),
      HTTP_PORT: String(httpPort),
    },
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  cleanUp(t, async () => {
    child.kill('SIGTERM');
    await ended;
  });
  return { smtpPort, httpUrl: `http://127.0.0.1:${httpPort}` };
}

async function assertNoWorker(httpUrl: string): Promise<void> {
  const answer = async (part: string) => await fetch(`${httpUrl}/readyz/${part}`).catch(() => null);
  await waitFor(async () => (await answer('database'))?.ok, { what: 'the server' });
  await waitFor(async () => (await answer('jobs'))?.status === 503, { what: '/readyz to say that no worker runs' });
}

test('a breaking migration of the job queue: workers stop and none starts, /readyz says so, and mail is taken', {
  timeout: 120_000,
}, async (t) => {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const read = () =>
    withClient(database.url, async (client) => {
      const { rows } = await client.query<{ status: string }>('SELECT status FROM inbound_message ORDER BY id');
      return rows.map(({ status }) => status).join(' ');
    });
  const running = await openFrontDoor(t, { databaseUrl: database.url });
  assert.equal(await sendOrder(running.port), 250);
  await waitFor(async () => (await read()) === 'PARSED', { what: 'the extraction' });

  await withClient(database.url, (client) => client.query(BREAKING));
  await assertNoWorker(running.product.httpUrl);
  assert.equal(await sendOrder(running.port), 250);

  // Of the old version, too: somebody's machine reboots in between.
  const again = await startUnready(t, running);
  await assertNoWorker(again.httpUrl);
  assert.equal(await sendOrder(again.smtpPort), 250);
  assert.equal(await read(), 'PARSED RECEIVED RECEIVED');

  // As when the old version is brought back, or the new worker comes.
  await withClient(database.url, (client) => client.query('DELETE FROM graphile_worker.migrations WHERE id = 999999'));
  await waitFor(async () => (await read()) === 'PARSED PARSED PARSED', {
    timeoutMs: 30_000,
    what: 'the mails that waited',
  });
  await running.product.stop();
});
