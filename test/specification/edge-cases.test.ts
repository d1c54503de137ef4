/** "Edge Cases" and "Email Parsing Edge Cases" of the specification: each question, and the answer. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { waitFor } from '../../src/testing/wait-for.ts';
import { acceptedId } from './support/assertions.ts';
import { sendByNodemailer } from './support/clients.ts';
import { startIngest } from './support/ingest.ts';
import { base64Part, CSV, filePart, mail, mailWith, multipart, PDF, part, textPart } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const ACME = 'orders+acme@orderflow.example.com';

test('Edge Cases', async (t) => {
  const ingest = await startIngest(t, { organisations: ['acme', 'brokenstore'] });
  const { rows, objects } = ingest;

  await t.test(
    'What happens when an email has no Message-ID header (malformed email)? It gets an id of its own',
    async () => {
      const { message, documents } = await ingest.take(mailWith([PDF], ['Message-ID: -']));
      assert.match(message.source_message_id, /^<[0-9a-f]{64}@synthetic\.invalid>$/);
      assert.deepEqual([message.message_id_synthetic, documents.length], [true, 1]);
      for (const empty of ['Message-ID:', 'Message-ID: <>', 'Message-ID: < >']) {
        const taken = await ingest.take(mailWith([PDF], [empty]));
        assert.equal(taken.message.message_id_synthetic, true, empty);
      }
    },
  );

  await t.test('How does the system handle very large emails (>25MB)? Refused with 552, nothing is kept', async () => {
    const before = await objects.keys();
    const attachments = [{ filename: 'large.bin', content: Buffer.alloc(20 * 1024 * 1024, 'x') }];
    await assert.rejects(sendByNodemailer(ingest, { attachments }), (error: Error & { response?: string }) => {
      assert.equal(error.response, '552 5.3.4 Message too large');
      return true;
    });
    await objects.assertBackTo(before);
  });

  await t.test(
    'What happens when attachment extraction fails (corrupt attachment)? It is noted on its document, the others go on',
    async () => {
      const fields = ['Content-Type: application/pdf; name=a.pdf', 'Content-Transfer-Encoding: base64'];
      const cut = part(fields, 'JVBERi0xLjcK JVBERi0xLjc');
      const quoted = part(
        ['Content-Type: text/csv; name=b.csv', 'Content-Transfer-Encoding: quoted-printable'],
        'a;b=3\r\nc;d=\r\n=',
      );
      const { message, documents } = await ingest.take(mail(multipart('mixed', [cut, quoted, filePart(CSV)])));
      assert.equal(message.status, 'PARSED');
      assert.deepEqual(
        documents.map(({ file_name, status, error_json }) => [file_name, status, error_json?.code]),
        [
          ['a.pdf', 'STORED', 'decoded-with-defects'],
          ['b.csv', 'STORED', 'decoded-with-defects'],
          [CSV.name, 'STORED', undefined],
        ],
      );
      await objects.assertMatchRows(rows);
    },
  );

  await t.test(
    'How does the system handle emails with non-UTF8 characters in subject/body? Decoded as well as it goes, stored as sent',
    async (t) => {
      for (const [what, field, subject] of [
        ['raw latin1', 'Subject: Bestellung f\xfcr M\xfcller', 'Bestellung für Müller'],
        ['raw UTF-8', `Subject: ${Buffer.from('Größe – 注文').toString('latin1')}`, 'Größe – 注文'],
        ['RFC 2047, iso-8859-1', 'Subject: =?iso-8859-1?Q?Gr=F6=DFe?=', 'Größe'],
        ['RFC 2047, koi8-r', 'Subject: =?koi8-r?B?+sHLwdo=?=', 'Заказ'],
        ['RFC 2047, iso-2022-jp', 'Subject: =?ISO-2022-JP?B?GyRCQ21KOBsoQg==?=', '注文'],
        ['RFC 2047, gb18030', 'Subject: =?gb18030?B?tqm1pQ==?=', '订单'],
        [
          'a word cut inside a character',
          'Subject: =?utf-8?B?TcO8bA==?=\r\n =?utf-8?B?bMM=?=\r\n =?utf-8?B?vHI=?=',
          'Müllür',
        ],
        ['NUL, which PostgreSQL does not take', 'Subject: a\0b', 'a\uFFFDb'],
      ] as const) {
        await t.test(what, async () => {
          const data = mail(part(['Content-Type: text/plain; charset=x-unknown'], '\xff\xfe\x80\0'), [field]);
          const { message } = await ingest.take(data);
          assert.deepEqual([message.subject, message.status], [subject, 'PARSED']);
          assert.ok((await objects.read(message.raw_storage_key)).equals(data));
        });
      }
    },
  );

  await t.test(
    'What happens when object storage is unavailable during ingestion? 451, and the sender comes back',
    async () => {
      const folder = join(ingest.dataDir, 'objects', ingest.orgId('brokenstore'));
      await mkdir(dirname(folder), { recursive: true });
      await writeFile(folder, '');
      const before = await rows.messages();
      const response = /^451 4\.3\.0 Temporary failure, try again later \([0-9a-f-]{36}\)$/;
      const to = ['orders+brokenstore@orderflow.example.com'];
      await assert.rejects(sendByNodemailer({ ...ingest, to }, { text: 'order' }), { responseCode: 451, response });
      assert.deepEqual(await rows.messages(), before);
      await rm(folder);
      assert.match((await sendByNodemailer({ ...ingest, to }, { text: 'order' })).verdict, /^250 2\.0\.0 accepted /);
    },
  );

  await t.test(
    'How does the system handle emails from blacklisted domains (spam)? 550 at MAIL, within seconds of the block',
    async () => {
      assert.equal((await ingest.cli('block', 'add', '@spam.example')).code, 0);
      const blocked = async () => {
        const outcome = await sendByNodemailer({ ...ingest, from: 'Any@Spam.Example' }, { text: 'buy' }).catch(
          (error: Error & { response?: string; command?: string }) => error,
        );
        return 'response' in outcome && outcome;
      };
      const { response, command } = await waitFor(blocked, { timeoutMs: 10_000, what: 'the block to work' });
      assert.deepEqual([response, command], ['550 5.7.1 Sender not accepted', 'MAIL FROM']);
      acceptedId((await sendByNodemailer({ ...ingest, from: 'any@notspam.example' }, { text: 'an order' })).verdict);
    },
  );

  await t.test(
    "What happens when the org_slug in plus-address doesn't exist? 550 at RCPT, counted for nobody",
    async () => {
      const to = ['orders+does-not-exist@orderflow.example.com'];
      const rejected = () => ingest.metric('smtp_emails_received_total', { org_id: 'unknown', status: 'rejected' });
      const before = await rejected();
      await assert.rejects(sendByNodemailer({ ...ingest, to }, { text: 'order' }), {
        response: /550 5\.1\.1 Unknown recipient/,
        command: 'RCPT TO',
      });
      assert.equal(await rejected(), before + 1);
    },
  );
});

test('Email Parsing Edge Cases', async (t) => {
  const ingest = await startIngest(t);

  await t.test('1. No Message-ID: Generate synthetic ID from hash of (From, To, Subject, Date)', async () => {
    const base = ['Message-ID: -', 'Subject: s'];
    const ids = new Set<string>();
    for (const fields of [
      base,
      [...base, 'From: x@y.example'],
      [...base, 'To: z@y.example'],
      [...base, 'Date: -'],
      ['Message-ID: -', 'Subject: t'],
    ]) {
      const { message } = await ingest.take(mail(textPart('the same content'), fields));
      ids.add(message.source_message_id);
    }
    assert.equal(ids.size, 5);
  });

  await t.test('2. Malformed MIME: Log error, store raw email, mark status=FAILED', async () => {
    const data = mail(
      Array.from({ length: 150 }, (_, n) => n).reduce((inner) => multipart('mixed', [inner]), textPart('deep')),
    );
    const { message, documents } = await ingest.take(data);
    assert.deepEqual(
      [message.status, message.error_json?.code, message.error_json?.limit],
      ['FAILED', 'limit-exceeded', 'maxDepth'],
    );
    assert.deepEqual(documents, []);
    assert.ok((await ingest.objects.read(message.raw_storage_key)).equals(data));
    await ingest.waitForLog({ level: 'error', msg: 'mail failed', inbound_message_id: message.id });
    const orgId = ingest.orgId('acme');
    assert.equal(
      await ingest.metric('smtp_processing_errors_total', { org_id: orgId, error_type: 'limit-exceeded' }),
      1,
    );
    assert.equal((await ingest.rows.jobs('extract_attachments')).length, 0, 'it is not tried for ever');
  });

  await t.test('3. No attachments: Create inbound_message but no documents, log warning', async () => {
    const { message, documents } = await ingest.take(mail(textPart('words')));
    assert.deepEqual([message.status, documents], ['PARSED', []]);
    await ingest.waitForLog({ level: 'warn', inbound_message_id: message.id, trace_id: message.trace_id });
  });

  await t.test('4. Nested multipart: Walk entire MIME tree to find all attachments', async () => {
    let tree = filePart(PDF);
    for (let depth = 0; depth < 20; depth++) tree = multipart(depth % 2 ? 'mixed' : 'related', [textPart('x'), tree]);
    const { documents } = await ingest.take(mail(multipart('mixed', [tree, filePart(CSV)])));
    assert.deepEqual(
      documents.map(({ sha256 }) => sha256),
      [sha256(PDF.content), sha256(CSV.content)],
    );
  });

  await t.test('5. Encoded filenames: Decode RFC 2047 encoded filenames (=?UTF-8?B?...)', async () => {
    const name = `=?UTF-8?B?${Buffer.from('Aufträge/2026 €.pdf').toString('base64')}?=`;
    const fields = ['Content-Type: application/pdf', `Content-Disposition: attachment; filename="${name}"`];
    const { documents } = await ingest.take(mail(multipart('mixed', [base64Part(fields, PDF.content)])), {
      to: [ACME],
    });
    assert.deepEqual(
      documents.map(({ file_name }) => file_name),
      ['Aufträge_2026 €.pdf'],
      'a slash in a name that is no path',
    );
  });
});
