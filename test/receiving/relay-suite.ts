/** What docs/receiving.md promises of a server that hands our mail on, with the real one, by the page's own configuration. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { freePort } from '../../src/testing/free-port.ts';
import { connectSmtp, sendRaw } from '../../src/testing/smtp-client.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type Ingest, startIngest } from '../specification/support/ingest.ts';
import { CSV, mailWith } from '../specification/support/mails.ts';
import { COMPANY_ALIAS, ORDERS_DOMAIN } from './page.ts';

export interface Relay {
  readonly port: number;
  /** Tries what is queued, at once. */
  flush(): Promise<unknown>;
  /** Mails in its queue. */
  queued(): Promise<number>;
}

export interface RelayCase {
  readonly start: (t: TestContext, ingestPort: number) => Promise<Relay>;
  /** Its own bound, as the page sets it, in bytes as they are sent. */
  readonly largestBytes: number;
  readonly tooLargeBytes: number;
  /** What a mail for an address gets that it has not asked us for yet, while we are down. */
  readonly unaskedWhileDown: 250 | 450;
}

const ACME = `orders+acme@${ORDERS_DOMAIN}`;
const GLOBEX = `orders+globex@${ORDERS_DOMAIN}`;
const BUYER = 'buyer@customer.example';

let mails = 0;
const newMail = (): { id: string; data: string } => {
  const id = `<relayed-${++mails}@customer.example>`;
  return { id, data: `Message-ID: ${id}\r\n${mailWith([CSV]).toString('latin1')}` };
};

interface Pair {
  readonly ingest: Ingest;
  readonly relay: Relay;
  readonly ingestPort: number;
}

async function startPair(t: TestContext, { start }: RelayCase): Promise<Pair> {
  const ingestPort = await freePort();
  const env = { SMTP_DOMAIN: ORDERS_DOMAIN, SMTP_PORT: `${ingestPort}` };
  const ingest = await startIngest(t, { organisations: ['acme', 'globex'], env });
  return { ingest, ingestPort, relay: await start(t, ingestPort) };
}

interface Row {
  readonly org_id: string;
  readonly status: string;
  readonly to_email: string;
  readonly reverse_path: string;
  readonly trace_id: string;
  readonly documents: number;
}

/** Of one Message-ID, when all of it is read. */
async function arrived({ pool }: Ingest, id: string, count: number): Promise<readonly Row[]> {
  const sql = `SELECT org_id, status, to_email, reverse_path, trace_id,
      (SELECT count(*) FROM document d WHERE d.inbound_message_id = m.id)::int AS documents
    FROM inbound_message m WHERE source_message_id = $1 ORDER BY to_email`;
  return waitFor(
    async () => {
      const { rows } = await pool.query<Row>(sql, [id]);
      return rows.length >= count && rows.every(({ status }) => status === 'PARSED') && rows;
    },
    { what: `${id} to be read ${count} times`, timeoutMs: 60_000 },
  );
}

async function accept(relay: Relay, to: readonly string[], data: string | Buffer): Promise<void> {
  const { verdict } = await sendRaw({ port: relay.port, from: BUYER, to: [...to], data });
  assert.equal(verdict.code, 250, verdict.lines.join(' '));
}

export async function handsMailOn(t: TestContext, relayCase: RelayCase): Promise<void> {
  const { ingest, relay } = await startPair(t, relayCase);
  const [one, both, alias] = [newMail(), newMail(), newMail()];
  await accept(relay, [ACME], one.data);
  const [row] = await arrived(ingest, one.id, 1);
  assert.deepEqual([row?.to_email, row?.reverse_path, row?.documents], [ACME, BUYER, 1]);

  await accept(relay, [ACME, GLOBEX], both.data);
  const rows = await arrived(ingest, both.id, 2);
  assert.deepEqual(
    rows.map(({ org_id, to_email }) => [org_id, to_email]),
    [
      [ingest.orgId('acme'), ACME],
      [ingest.orgId('globex'), GLOBEX],
    ],
  );
  assert.equal(new Set(rows.map(({ trace_id }) => trace_id)).size, 1, 'one delivery, one transaction');

  await accept(relay, [COMPANY_ALIAS], alias.data);
  assert.equal((await arrived(ingest, alias.id, 1))[0]?.to_email, ACME);

  await refusesUnknown(ingest, relay);
  await waitFor(async () => (await relay.queued()) === 0, { what: 'an empty queue' });
  const { rows: all } = await ingest.pool.query('SELECT 1 FROM inbound_message');
  assert.equal(all.length, 5, 'once each, and the late organisation');
}

/** At RCPT, while the buyer is there; an organisation that is added is known soon. */
async function refusesUnknown(ingest: Ingest, relay: Relay): Promise<void> {
  const late = `orders+late@${ORDERS_DOMAIN}`;
  const client = await connectSmtp({ port: relay.port });
  await client.readReply();
  for (const line of ['EHLO customer.example', `MAIL FROM:<${BUYER}>`]) await client.command(line);
  assert.equal((await client.command(`RCPT TO:<${late}>`)).code, 550);
  client.close();
  await ingest.pool.query(`INSERT INTO org (slug, name) VALUES ('late', 'Late')`);
  const { id, data } = newMail();
  const taken = async (): Promise<boolean> =>
    (await sendRaw({ port: relay.port, from: BUYER, to: [late], data })).verdict.code === 250;
  await waitFor(taken, { what: 'the new organisation to be known', timeoutMs: 20_000, intervalMs: 1_000 });
  await arrived(ingest, id, 1);
}

export async function refusesTooLarge(t: TestContext, relayCase: RelayCase): Promise<void> {
  const { ingest, relay } = await startPair(t, relayCase);
  const { verdict } = await sendRaw({
    port: relay.port,
    from: BUYER,
    to: [ACME],
    data: large(relayCase.tooLargeBytes).data,
  });
  assert.equal(verdict.code, 552, verdict.lines.join(' '));
  const { id, data } = large(relayCase.largestBytes);
  await accept(relay, [ACME], data);
  await arrived(ingest, id, 1);
}

/** A mail of that size whose body is lines as base64 has them. */
function large(bytes: number): { readonly id: string; readonly data: Buffer } {
  const id = `<large-${++mails}@customer.example>`;
  const head = Buffer.from(
    `Message-ID: ${id}\r\nFrom: ${BUYER}\r\nSubject: order\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf; name=order.pdf\r\n` +
      'Content-Disposition: attachment; filename=order.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n',
  );
  const body = Buffer.alloc(bytes - head.length, `${'QUJD'.repeat(19)}\r\n`);
  body.write('\r\n', body.length - 2);
  return { id, data: Buffer.concat([head, body]) };
}

export async function queuesWhileWeAreDown(t: TestContext, relayCase: RelayCase): Promise<void> {
  const { ingest, ingestPort, relay } = await startPair(t, relayCase);
  const before = newMail();
  await accept(relay, [ACME], before.data);
  await arrived(ingest, before.id, 1);
  await ingest.product.stop();
  // One whom it has asked for before, and one whom it has not.
  const [known, unknown] = [newMail(), newMail()];
  await accept(relay, [ACME], known.data);
  const { verdict } = await sendRaw({ port: relay.port, from: BUYER, to: [GLOBEX], data: unknown.data });
  assert.equal(verdict.code, relayCase.unaskedWhileDown);
  const count = verdict.code === 250 ? 2 : 1;
  assert.equal(await relay.queued(), count);
  await ingest.startAnother({ SMTP_PORT: `${ingestPort}` });
  await waitFor(
    async () => {
      await relay.flush();
      return (await relay.queued()) === 0;
    },
    { what: 'an empty queue', timeoutMs: 60_000, intervalMs: 1_000 },
  );
  await arrived(ingest, known.id, 1);
  if (count === 2) await arrived(ingest, unknown.id, 1);
  const { rows } = await ingest.pool.query('SELECT 1 FROM inbound_message');
  assert.equal(rows.length, 1 + count, 'once each');
}
