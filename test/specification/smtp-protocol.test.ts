/** "SMTP Protocol Tests" of the specification's testing strategy, in its words; replies verbatim as in docs/replies.md. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { connectSmtp } from '../../src/testing/smtp-client.ts';
import { acceptedId } from './support/assertions.ts';
import { SMTP_SOURCE, SMTPLIB, SWAKS, sendBySmtplib, sendBySmtpSource, sendBySwaks } from './support/clients.ts';
import { type Ingest, startIngest, wireText } from './support/ingest.ts';
import { mail, mailWith, PDF, part, textPart } from './support/mails.ts';
import { sha256 } from './support/objects.ts';
import { refusalsWith } from './support/refusals.ts';

const ACME = 'orders+acme@orderflow.example.com';
/** The default of SMTP_MAX_MESSAGE_SIZE. */
const LIMIT_BYTES = 26_214_400;

test('SMTP Protocol Tests', async (t) => {
  const ingest = await startIngest(t, { organisations: ['acme', 'globex', 'brokenstore'] });

  await t.test('Connect to SMTP server and send valid email', async (t) => {
    if (SMTPLIB === null) return missing(t, 'python3', 'apt-get install python3');
    const { verdict, data } = await sendBySmtplib(ingest, mailWith([PDF]));
    const { raw_storage_key } = await ingest.rows.message(acceptedId(verdict));
    assert.ok((await ingest.objects.read(raw_storage_key)).equals(data ?? Buffer.alloc(0)));
  });

  await t.test('Test SMTP response codes (250, 451, 550)', (t) => responseCodes(t, ingest));

  await t.test('Test concurrent connections (10+ simultaneous)', async (t) => {
    await t.test('twenty clients that are all connected before the first sends', async () => {
      const clients = await Promise.all(Array.from({ length: 20 }, () => connectSmtp({ port: ingest.port })));
      for (const client of clients) assert.equal((await client.readReply()).code, 220);
      const verdicts = await Promise.all(
        clients.map(async (client, index) => {
          await client.command(`EHLO client-${index}.example`);
          await client.command('MAIL FROM:<buyer@customer.example>');
          await client.command(`RCPT TO:<${ACME}>`);
          await client.command('DATA');
          await client.write(Buffer.concat([mail(textPart(`order ${index}`)), Buffer.from('.\r\n')]));
          return wireText(await client.readReply());
        }),
      );
      for (const client of clients) client.close();
      assert.equal(new Set(verdicts.map(acceptedId)).size, 20);
      await ingest.rows.settled();
    });
    await t.test('smtp-source with twenty sessions', async (t) => {
      if (SMTP_SOURCE === null) return missing(t, 'smtp-source', 'apt-get install postfix');
      const before = (await ingest.rows.messages()).length;
      await sendBySmtpSource(ingest, { mails: 60, sessions: 20, bytes: 2_000 });
      assert.equal((await ingest.rows.messages()).length, before + 60);
    });
  });

  await t.test('Test large email (near size limit)', async (t) => {
    await t.test('exactly the limit is accepted, and stored as sent', async () => {
      const data = largeMail(LIMIT_BYTES);
      const { message } = await ingest.take(data, { mailParameters: `SIZE=${data.length}` });
      assert.deepEqual([message.size_bytes, message.raw_sha256], [LIMIT_BYTES, sha256(data)]);
      assert.equal(sha256(await ingest.objects.read(message.raw_storage_key)), sha256(data));
    });
    await t.test('one byte more is refused at the end of DATA, nothing is left, and it is counted', async () => {
      const [keys, rows] = [await ingest.objects.keys(), await ingest.rows.messages()];
      assert.equal(await ingest.send({ data: largeMail(LIMIT_BYTES + 1) }), '552 5.3.4 Message too large');
      const told = { condition: 'too-large', reply: '552 5.3.4 Message too large' };
      assert.equal((await refusalsWith(ingest, told)).length, 1);
      await ingest.objects.assertBackTo(keys);
      assert.deepEqual(await ingest.rows.messages(), rows);
    });
    await t.test('one byte more, declared, is refused at MAIL', async () => {
      const mailParameters = `SIZE=${LIMIT_BYTES + 1}`;
      assert.equal(await ingest.send({ data: 'x', mailParameters }), '552 5.3.4 Message too large');
      assert.match(await ingest.send({ data: 'declared', mailParameters: `SIZE=${LIMIT_BYTES}` }), /^250 /);
    });
  });

  await t.test('Test email with invalid encoding', async () => {
    const fields = ['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: base64'];
    const data = mail(part(fields, '\xff\xfe\x00 not base64 \xc3('), [
      'Subject: =?utf-8?B?\xff\xfe?= caf\xe9 =?x-none?Q?=ZZ?=',
    ]);
    const { message } = await ingest.take(data);
    assert.equal(message.status, 'PARSED');
    assert.ok(message.subject?.isWellFormed() && message.subject.includes('café'), message.subject ?? '');
    assert.ok((await ingest.objects.read(message.raw_storage_key)).equals(data));
  });

  await t.test('SC-005: after all that, every row has its object and every object its row', async () => {
    await ingest.rows.settled();
    await ingest.objects.assertMatchRows(ingest.rows);
  });
});

async function responseCodes(t: TestContext, ingest: Ingest): Promise<void> {
  const data = mail(textPart('an order'));
  await t.test('250 for every command, and 250 2.0.0 accepted <id> for the mail', async () => {
    const client = await connectSmtp({ port: ingest.port });
    const say = async (line: string) => wireText(await client.command(line));
    assert.equal(wireText(await client.readReply()), '220 orderflow.example.com ESMTP');
    assert.match(await say('EHLO client.example'), /^250 orderflow\.example\.com greets client\.example\n/);
    assert.equal(await say('MAIL FROM:<buyer@customer.example>'), '250 2.1.0 Sender ok');
    assert.equal(await say(`RCPT TO:<${ACME}>`), '250 2.1.5 Recipient ok');
    assert.equal(await say('DATA'), '354 Start mail input; end with <CRLF>.<CRLF>');
    await client.write(Buffer.concat([data, Buffer.from('.\r\n')]));
    acceptedId(wireText(await client.readReply()));
    assert.equal(await say('QUIT'), '221 2.0.0 Goodbye');
    await client.closed;
  });

  for (const [to, reply] of [
    ['orders+nobody@orderflow.example.com', '550 5.1.1 Unknown recipient'],
    ['orders@orderflow.example.com', '550 5.1.1 Unknown recipient'],
    ['orders+@orderflow.example.com', '550 5.1.1 Unknown recipient'],
    ['sales+acme@orderflow.example.com', '550 5.1.1 Unknown recipient'],
    ['orders+acme@elsewhere.example', '550 5.7.1 Relaying denied'],
  ] as const) {
    await t.test(`550 for ${to}`, async () => {
      assert.equal(await ingest.send({ to: [to], data }), reply);
    });
  }

  await t.test('550 as swaks sees it, at RCPT, before any byte of the mail', async (t) => {
    if (SWAKS === null) return missing(t, 'swaks', 'apt-get install swaks');
    const to = ['orders+nobody@orderflow.example.com'];
    const { verdict, exitCode, data: sent } = await sendBySwaks({ ...ingest, to }, [PDF]);
    assert.deepEqual([verdict, exitCode, sent], ['550 5.1.1 Unknown recipient', 24, null]);
  });

  await t.test('550 for one recipient of several leaves the mail to the others', async () => {
    const to = ['orders+nobody@orderflow.example.com', ACME, 'orders+globex@orderflow.example.com'];
    assert.match(await ingest.send({ to, data: mail(textPart('for two')) }), /^250 2\.0\.0 accepted \S+ \S+$/);
  });

  await t.test('451 while the object store cannot be written, and 250 again afterwards', async () => {
    const folder = join(ingest.dataDir, 'objects', ingest.orgId('brokenstore'));
    await writeFile(folder, '');
    const order = { to: ['orders+brokenstore@orderflow.example.com'], data: mail(textPart('an order')) };
    assert.match(await ingest.send(order), /^451 4\.3\.0 Temporary failure, try again later \([0-9a-f-]{36}\)$/);
    await rm(folder);
    acceptedId(await ingest.send(order));
  });
}

/** A mail of exactly so many bytes, in lines of 76. */
function largeMail(sizeBytes: number): Buffer {
  const head = mail(textPart(''));
  const line = `${'x'.repeat(76)}\r\n`;
  const room = sizeBytes - head.length;
  const body = line.repeat(Math.floor(room / line.length));
  const rest = room - body.length;
  // Two bytes at least are a line end; a rest of one lengthens the first line instead.
  const tail = rest >= 2 ? `${'y'.repeat(rest - 2)}\r\n` : '';
  const bytes = Buffer.concat([head, Buffer.from(rest === 1 ? 'z' : ''), Buffer.from(body + tail)]);
  if (bytes.length !== sizeBytes) throw new Error(`made ${bytes.length} bytes, not ${sizeBytes}`);
  return bytes;
}
