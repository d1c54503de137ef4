/** "Attachment Extraction Tests" of the specification's testing strategy, in its words, and what surrounds them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { acceptedId } from './support/assertions.ts';
import { SMTPLIB, sendByNodemailer, sendBySmtplib } from './support/clients.ts';
import { startIngest } from './support/ingest.ts';
import {
  base64Part,
  CSV,
  filePart,
  LOGO,
  mail,
  mailWith,
  multipart,
  ORDER,
  type OrderFile,
  PDF,
  part,
  SPREADSHEET,
  textPart,
  ZIP,
} from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const WORDS = textPart('Please find our order attached.');

test('Attachment Extraction Tests', async (t) => {
  const ingest = await startIngest(t);

  /** [name, effective type, digest] of each document. */
  const found = async (content: string): Promise<readonly (readonly [string, string, string | null])[]> =>
    (await ingest.take(mail(content))).documents.map((one) => [one.file_name, one.mime_type, one.sha256]);
  const as = ({ type, content }: OrderFile, name: string) => [name, type, sha256(content)] as const;

  for (const [title, file] of [
    ['Extract PDF attachment', PDF],
    ['Extract Excel (.xlsx) attachment', SPREADSHEET],
    ['Extract CSV attachment', CSV],
    ['Extract ZIP attachment (store as-is)', ZIP],
  ] as const) {
    await t.test(title, async () => {
      const { documents } = await ingest.take(mailWith([file]));
      const [document] = documents;
      assert.equal(documents.length, 1, 'one document: a ZIP is not opened');
      assert.deepEqual([document?.file_name, document?.mime_type, document?.sha256], as(file, file.name));
      assert.ok((await ingest.objects.read(document?.storage_key ?? '')).equals(file.content), 'byte for byte');
    });
  }

  await t.test('Extract attachment with Unicode filename', async (t) => {
    const name = 'Bestellung für Müller – 注文書.pdf';
    const raw = Buffer.from(name).toString('latin1');
    const percent = encodeURIComponent(name);
    const cut = percent.indexOf('%BC'); // in the middle of ü
    for (const [how, field] of [
      ['RFC 2231', `Content-Disposition: attachment; filename*=utf-8''${percent}`],
      [
        'RFC 2231 in pieces',
        `Content-Disposition: attachment; filename*0*=utf-8''${percent.slice(0, cut)};\r\n filename*1*=${percent.slice(cut)}`,
      ],
      ['raw UTF-8 bytes', `Content-Disposition: attachment; filename="${raw}"`],
    ] as const) {
      await t.test(`written as ${how}`, async () => {
        const content = multipart('mixed', [WORDS, base64Part(['Content-Type: application/pdf', field], PDF.content)]);
        assert.deepEqual(await found(content), [as(PDF, name)]);
      });
    }
    await t.test('by nodemailer', async () => {
      const { verdict } = await sendByNodemailer(ingest, { attachments: [{ filename: name, content: PDF.content }] });
      await ingest.rows.settled();
      const [document] = await ingest.rows.documents(acceptedId(verdict));
      assert.deepEqual([document?.file_name, document?.sha256], [name, sha256(PDF.content)]);
    });
    await t.test("by Python's email package", async (t) => {
      if (SMTPLIB === null) return missing(t, 'python3', 'apt-get install python3');
      const attachments = [{ ...PDF, name }];
      const { verdict } = await sendBySmtplib(ingest, { headers: [['Subject', 'ü']], text: 'ü', attachments });
      await ingest.rows.settled();
      const [document] = await ingest.rows.documents(acceptedId(verdict));
      assert.deepEqual([document?.file_name, document?.sha256], [name, sha256(PDF.content)]);
    });
  });

  await t.test('Extract attachment with encoded filename (RFC 2047)', async () => {
    const name = 'Auftrag Größe.pdf';
    const word = `=?UTF-8?B?${Buffer.from(name).toString('base64')}?=`;
    const latin1 = '=?iso-8859-1?Q?Auftrag_Gr=F6=DFe.pdf?=';
    for (const fields of [
      ['Content-Type: application/pdf', `Content-Disposition: attachment; filename="${word}"`],
      ['Content-Type: application/pdf', `Content-Disposition: attachment; filename="${latin1}"`],
      [`Content-Type: application/pdf; name="${word}"`, 'Content-Disposition: attachment'],
    ]) {
      assert.deepEqual(await found(multipart('mixed', [WORDS, base64Part(fields, PDF.content)])), [as(PDF, name)]);
    }
  });

  await t.test('Extract nested multipart attachments', async () => {
    const deep = multipart('mixed', [
      multipart('alternative', [WORDS, multipart('related', [textPart('<p>x</p>', 'html'), filePart(PDF)])]),
      multipart('mixed', [
        multipart('mixed', [multipart('mixed', [filePart(CSV)]), filePart(ZIP)]),
        filePart(SPREADSHEET),
      ]),
    ]);
    const { documents } = await ingest.take(mail(deep));
    assert.deepEqual(
      documents.map(({ part_path, file_name, sha256 }) => [part_path, file_name, sha256]),
      [
        ['1.2.2', PDF.name, sha256(PDF.content)],
        ['2.1.1.1', CSV.name, sha256(CSV.content)],
        ['2.1.2', ZIP.name, sha256(ZIP.content)],
        ['2.2', SPREADSHEET.name, sha256(SPREADSHEET.content)],
      ],
    );
  });

  await t.test('Handle corrupt attachment gracefully', async () => {
    const encoded = PDF.content.toString('base64');
    const half = encoded.slice(0, 400);
    const fields = ['Content-Type: application/pdf; name="corrupt.pdf"', 'Content-Transfer-Encoding: base64'];
    const disposition = 'Content-Disposition: attachment';
    const corrupt = part([...fields, disposition], `${half.slice(0, 100)}!!!!${half.slice(100)}\r\n=x=`);
    const { message, documents } = await ingest.take(mail(multipart('mixed', [corrupt, filePart(CSV)])));
    assert.equal(message.status, 'PARSED');
    const [damaged, whole] = documents;
    assert.equal(damaged?.status, 'STORED');
    assert.equal(damaged.error_json?.code, 'decoded-with-defects');
    assert.match(damaged.error_json?.message ?? '', /base64-junk/);
    const stored = await ingest.objects.read(damaged.storage_key ?? '');
    assert.ok(stored.subarray(0, 300).equals(PDF.content.subarray(0, 300)), 'what decodes is kept');
    assert.deepEqual(
      [whole?.sha256, whole?.error_json],
      [sha256(CSV.content), null],
      'the others are not touched by it',
    );
    const jobs = (await ingest.rows.jobs('extract_document')).map(({ payload }) => payload.document_id);
    assert.ok(jobs.includes(damaged.id) && jobs.includes(whole?.id ?? ''));
  });

  await t.test('an attachment without any name gets one from its place and type', async () => {
    const content = multipart('mixed', [
      WORDS,
      base64Part(['Content-Type: application/pdf', 'Content-Disposition: attachment'], PDF.content),
    ]);
    assert.deepEqual(await found(content), [as(PDF, 'attachment-2.pdf')]);
  });

  await t.test(
    'an inline PDF is a document; inline images, shown images and detached signatures are not; parts_json says why',
    async () => {
      const shown = base64Part(['Content-Type: image/png; name="shown.png"', 'Content-ID: <shown@x>'], LOGO.content);
      const unseen = base64Part(['Content-Type: image/png; name="unseen.png"', 'Content-ID: <unseen@x>'], LOGO.content);
      const { message, documents } = await ingest.take(
        mail(
          multipart('signed', [
            multipart('mixed', [
              multipart('related', [textPart('<img src="cid:shown@x">', 'html'), shown, unseen]),
              filePart(PDF, 'inline'),
              filePart(LOGO, 'inline'),
              filePart({ ...LOGO, name: 'photo.png' }, 'attachment'),
            ]),
            base64Part(
              ['Content-Type: application/pkcs7-signature; name="smime.p7s"', 'Content-Disposition: attachment'],
              LOGO.content,
            ),
          ]),
        ),
      );
      assert.deepEqual(
        documents.map(({ file_name }) => file_name),
        ['unseen.png', 'order.pdf', 'photo.png'],
      );
      assert.deepEqual(
        message.parts_json?.map(({ path, media_type, decision, reason }) => [path, media_type, decision, reason]),
        [
          ['1.1.1', 'text/html', 'skipped', 'no-file-name-and-no-attachment-disposition'],
          ['1.1.2', 'image/png', 'skipped', 'image-shown-by-html'],
          ['1.1.3', 'image/png', 'document', 'has-file-name'],
          ['1.2', 'application/pdf', 'document', 'has-file-name'],
          ['1.3', 'image/png', 'skipped', 'inline-image'],
          ['1.4', 'image/png', 'document', 'attachment'],
          ['2', 'application/pkcs7-signature', 'skipped', 'detached-signature'],
        ],
      );
      for (const [index, entry] of (message.parts_json ?? [])
        .filter(({ decision }) => decision === 'document')
        .entries()) {
        assert.equal(entry.document_id, documents[index]?.id);
      }
    },
  );

  await t.test('a forwarded message is kept whole, and what is attached to it is a document too', async () => {
    const inner = mailWith([PDF], ['Subject: the original order']).toString('latin1').replace(/\r\n$/, '');
    const forwarded = part(
      ['Content-Type: message/rfc822', 'Content-Disposition: attachment; filename="Fwd.eml"'],
      inner,
    );
    const { documents } = await ingest.take(mail(multipart('mixed', [WORDS, forwarded])));
    assert.deepEqual(
      documents.map(({ part_path, file_name, mime_type, sha256 }) => [part_path, file_name, mime_type, sha256]),
      [
        ['2', 'Fwd.eml', 'message/rfc822', sha256(Buffer.from(inner, 'latin1'))],
        ['2.m.2', 'order.pdf', 'application/pdf', sha256(PDF.content)],
      ],
    );
  });

  await t.test('every transfer encoding gives back the bytes that were sent', async () => {
    const text = 'sku;menge\r\nÄ-1;3\r\n.\r\nlong '.padEnd(300, 'x');
    const latin1 = Buffer.from(text, 'latin1');
    const quoted = text.replace(/[^\r\n -<>-~]/g, (char) => `=${char.charCodeAt(0).toString(16).toUpperCase()}`);
    const soft = quoted.replace(/x{70}/g, '$&=\r\n');
    for (const [encoding, body] of [
      ['8bit', text],
      ['binary', text],
      ['quoted-printable', soft],
      ['BASE64', latin1.toString('base64')],
    ] as const) {
      const fields = [
        'Content-Type: text/csv; charset=iso-8859-1; name=a.csv',
        `Content-Transfer-Encoding: ${encoding}`,
      ];
      assert.deepEqual(await found(multipart('mixed', [WORDS, part(fields, body)])), [
        ['a.csv', 'text/csv', sha256(latin1)],
      ]);
    }
  });

  await t.test('no byte a sender chose is part of a key, and a hostile name is shown harmless', async () => {
    const names = ['../../../etc/passwd', '..', 'C:\\temp\\a.pdf', 'a\u202Efdp.exe', 'CON', 'a/b/c.pdf'];
    const parts = names.map((name) =>
      base64Part(
        [
          'Content-Type: application/pdf',
          `Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(name)}`,
        ],
        PDF.content,
      ),
    );
    const { documents } = await ingest.take(mail(multipart('mixed', parts)));
    assert.equal(documents.length, names.length);
    for (const { id, storage_key, file_name } of documents) {
      assert.match(storage_key ?? '', new RegExp(`^${ingest.orgId('acme')}/\\d{4}/\\d{2}/${id}\\.pdf$`));
      assert.doesNotMatch(file_name, /[/\\\u0000-\u001f\u202e]|^\.+$/);
    }
    assert.deepEqual(documents.map(({ file_name }) => file_name).slice(0, 3), ['passwd', 'attachment-2.pdf', 'a.pdf']);
  });

  await t.test('SC-002, SC-006: every document of this file has its row, its bytes and its job', async () => {
    await ingest.objects.assertMatchRows(ingest.rows);
    const documents = await ingest.rows.documents();
    const jobs = (await ingest.rows.jobs('extract_document')).map(({ payload }) => payload.document_id);
    assert.deepEqual(jobs.toSorted(), documents.map(({ id }) => id).toSorted());
    assert.ok(documents.length > 30 && ORDER.length === 4);
    assert.ok(documents.every(({ status }) => status === 'STORED'));
  });
});
