/** "Integration Tests" of the specification's testing strategy, in its words. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { acceptedId } from './support/assertions.ts';
import { startIngest } from './support/ingest.ts';
import {
  base64Part,
  CSV,
  LOGO,
  mail,
  mailWith,
  multipart,
  ORDER,
  PDF,
  part,
  textPart,
  UNREADABLE,
} from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const TEMPORARY_FAILURE = /^451 4\.3\.0 Temporary failure, try again later \([0-9a-f-]{36}\)$/;

test('Integration Tests', async (t) => {
  const ingest = await startIngest(t, { organisations: ['acme', 'brokenstore'] });
  const { rows, objects } = ingest;

  await t.test('Send email to SMTP server, verify inbound_message created', async () => {
    const data = mail(textPart('An order in words.'), ['Subject: Order 1', 'Message-ID: <1@integration.example>']);
    const { message } = await ingest.take(data, { heloName: 'mail.customer.example' });
    assert.equal(message.org_id, ingest.orgId('acme'));
    assert.equal(message.source, 'EMAIL');
    assert.equal(message.source_message_id, '<1@integration.example>');
    assert.equal(message.subject, 'Order 1');
    assert.equal(message.helo_name, 'mail.customer.example');
    assert.ok((await objects.read(message.raw_storage_key)).equals(data));
  });

  await t.test('Send email with PDF attachment, verify document created', async () => {
    const { message, documents } = await ingest.take(mailWith([PDF]));
    const [document] = documents;
    assert.equal(documents.length, 1);
    assert.equal(document?.inbound_message_id, message.id);
    assert.equal(document.org_id, message.org_id);
    assert.deepEqual(
      [document.file_name, document.mime_type, document.size_bytes, document.sha256, document.status],
      ['order.pdf', 'application/pdf', PDF.content.length, sha256(PDF.content), 'STORED'],
    );
    assert.ok((await objects.read(document.storage_key ?? '')).equals(PDF.content));
  });

  await t.test('Send email with multiple attachments, verify all extracted', async () => {
    const { documents } = await ingest.take(mailWith([...ORDER, LOGO]));
    assert.deepEqual(
      documents.map(({ file_name, sha256 }) => [file_name, sha256]),
      [...ORDER, LOGO].map(({ name, content }) => [name, sha256(content)]),
    );
  });

  await t.test('Send duplicate email (same Message-ID), verify only first processed', async () => {
    const data = mailWith([CSV]);
    const { message } = await ingest.take(data);
    const [messages, jobs] = [await rows.messages(), await rows.jobs('extract_document')];
    assert.equal(await ingest.send({ data }), `250 2.0.0 duplicate of ${message.id}`);
    await rows.settled();
    assert.deepEqual(await rows.messages(), messages, 'no row more, and none changed');
    assert.deepEqual(await rows.jobs('extract_document'), jobs);
  });

  await t.test('Send email to unknown org slug, verify rejection', async () => {
    const before = await rows.messages();
    const verdict = await ingest.send({ to: ['orders+nobody@orderflow.example.com'], data: mailWith([PDF]) });
    assert.equal(verdict, '550 5.1.1 Unknown recipient');
    assert.deepEqual(await rows.messages(), before);
    await objects.assertMatchRows(rows);
  });

  await t.test('Send email with no attachments, verify inbound_message created but no documents', async () => {
    const { message, documents } = await ingest.take(mail(textPart('Just words.')));
    assert.equal(message.status, 'PARSED');
    assert.deepEqual(documents, []);
    const warning = await ingest.waitForLog({ inbound_message_id: message.id, level: 'warn' });
    assert.equal(warning.msg, 'no attachments in this mail');
  });

  await t.test('Send email with inline image, verify not processed as document', async () => {
    const html = textPart('<p>Our order <img src="cid:logo@customer.example"></p>', 'html');
    const image = base64Part(
      [
        'Content-Type: image/png; name="logo.png"',
        'Content-ID: <logo@customer.example>',
        'Content-Disposition: inline',
      ],
      LOGO.content,
    );
    const pdf = base64Part(
      ['Content-Type: application/pdf', 'Content-Disposition: attachment; filename=a.pdf'],
      PDF.content,
    );
    const { message, documents } = await ingest.take(
      mail(multipart('mixed', [multipart('related', [html, image]), pdf])),
    );
    assert.deepEqual(
      documents.map(({ file_name }) => file_name),
      ['a.pdf'],
    );
    const decision = message.parts_json?.find(({ media_type }) => media_type === 'image/png');
    assert.deepEqual([decision?.decision, decision?.reason], ['skipped', 'inline-image']);
  });

  await t.test('Send malformed email, verify error handling', async (t) => {
    for (const [what, data] of malformedMails()) {
      await t.test(`${what}: taken, stored as sent, PARSED`, async () => {
        const { message } = await ingest.take(data);
        assert.equal(message.status, 'PARSED', JSON.stringify(message.error_json));
        assert.ok((await objects.read(message.raw_storage_key)).equals(Buffer.from(data, 'latin1')));
      });
    }
    await t.test('parts that cannot be found: raw mail stored, FAILED, one error logged and counted', async () => {
      const counted = () => ingest.metric('smtp_processing_errors_total', { error_type: 'malformed' });
      const before = await counted();
      const data = mail(multipart('mixed', [UNREADABLE]));
      const { message, documents } = await ingest.take(data);
      assert.deepEqual(
        [message.status, message.error_json?.code, message.parts_json, documents.length],
        ['FAILED', 'no-part-readable', [], 0],
      );
      assert.deepEqual(
        message.notes_json?.map(({ code, part }) => [code, part]),
        [['boundary-never-appears', '1']],
      );
      assert.ok((await objects.read(message.raw_storage_key)).equals(data));
      await ingest.waitForLog({ msg: 'mail failed', level: 'error', inbound_message_id: message.id });
      const lines = ingest.logged({ inbound_message_id: message.id });
      assert.equal(lines.filter(({ level }) => level === 'error' || level === 'warn').length, 1);
      assert.equal(await counted(), before + 1);
    });
    await t.test('no boundary at all in the body: FAILED, and the reason is the boundary', async () => {
      const { message } = await ingest.take(
        'Subject: malformed\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\nno boundary here\r\n',
      );
      assert.deepEqual([message.status, message.error_json?.code], ['FAILED', 'no-part-readable']);
      assert.match(message.error_json?.message ?? '', /: a multipart whose boundary never appears$/);
    });
    await t.test(
      'beyond what we read: raw mail stored, error logged, status FAILED, the next mail not kept waiting',
      async () => {
        const nested = `${'Content-Type: message/rfc822\r\n\r\n'.repeat(10_000)}`;
        const { message } = await ingest.take(nested);
        assert.equal(message.status, 'FAILED');
        assert.equal(message.error_json?.code, 'limit-exceeded');
        assert.match(message.error_json?.limit ?? '', /^max(Message)?Depth$/);
        assert.ok((await objects.read(message.raw_storage_key)).equals(Buffer.from(nested)));
        await ingest.waitForLog({ msg: 'mail failed', level: 'error', inbound_message_id: message.id });
        assert.equal((await ingest.take(mailWith([PDF]))).documents.length, 1);
      },
    );
  });

  await t.test('Object storage failure during ingest, verify email rejected', async () => {
    const [messages, keys] = [await rows.messages(), await objects.keys()];
    const folder = join(ingest.dataDir, 'objects', ingest.orgId('brokenstore'));
    await mkdir(join(folder, '..'), { recursive: true });
    await writeFile(folder, 'a file where the folder of the organisation has to be');
    const broken = { to: ['orders+brokenstore@orderflow.example.com'], data: mailWith([PDF]) };
    assert.match(await ingest.send(broken), TEMPORARY_FAILURE);
    await rm(folder);
    assert.deepEqual(await rows.messages(), messages);
    await objects.assertBackTo(keys);
    assert.ok((await ingest.metric('smtp_processing_errors_total', { error_type: 'store-unavailable' })) > 0);
    acceptedId(await ingest.send(broken));
    await rows.settled();
    await objects.assertMatchRows(rows);
  });
});

function malformedMails(): readonly (readonly [string, string])[] {
  const fields = 'From: buyer@customer.example\r\nSubject: malformed\r\n';
  const type = 'Content-Type: multipart/mixed; boundary="b"\r\n';
  const pdf = part(['Content-Type: application/pdf; name=a.pdf', 'Content-Transfer-Encoding: base64'], 'JVBERi0xLjc=');
  return [
    ['an empty mail', ''],
    ['a header without a body', fields],
    ['a body without a header', 'just words, no header\r\nand a second line\r\n'],
    ['a header line without a colon', `${fields}this is no field\r\nX: y\r\n\r\nbody\r\n`],
    ['no closing boundary', `${fields}${type}\r\n--b\r\n${pdf}\r\n`],
    ['a multipart whose body is blank', `${fields}${type}\r\n\r\n`],
    ['a multipart that names no boundary', `${fields}Content-Type: multipart/mixed\r\n\r\n--b\r\n${pdf}\r\n--b--\r\n`],
    ['bare LF line ends', `${fields}${type}\r\n--b\r\n${pdf}\r\n--b--\r\n`.replaceAll('\r\n', '\n').concat('\r\n')],
    ['bare CR line ends', `${fields}${type}\r\n--b\r\n${pdf}\r\n--b--\r\n`.replaceAll('\r\n', '\r').concat('\r\n')],
    ['NUL and control bytes', `Subject: a\0b\x01c\r\n\r\n\0\x07\x1b[2J\r\n`],
    ['a Content-Type that is none', `${fields}Content-Type: ;;;/\r\nContent-Transfer-Encoding: x-none\r\n\r\nbody\r\n`],
    ['smuggled ends of data', `${fields}\r\nbody\n.\nMAIL FROM:<x@y>\n.\r\nmore\r.\r\r\n`],
  ];
}
