/** Clients that vanish: in the middle of their mail, and just before they would have read their 250. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { scrape } from '../../src/testing/scrape.ts';
import { connectSmtp, dotStuffed, type SmtpClient } from '../../src/testing/smtp-client.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { audit } from './audit.ts';
import { type FrontDoor, openFrontDoor, SLUGS, withClient } from './front-door.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { deliverOnce } from './mail-queue.ts';
import { addressOf, composeOrder, type OrderMail } from './order-mail.ts';

const ENDINGS = ['FIN', 'RST'] as const;

async function openDoorOnTestDatabase(
  t: TestContext,
): Promise<{ door: FrontDoor; ledger: Ledger; look: () => ReturnType<typeof audit> }> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const door = await openFrontDoor(t, { databaseUrl: database.url });
  const ledger = createLedger();
  return { door, ledger, look: () => audit({ ledger, databaseUrl: database.url, objectsDir: door.objectsDir }) };
}

export async function goneInTheMiddle(t: TestContext): Promise<void> {
  const { door, ledger, look } = await openDoorOnTestDatabase(t);
  const mail = await composeOrder({ slugs: SLUGS, attachmentBytes: [3_000_000] });
  const wire = dotStuffed(mail.raw);
  // The last three bytes are the final dot and its line end: without them, or without a part of them, it is no mail.
  const cuts = [1, 20_000, wire.length - 500, wire.length - 3, wire.length - 2, wire.length - 1];
  await Promise.all(
    ENDINGS.flatMap((ending) =>
      cuts.map(async (length) => {
        const client = await inData(door, mail);
        await client.write(wire.subarray(0, length));
        if (length > 100_000)
          await waitFor(async () => (await unfinishedFiles(door)) > 0, { what: 'the mail to be written' });
        await vanish(client, ending);
      }),
    ),
  );
  await waitFor(async () => (await openSessions(door)) === 0, { what: 'the sessions to end' });
  await waitFor(async () => (await unfinishedFiles(door)) === 0, { what: 'the unfinished files to go' });
  const nothing = await look();
  assert.deepEqual([nothing.messages, nothing.problems, nothing.orphans, nothing.leftovers], [0, [], [], []]);
  assert.equal((await deliverOnce(door.port, mail, ledger)).code, 250, 'the process lives');
  const whole = await look();
  assert.deepEqual([whole.messages, whole.problems, whole.orphans, whole.leftovers], [2, [], [], []]);
  await door.product.stop();
}

export async function goneBeforeTheLastReply(t: TestContext): Promise<void> {
  const { door, ledger, look } = await openDoorOnTestDatabase(t);
  const mails = await Promise.all(Array.from({ length: 8 }, () => composeOrder({ slugs: SLUGS })));
  await Promise.all(
    mails.map(async (mail, index) => {
      const client = await inData(door, mail);
      client.socket.pause();
      await client.write(dotStuffed(mail.raw));
      // Half of them go once the rows are there, half while nobody can know.
      if (index % 2 === 0) await waitFor(() => isThere(door, mail), { what: 'the mail to be recorded' });
      await vanish(client, ENDINGS[index % 4 < 2 ? 0 : 1]);
    }),
  );
  for (const mail of mails) assert.equal((await deliverOnce(door.port, mail, ledger)).code, 250);
  const again = ledger.attempts().filter(({ text }) => text.startsWith('2.0.0 duplicate of '));
  assert.ok(again.length >= mails.length / 2, 'those that were recorded are duplicates now');
  await waitFor(async () => (await openSessions(door)) === 0, { what: 'the sessions to end' });
  const report = await look();
  assert.deepEqual(
    [report.messages, report.conflicts, report.problems, report.orphans, report.leftovers],
    [mails.length * SLUGS.length, 0, [], [], []],
  );
  await door.product.stop();
}

async function inData({ port }: FrontDoor, { slugs }: OrderMail): Promise<SmtpClient> {
  const client = await connectSmtp({ port });
  await client.readReply('greeting');
  for (const line of [
    'EHLO sender.example',
    'MAIL FROM:<buyer@ledger.example>',
    ...slugs.map((slug) => `RCPT TO:<${addressOf(slug)}>`),
  ])
    assert.equal((await client.command(line)).code, 250, line);
  assert.equal((await client.command('DATA')).code, 354);
  return client;
}

async function vanish({ socket, closed }: SmtpClient, how: (typeof ENDINGS)[number]): Promise<void> {
  if (how === 'RST') socket.resetAndDestroy();
  else socket.destroy();
  await closed;
}

/** By the product's own gauge. */
async function openSessions({ product }: FrontDoor): Promise<number> {
  const metrics = await scrape(product.httpUrl);
  return Number(/^smtp_connections(?:\{.*\})? (\d+)/m.exec(metrics)?.[1] ?? Number.NaN);
}

async function unfinishedFiles({ objectsDir }: FrontDoor): Promise<number> {
  return (await readdir(`${objectsDir}/+incoming`)).length;
}

async function isThere({ databaseUrl }: FrontDoor, { messageId }: OrderMail): Promise<boolean> {
  return withClient(databaseUrl, async (client) => {
    const { rowCount } = await client.query('SELECT FROM inbound_message WHERE source_message_id = $1', [messageId]);
    return rowCount === SLUGS.length;
  });
}
