/** Requirements that no test of the other files has in its title; index.test.ts sees to it that none is forgotten. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { freePort } from '../../src/testing/free-port.ts';
import { missing } from '../../src/testing/missing.ts';
import { scrape } from '../../src/testing/scrape.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { acceptedId, assertSameItems } from './support/assertions.ts';
import { type Ingest, sendOne, startIngest, wireText } from './support/ingest.ts';
import { CSV, mail, mailWith, ORDER, type OrderFile, PDF, textPart } from './support/mails.ts';
import { sha256 } from './support/objects.ts';
import { refusalsWith } from './support/refusals.ts';

const ACME = 'orders+acme@orderflow.example.com';

test('Functional Requirements', async (t) => {
  const ingest = await startIngest(t);
  const { rows } = ingest;

  await t.test(
    'FR-003: metadata (From, To, Subject, Date, Message-ID) is extracted, folded and encoded as it may be',
    async () => {
      const fields = [
        'From: =?utf-8?Q?J=C3=B6rg?= "M." <Joerg@Customer.example>, second@customer.example',
        'To: Orders: orders+acme@orderflow.example.com, =?iso-8859-1?Q?B=FCro?= <b@c.example>;',
        'Subject: a subject\r\n that is folded,\r\n\t=?utf-8?B?w6TDtsO8?=',
        'Date: Mon, 2 Mar 2026 08:30:00 -0500 (EST)',
        'Message-ID: <meta@customer.example>',
      ];
      const { message } = await ingest.take(mail(textPart('x'), fields), { from: 'bounce@customer.example' });
      assert.equal(message.subject, 'a subject that is folded, äöü'.replace(', ä', ',\tä'));
      assert.match(message.header_from ?? '', /^Jörg .*<Joerg@Customer\.example>, second@customer\.example$/);
      assert.match(message.header_to ?? '', /orders\+acme@orderflow\.example\.com.*Büro <b@c\.example>/);
      assert.deepEqual(message.header_date, new Date('2026-03-02T13:30:00Z'));
      assert.equal(message.source_message_id, '<meta@customer.example>');
      assert.equal(message.from_email, 'bounce@customer.example', 'the reverse-path, not the header');
      assert.equal(message.reverse_path, 'bounce@customer.example');
    },
  );

  await t.test('FR-003: from_email of a mail with the null reverse-path is the header From', async () => {
    const { message } = await ingest.take(mailWith([PDF]), { from: '' });
    assert.equal(message.from_email, 'buyer@customer.example');
    assert.equal(message.reverse_path, null);
  });

  await t.test('FR-010: SMTP errors have their status codes, and the session goes on after each', async () => {
    const client = await connectSmtp({ port: ingest.port });
    await client.readReply();
    const say = async (line: string) => wireText(await client.command(line));
    assert.equal(await say('DATA'), '503 5.5.1 Bad sequence of commands');
    await say('EHLO client.example');
    assert.equal(await say('NONSENSE'), '500 5.5.2 Command not recognized');
    assert.equal(await say('MAIL FROM:buyer'), '501 5.1.7 Malformed sender address');
    assert.equal(await say('MAIL FROM:<b@c.example> X=1'), '555 5.5.4 Parameter not recognized or not implemented');
    assert.equal(await say('MAIL FROM:<b@c.example>'), '250 2.1.0 Sender ok');
    assert.equal(await say('RCPT TO:<@>'), '501 5.1.3 Malformed recipient address');
    assert.equal(await say('DATA'), '554 5.5.1 No valid recipients');
    assert.equal(await say('MAIL FROM:<b@c.example>'), '250 2.1.0 Sender ok');
    assert.equal(await say(`RCPT TO:<${ACME}>`), '250 2.1.5 Recipient ok');
    assert.equal(await say('RSET'), '250 2.0.0 Reset');
    assert.equal(await say('VRFY orders'), '252 2.5.0 Cannot verify; send mail and see');
    assert.equal(await say('NOOP'), '250 2.0.0 OK');
    client.close();
  });

  await t.test('FR-012: every email is logged, taken or not, and its words are not', async () => {
    const secret = 'the-body-nobody-may-read';
    const { message } = await ingest.take(mailWith([CSV], [`Subject: ${secret}`]));
    await ingest.send({ to: ['orders+nobody@orderflow.example.com'], from: 'curious@c.example', data: secret });
    await ingest.send({ to: ['x@elsewhere.example'], from: 'relay@c.example', data: secret });
    const accepted = await ingest.waitForLog({ msg: 'mail accepted', inbound_message_id: message.id });
    assert.deepEqual(
      [accepted.from, accepted.to, accepted.size_bytes, accepted.trace_id, accepted.message_id],
      ['buyer@customer.example', ACME, message.size_bytes, message.trace_id, message.source_message_id],
    );
    assert.deepEqual(await refusalsWith(ingest, { from: 'curious@c.example' }), [
      {
        command: 'RCPT TO:<orders+nobody@orderflow.example.com>',
        reply: '550 5.1.1 Unknown recipient',
        condition: 'unknown-recipient',
        from: 'curious@c.example',
        to: 'orders+nobody@orderflow.example.com',
      },
    ]);
    assert.deepEqual(await refusalsWith(ingest, { from: 'relay@c.example' }), [
      {
        command: 'RCPT TO:<x@elsewhere.example>',
        reply: '550 5.7.1 Relaying denied',
        condition: 'relaying-denied',
        from: 'relay@c.example',
        to: 'x@elsewhere.example',
      },
    ]);
    const atInfo = ingest.product.log.filter(({ level }) => level !== 'debug');
    const told = atInfo.filter((line) => JSON.stringify(line).includes('relay@c.example'));
    assert.equal(told.length, 1, 'a mail that is refused is one line');
    assert.ok(!JSON.stringify(ingest.product.log).includes(secret));
    assert.deepEqual(ingest.product.strayOutput, []);
  });

  await t.test(
    'FR-014: Prometheus metrics by organisation and status; nobody makes series by sending mail',
    async () => {
      const text = () => scrape(ingest.product.httpUrl);
      const before = await text();
      for (const [name, type] of [
        ['smtp_emails_received_total', 'counter'],
        ['smtp_attachment_extraction_duration_ms', 'histogram'],
        ['smtp_processing_errors_total', 'counter'],
        ['smtp_connections', 'gauge'],
        ['inbound_messages', 'gauge'],
        ['jobs_waiting', 'gauge'],
      ]) {
        assert.match(before, new RegExp(`^# TYPE ${name} ${type}$`, 'm'));
      }
      for (let n = 0; n < 20; n++) await ingest.send({ to: [`orders+guess-${n}@orderflow.example.com`], data: 'x' });
      const series = (await text()).match(/^smtp_emails_received_total\{.*$/gm) ?? [];
      const organisations = series.map((one) => /org_id="([^"]*)"/.exec(one)?.[1]);
      assert.deepEqual(new Set(organisations), new Set([ingest.orgId('acme'), 'unknown']));
    },
  );

  await t.test(
    'FR-014, RE-004: every log line of a mail has trace_id and org_id: Message-ID → inbound_message.id → document.id',
    async () => {
      const { message, documents } = await ingest.take(mailWith(ORDER));
      await ingest.waitForLog({ msg: 'mail parsed', inbound_message_id: message.id });
      // One grep by Message-ID gives the trace, one grep by trace the rest.
      const trace = ingest.logged({ message_id: message.source_message_id })[0]?.trace_id;
      const lines = ingest.logged({ trace_id: trace });
      assert.ok(lines.every(({ org_id }) => org_id === message.org_id));
      assert.deepEqual(new Set(lines.map(({ inbound_message_id }) => inbound_message_id)), new Set([message.id]));
      assertSameItems(
        lines.flatMap(({ level, document_ids }) => (level === 'info' ? (document_ids ?? []) : [])),
        documents.map(({ id }) => id),
        'each document, at info',
      );
    },
  );

  await t.test(
    "FR-ORQ-001: extract_document(document_id, org_id) is enqueued for each extracted attachment; FR-ORQ-002: source='EMAIL'",
    async () => {
      const { message, documents } = await ingest.take(mailWith(ORDER));
      assert.equal(message.source, 'EMAIL');
      const jobs = (await rows.jobs('extract_document')).map(({ payload }) => payload);
      for (const { id, org_id } of documents) {
        assert.deepEqual(
          jobs.filter(({ document_id }) => document_id === id),
          [{ document_id: id, org_id, trace_id: message.trace_id }],
        );
      }
    },
  );
});

test('FR-011: SMTP port and bind address are configurable', async (t) => {
  if (process.platform !== 'linux') return missing(t, '127.0.0.2', 'only Linux has all of 127/8 on loopback');
  const [port, env] = [await freePort(), { SMTP_HOST: '127.0.0.2', SMTP_DOMAIN: 'mail.one.example,TWO.example' }];
  const ingest = await startIngest(t, { env: { ...env, SMTP_PORT: String(port) } });
  const data = mailWith([PDF]);
  // One that no other test listens on.
  await assert.rejects(sendOne({ port, host: '127.0.0.3', data }), /ECONNREFUSED/, 'not on any other address');
  assert.equal(await sendOne({ port, host: '127.0.0.2', data }), '550 5.7.1 Relaying denied');
  for (const domain of ['MAIL.one.example', 'two.example']) {
    acceptedId(await sendOne({ port, host: '127.0.0.2', to: [`orders+acme@${domain}`], data: mailWith([PDF]) }));
  }
  await ingest.rows.settled();
});

test('Technical Constraints', async (t) => {
  const ingest = await startIngest(t);

  await t.test(
    'TC-001: the SMTP server is asynchronous: a client that dawdles in its mail keeps nobody waiting',
    async () => {
      const slow = await Promise.all(Array.from({ length: 50 }, () => connectSmtp({ port: ingest.port })));
      for (const client of slow) {
        await client.readReply();
        for (const line of ['EHLO slow.example', 'MAIL FROM:<s@c.example>', `RCPT TO:<${ACME}>`, 'DATA']) {
          await client.command(line);
        }
        await client.write('Subject: slow\r\n\r\nnot yet');
      }
      const { message } = await ingest.take(mailWith([PDF]));
      assert.equal(message.status, 'PARSED');
      for (const client of slow) client.close();
    },
  );

  await t.test('TC-003: the unique constraint of the database decides, whatever the code thinks', async () => {
    const { message } = await ingest.take(mailWith([PDF]));
    const again = `INSERT INTO inbound_message (org_id, source, source_message_id, received_at, status)
      SELECT org_id, source, source_message_id, now(), 'RECEIVED' FROM inbound_message WHERE id = $1`;
    await assert.rejects(ingest.pool.query(again, [message.id]), {
      code: '23505',
      constraint: 'inbound_message_source_key',
    });
  });

  await t.test('TC-005: attachments are streamed to object storage, not loaded into memory', (t) =>
    assertStreamed(t, ingest),
  );
});

/** Four mails of 25 MB at once, 18 MB of attachment each: whoever holds them whole needs 170 MB more than before. */
async function assertStreamed(t: TestContext, ingest: Ingest): Promise<void> {
  if (process.platform !== 'linux') return missing(t, '/proc', 'the memory of a process is read there');
  const files = Array.from({ length: 4 }, (_, n): OrderFile => {
    const content = Buffer.alloc(18 * 1024 * 1024, `${n} order `);
    return { path: '', name: `${n}.bin`, type: 'application/octet-stream', content };
  });
  const mails = files.map((file) => mailWith([file]));
  await ingest.take(mailWith([PDF]));
  const before = await peakMemoryBytes(ingest.product.pid);
  const verdicts = await Promise.all(mails.map((data) => ingest.send({ data })));
  await ingest.rows.settled();
  const grown = (await peakMemoryBytes(ingest.product.pid)) - before;
  t.diagnostic(`peak memory grew by ${Math.round(grown / 1e6)} MB for 100 MB of mail`);
  assert.ok(grown < 140e6, `${grown} bytes`);
  for (const [index, verdict] of verdicts.entries()) {
    const [document] = await ingest.rows.documents(acceptedId(verdict));
    assert.equal(document?.sha256, sha256(files[index]?.content ?? Buffer.alloc(0)));
  }
}

/** What the process held at most since it started. */
async function peakMemoryBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
