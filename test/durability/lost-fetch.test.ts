/** The answer to a fetch of a job is lost: the job is locked by a worker that lives and does not know of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { openFrontDoor, withClient } from './front-door.ts';
import { createLedger } from './ledger.ts';
import { deliverOnce } from './mail-queue.ts';
import { composeOrder } from './order-mail.ts';

/** Shape: `cut` resolves once a connection was cut in the place of the next answer that has a job to read a mail. */
async function openWayThatLosesAJob(t: TestContext, databaseUrl: string) {
  const url = new URL(databaseUrl);
  const target = { host: url.hostname, port: Number(url.port), noDelay: true };
  const sockets = new Set<Socket>();
  let lost: (() => void) | null = null;
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect(target);
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}));
    let fetching = false;
    client.on('data', (bytes: Buffer) => {
      fetching ||= bytes.includes('get_job');
      upstream.write(bytes);
    });
    upstream.on('data', (bytes: Buffer) => {
      if (lost === null || !fetching || !bytes.includes('inbound_message_id')) return void client.write(bytes);
      lost();
      lost = null;
      client.destroy();
    });
    client.on('close', () => upstream.end());
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  url.port = String((server.address() as AddressInfo).port);
  return { url: url.href, cut: () => new Promise<void>((resolve) => (lost = resolve)) };
}

test('the answer to a fetch is lost: the mail is read within a minute, not after four hours', async (t) => {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const way = await openWayThatLosesAJob(t, database.url);
  const door = await openFrontDoor(t, { databaseUrl: way.url });
  const cut = way.cut();
  assert.equal((await deliverOnce(door.port, await composeOrder({ slugs: ['acme'] }), createLedger())).code, 250);
  await cut;
  const parsed = async (): Promise<boolean> =>
    withClient(database.url, async (client) => {
      const { rowCount } = await client.query(`SELECT FROM inbound_message WHERE status = 'PARSED'`);
      return rowCount === 1;
    });
  assert.equal(await parsed(), false, 'the answer was lost');
  await waitFor(parsed, { timeoutMs: 60_000, what: 'the mail to be read' });
  await door.product.stop();
});
