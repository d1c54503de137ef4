/** A failover as poolers and moving addresses make it: connections under way stay with the old primary, which is fenced. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { openMovingWay } from '../../src/testing/tcp-ways.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { openFrontDoor, withClient } from './front-door.ts';
import { addressOf, composeOrder } from './order-mail.ts';
import { startReplicated } from './standby.ts';

const MAILS = 19;
const MAILS_BEFORE = 13;

export async function failOverUnderProduct(t: TestContext, args: readonly string[]): Promise<void> {
  const { door, standby, caughtUp, failOver } = await openReplicatedDoor(t, args);
  const { product } = door;

  assert.equal(await sendOrder(door.port), 250);
  // Several at once, so that several connections of the pool lie idle when the server changes.
  const replies = await Promise.all(Array.from({ length: MAILS_BEFORE - 1 }, () => sendOrder(door.port)));
  assert.deepEqual(new Set(replies), new Set([250]));
  await caughtUp();
  await failOver();

  for (let count = 0; count < MAILS - MAILS_BEFORE; count++) assert.equal(await sendOrder(door.port), 250);
  await waitFor(async () => (await fetch(`${product.httpUrl}/readyz`)).ok, { what: 'readiness', timeoutMs: 30_000 });
  await allRead(standby.url, MAILS);
}

/**
 * A mail is read on the old primary in a transaction that the new one never sees, and the end of its job is told to the new
 * one: there it waits to be read, and has no job.
 */
export async function readOnTheOldPrimary(t: TestContext): Promise<void> {
  const { door, primary, standby, caughtUp, failOver } = await openReplicatedDoor(t, []);
  await withClient(primary.url, async (client) => {
    await client.query('BEGIN; LOCK TABLE document IN SHARE MODE');
    assert.equal(await sendOrder(door.port), 250);
    const blocked = `SELECT FROM pg_locks WHERE relation = 'document'::regclass AND NOT granted`;
    await waitFor(async () => (await client.query(blocked)).rowCount === 1, { what: 'the worker to write documents' });
    await caughtUp();
    await failOver();
    await client.query('ROLLBACK');
    const read = `SELECT FROM inbound_message WHERE status = 'PARSED'`;
    await waitFor(async () => (await client.query(read)).rowCount === 1, { what: 'the mail to be read there' });
  });
  await allRead(standby.url, 1);
}

async function openReplicatedDoor(t: TestContext, args: readonly string[]) {
  const replicated = await startReplicated(t);
  const way = await openMovingWay(t, replicated.primary.url);
  const url = new URL(replicated.primary.url);
  url.port = new URL(way.endpoint).port;
  const door = await openFrontDoor(t, { databaseUrl: url.href, args });
  return {
    ...replicated,
    door,
    async failOver() {
      way.moveTo(replicated.standby.url);
      await replicated.failOver();
    },
  };
}

async function allRead(url: string, mails: number): Promise<void> {
  await waitFor(
    () =>
      withClient(url, async (client) => {
        const { rows } = await client.query<{ status: string; count: number }>(
          'SELECT status, count(*)::int AS count FROM inbound_message GROUP BY status',
        );
        // Thrown, so that a timeout says what is missing: a mail, or its extraction.
        assert.deepEqual(rows, [{ status: 'PARSED', count: mails }]);
        return true;
      }),
    { what: 'the extraction of all mails on the new primary', timeoutMs: 90_000 },
  );
}

/** Shape: the last reply code. */
export async function sendOrder(port: number): Promise<number> {
  const { raw } = await composeOrder({ slugs: ['acme'], attachmentBytes: [300] });
  const client = await connectSmtp({ port });
  try {
    await client.readReply('greeting');
    await client.command('EHLO client.example');
    for (const line of ['MAIL FROM:<buyer@example.com>', `RCPT TO:<${addressOf('acme')}>`, 'DATA']) {
      const { code } = await client.command(line);
      if (code >= 400) return code;
    }
    await client.write(raw.toString('latin1').replace(/^\./gm, '..'));
    await client.write('.\r\n');
    return (await client.readReply('mail data')).code;
  } finally {
    client.close();
  }
}
