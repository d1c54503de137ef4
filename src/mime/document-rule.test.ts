import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { documentReasons } from './document-rule.ts';
import { classifyPart, createDocumentRule, createMimeParser, type DocumentReason, type PartBegin } from './index.ts';

function partOf(header: Partial<PartBegin['header']>, rest: Partial<PartBegin> = {}): PartBegin {
  const mediaType = header.mediaType ?? 'application/pdf';
  const enclosing = rest.enclosing ?? ['multipart/mixed'];
  return {
    path: '2',
    messagePath: '',
    ...rest,
    enclosing,
    parentMediaType: enclosing.at(-1) ?? null,
    header: {
      declaredMediaType: mediaType,
      charset: null,
      disposition: null,
      fileName: null,
      transferEncoding: '7bit',
      contentId: null,
      contentLocation: null,
      ...header,
      mediaType,
    },
  };
}

type Case = readonly [title: string, part: PartBegin, shown: boolean, reason: DocumentReason];

const png = 'image/png';
const fileName = 'order.pdf';
const octets = 'application/octet-stream';
const attachment = 'attachment';
const inline = 'inline';
const within = (...enclosing: string[]): Partial<PartBegin> => ({ enclosing });
const textAlone: DocumentReason = 'no-file-name-and-no-attachment-disposition';

describe('which part is a document', () => {
  const documents: readonly Case[] = [
    ['disposition attachment', partOf({ disposition: attachment }), false, 'attachment'],
    ['an unknown disposition', partOf({ disposition: 'form-data' }), false, 'attachment'],
    ['attached text', partOf({ mediaType: 'text/plain', disposition: attachment }), false, 'attachment'],
    ['an attached message', partOf({ mediaType: 'message/rfc822', disposition: attachment }), false, 'attachment'],
    ['a file name and no disposition', partOf({ fileName }), false, 'has-file-name'],
    [
      'an inline PDF with a name, as Apple Mail sends it',
      partOf({ disposition: inline, fileName }),
      false,
      'has-file-name',
    ],
    ['named text', partOf({ mediaType: 'text/plain', fileName: 'order.txt' }), false, 'has-file-name'],
    ['a named message', partOf({ mediaType: 'message/rfc822', fileName: 'order.eml' }), false, 'has-file-name'],
    ...[
      'application/pdf',
      octets,
      'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
      'text/csv',
      'text/xml',
      'image/tiff',
      'document/pdf',
    ].flatMap((mediaType): Case[] => [
      [`unnamed ${mediaType}`, partOf({ mediaType }), false, 'unnamed-file'],
      [`unnamed inline ${mediaType}`, partOf({ mediaType, disposition: inline }), false, 'unnamed-file'],
    ]),
    ['an unnamed PDF that is the whole mail', partOf({}, { path: '1', enclosing: [] }), false, 'unnamed-file'],
    ['an unnamed PDF with a blank name', partOf({ fileName: ' \t\u200b' }), false, 'unnamed-file'],
    ['an unnamed PDF in multipart/alternative', partOf({}, within('multipart/alternative')), false, 'unnamed-file'],
    ['an unnamed image that no HTML shows', partOf({ mediaType: png }), false, 'unnamed-file'],
    ['unnamed application/ics', partOf({ mediaType: 'application/ics' }), false, 'unnamed-file'],
    [
      'attached text in multipart/alternative',
      partOf({ mediaType: 'text/csv', disposition: attachment }, within('multipart/alternative')),
      false,
      'attachment',
    ],
    [
      'a CSV in a multipart/mixed in multipart/alternative, as Apple Mail sends it',
      partOf({ mediaType: 'text/csv', fileName: 'order.csv' }, within('multipart/alternative', 'multipart/mixed')),
      false,
      'has-file-name',
    ],
    [
      'an unnamed CSV in a multipart/mixed in multipart/alternative',
      partOf({ mediaType: 'text/csv' }, within('multipart/alternative', 'multipart/mixed')),
      false,
      'unnamed-file',
    ],
    [
      'a named text beside the root of a multipart/related in multipart/alternative',
      partOf({ mediaType: 'text/css', fileName: 'a.css' }, within('multipart/alternative', 'multipart/related')),
      false,
      'has-file-name',
    ],
    [
      'the root of a multipart/related that is no alternative, with a name',
      partOf({ mediaType: 'text/html', fileName: 'a.html' }, { path: '1', enclosing: ['multipart/related'] }),
      false,
      'has-file-name',
    ],
    ['an attached image', partOf({ mediaType: png, disposition: attachment }), false, 'attachment'],
    ['a named image that no HTML shows', partOf({ mediaType: png, fileName: 'a.png' }), false, 'has-file-name'],
    ...['image/tiff', 'image/pdf', 'image/vnd.dwg', 'image/x-dwg', 'image/vnd.adobe.photoshop', 'image/heic'].map(
      (mediaType): Case => [
        `inline ${mediaType}, shown or not`,
        partOf({ mediaType, disposition: inline, fileName: 'drawing' }),
        true,
        'has-file-name',
      ],
    ),
    ['a PDF that HTML mentions', partOf({ contentId: 'x', disposition: inline, fileName }), true, 'has-file-name'],
    [
      'inline octets named as a PDF',
      partOf({ mediaType: octets, disposition: inline, fileName }),
      true,
      'has-file-name',
    ],
    ['inline octets without a name', partOf({ mediaType: octets, disposition: inline }), true, 'unnamed-file'],
    [
      'application/pkcs7-mime, which holds the mail',
      partOf({ mediaType: 'application/pkcs7-mime', fileName: 'smime.p7m' }),
      false,
      'has-file-name',
    ],
    [
      'a signed file that is declared as its signature',
      partOf({ mediaType: 'application/pkcs7-signature', fileName: 'invoice.xml.p7m' }),
      false,
      'has-file-name',
    ],
    [
      'a detached signature of a file, by its name alone',
      partOf({ mediaType: octets, fileName: 'order.pdf.asc' }),
      false,
      'has-file-name',
    ],
    [
      'the content of a multipart/signed',
      partOf({ fileName }, { path: '1', enclosing: ['multipart/signed'] }),
      false,
      'has-file-name',
    ],
    [
      'a file in a multipart/mixed that is signed',
      partOf({ fileName }, { path: '1.2', enclosing: ['multipart/signed', 'multipart/mixed'] }),
      false,
      'has-file-name',
    ],
    [
      'the encrypted data of a multipart/encrypted',
      partOf({ mediaType: octets }, within('multipart/encrypted')),
      false,
      'unnamed-file',
    ],
    [
      'an encrypted file that someone attached',
      partOf({ mediaType: 'application/pgp-encrypted', fileName: 'order.pdf.pgp' }),
      false,
      'has-file-name',
    ],
  ];
  for (const [title, part, shown, reason] of documents) {
    test(`${title}: yes`, () => assert.deepEqual(classifyPart(part, shown), { document: true, reason }));
  }

  const others: readonly Case[] = [
    ...['text/plain', 'text/html', 'text/enriched', 'text/richtext', 'text/calendar', 'text/rfc822-headers'].flatMap(
      (mediaType): Case[] => [
        [mediaType, partOf({ mediaType }), false, textAlone],
        [`inline ${mediaType}`, partOf({ mediaType, disposition: inline }), false, textAlone],
      ],
    ),
    ...['rfc822', 'global', 'delivery-status', 'disposition-notification', 'partial', 'external-body'].map(
      (subtype): Case => [`message/${subtype}`, partOf({ mediaType: `message/${subtype}` }), false, textAlone],
    ),
    ['text with a blank name', partOf({ mediaType: 'text/plain', fileName: '  ' }), false, textAlone],
    ...['text/x-amp-html', 'text/watch-html', 'text/markdown', 'text/csv'].map(
      (mediaType): Case => [
        `${mediaType} in multipart/alternative`,
        partOf({ mediaType }, within('multipart/mixed', 'multipart/alternative')),
        false,
        'text-in-alternative',
      ],
    ),
    ...['text/plain', 'text/html', 'text/calendar'].map(
      (mediaType): Case => [
        `named ${mediaType} in multipart/alternative`,
        partOf({ mediaType, fileName: 'message', disposition: inline }, within('multipart/alternative')),
        false,
        'text-in-alternative',
      ],
    ),
    [
      'the named root of a multipart/related in multipart/alternative',
      partOf(
        { mediaType: 'text/html', fileName: 'message.html' },
        { path: '2.1', enclosing: ['multipart/alternative', 'multipart/related'] },
      ),
      false,
      'text-in-alternative',
    ],
    ['an inline image', partOf({ mediaType: png, disposition: inline, fileName: 'a.png' }), false, 'inline-image'],
    ['an inline image that HTML shows', partOf({ mediaType: png, disposition: inline }), true, 'inline-image'],
    ...['png', 'jpeg', 'jpg', 'pjpeg', 'gif', 'webp', 'bmp', 'x-ms-bmp', 'svg+xml', 'avif', 'x-icon', 'x-emf'].map(
      (subtype): Case => [
        `image/${subtype} that the HTML shows`,
        partOf({ mediaType: `image/${subtype}`, fileName: 'image001' }),
        true,
        'image-shown-by-html',
      ],
    ),
    [
      'an attached image that the HTML shows',
      partOf({ mediaType: png, fileName: 'a.png', disposition: attachment }),
      true,
      'image-shown-by-html',
    ],
    ...[octets, 'application/x-download', 'image/*', 'x-unknown/x'].map(
      (mediaType): Case => [
        `inline ${mediaType} named as an image`,
        partOf({ mediaType, disposition: inline, fileName: 'Logo.PNG' }),
        false,
        'inline-image',
      ],
    ),
    [
      'an inline part without a type, named as an image',
      partOf({ mediaType: 'text/plain', declaredMediaType: null, disposition: inline, fileName: 'logo.jpg' }),
      false,
      'inline-image',
    ],
    ...['application/pkcs7-signature', 'application/x-pkcs7-signature', 'application/pgp-signature'].flatMap(
      (mediaType): Case[] => [
        [
          `the ${mediaType} of a multipart/signed`,
          partOf({ mediaType, disposition: attachment, fileName: 'smime.p7s' }, within('multipart/signed')),
          false,
          'detached-signature',
        ],
        [
          `${mediaType} outside multipart/signed`,
          partOf({ mediaType, disposition: attachment, fileName: 'smime.p7s' }),
          false,
          'detached-signature',
        ],
        [`unnamed ${mediaType}`, partOf({ mediaType }), false, 'detached-signature'],
      ],
    ),
    ...[octets, 'text/plain', 'application/pkcs7-mime', 'application/pdf'].map(
      (mediaType): Case => [
        `${mediaType} as the second part of a multipart/signed`,
        partOf({ mediaType, disposition: attachment, fileName }, { path: '1.2', enclosing: ['multipart/signed'] }),
        false,
        'detached-signature',
      ],
    ),
    ...['smime.p7s', 'signature.asc', 'OpenPGP_signature.asc'].map(
      (name): Case => [
        `octets named ${name}`,
        partOf({ mediaType: octets, disposition: attachment, fileName: name }),
        false,
        'detached-signature',
      ],
    ),
    [
      'the control part of a multipart/encrypted, with a name',
      partOf(
        { mediaType: 'application/pgp-encrypted', fileName: 'PGPMIME version', disposition: attachment },
        { path: '1', enclosing: ['multipart/encrypted'] },
      ),
      false,
      'encryption-control',
    ],
    [
      'an unnamed control part elsewhere',
      partOf({ mediaType: 'application/pgp-encrypted' }),
      false,
      'encryption-control',
    ],
  ];
  for (const [title, part, shown, reason] of others) {
    test(`${title}: no`, () => assert.deepEqual(classifyPart(part, shown), { document: false, reason }));
  }

  test('docs/mime.md lists every reason, and no other', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/mime.md'), 'utf8');
    const section = page.slice(page.indexOf('## Which part is a document'), page.indexOf('## Names'));
    const listed = [...section.matchAll(/^\| .+ \| (yes|no) \| `([a-z-]+)` \|$/gm)].map(([, answer, reason]) => [
      reason,
      answer === 'yes',
    ]);
    assert.deepEqual(
      new Map(listed.map(([reason, document]) => [reason, document])),
      new Map(Object.entries(documentReasons)),
    );
  });
});

function verdictsOf(mail: string, sliceBytes: number) {
  const parser = createMimeParser();
  const rule = createDocumentRule();
  const parts: PartBegin[] = [];
  const early: boolean[] = [];
  const take = (events: ReturnType<typeof parser.push>): void => {
    for (const event of events) {
      rule.observe(event);
      if (event.type !== 'part-begin') continue;
      parts.push(event.part);
      early.push(rule.verdict(event.part).settled);
    }
  };
  const bytes = Buffer.from(mail, 'latin1');
  for (let i = 0; i < bytes.length; i += sliceBytes) take(parser.push(bytes.subarray(i, i + sliceBytes)));
  take(parser.end());
  return parts.map((part, i) => ({ path: part.path, early: early[i], ...rule.verdict(part) }));
}

const leaf = (fields: string, body: string): string => `--r\r\n${fields}\r\n\r\n${body}\r\n`;
const picture = (id: string): string => leaf(`Content-Type: image/png; name=a.png\r\nContent-ID: <${id}>`, 'x');
const html = (text: string): string => leaf('Content-Type: text/html', text);
const multipart = (type: string, ...parts: string[]): string =>
  `Content-Type: multipart/${type}; boundary=r\r\n\r\n${parts.join('')}--r--`;
const related = (...parts: string[]): string => multipart('related', ...parts);

const shownNow = { early: true, document: false, reason: 'image-shown-by-html', settled: true };
const shownLater = { early: false, document: false, reason: 'image-shown-by-html', settled: true };
const keptNamed = { early: false, document: true, reason: 'has-file-name', settled: true };

describe('over a whole mail', () => {
  for (const sliceBytes of [1, 7, 10_000]) {
    describe(`in pieces of ${sliceBytes}`, () => {
      test('HTML before the image settles it at once', () => {
        assert.deepEqual(
          verdictsOf(related(html('<img src="cid:one@x">'), picture('one@x'), picture('two@x')), sliceBytes).slice(1),
          [
            { path: '2', ...shownNow },
            { path: '3', ...keptNamed },
          ],
        );
      });
      test('HTML after the image settles it at the end', () => {
        const [image] = verdictsOf(related(picture('one@x'), html('<a href=x><img src=CID:ONE%40x >')), sliceBytes);
        assert.deepEqual(image, { path: '1', ...shownLater });
      });
      test('an image in multipart/mixed beside the HTML is shown, also as an attachment', () => {
        const attached = leaf(
          'Content-Type: image/png; name=a.png\r\nContent-ID: <one@x>\r\nContent-Disposition: attachment',
          'x',
        );
        assert.deepEqual(verdictsOf(multipart('mixed', html('<img src="cid:one@x">'), attached), sliceBytes)[1], {
          path: '2',
          ...shownNow,
        });
      });
      test('HTML in a message inside shows nothing of the mail around it, nor the other way round', () => {
        const forwarded = `Content-Type: message/rfc822\r\n\r\n${related(html('<img src="cid:out@x">'), picture('in@x')).replaceAll('=r', '=s').replaceAll('--r', '--s')}`;
        const mail = multipart('mixed', html('<img src="cid:in@x">'), picture('out@x'), `--r\r\n${forwarded}\r\n`);
        assert.deepEqual(
          verdictsOf(mail, sliceBytes).map(({ path, document }) => [path, document]),
          [
            ['1', false],
            ['2', true],
            ['3', false],
            ['3.m.1', false],
            ['3.m.2', true],
          ],
        );
      });
      for (const [title, bytes, reason] of [
        ['a PNG', '\x89PNG\r\n\x1a\n1234', 'inline-image'],
        ['a JPEG of three bytes', '\xff\xd8\xff', 'inline-image'],
        ['a WEBP', 'RIFF1234WEBPVP8 ', 'inline-image'],
        ['a GIF', 'GIF89a12345678', 'inline-image'],
        ['a BMP', 'BM12\0\0\0\0\0\0\x36\0\0\0', 'inline-image'],
        ['a PDF', '%PDF-1.4 and on', 'unnamed-file'],
        ['text that begins like a BMP', 'BMW;12;spare parts', 'unnamed-file'],
        ['a RIFF of another kind', 'RIFF1234WAVEfmt ', 'unnamed-file'],
        ['nothing', '', 'unnamed-file'],
      ] as const) {
        test(`inline octets without a name, by their first bytes: ${title}`, () => {
          const part = leaf(`Content-Type: ${octets}\r\nContent-Disposition: inline`, bytes);
          const [verdict] = verdictsOf(multipart('mixed', part), sliceBytes);
          assert.deepEqual([verdict?.early, verdict?.reason], [false, reason]);
        });
      }
      for (const [title, type, name, bytes, reason] of [
        ['octets named as an image', octets, 'logo.png', 'unknown bytes', 'inline-image'],
        ['octets named as an image that are a PDF', octets, 'logo.png', '%PDF-1.4 and on', 'has-file-name'],
        ['octets named as a PDF that are a GIF', octets, fileName, 'GIF89a12345678', 'inline-image'],
        ['a PDF sent as image/jpeg', 'image/jpeg', 'scan.pdf', '%PDF-1.4 and on', 'has-file-name'],
        ['a JPEG named as a PDF', 'image/jpeg', 'scan.pdf', '\xff\xd8\xff\xe0 and on', 'inline-image'],
      ] as const) {
        test(`inline: ${title}`, () => {
          const part = leaf(`Content-Type: ${type}\r\nContent-Disposition: inline; filename=${name}`, bytes);
          const [verdict] = verdictsOf(multipart('mixed', part), sliceBytes);
          assert.deepEqual([verdict?.early, verdict?.reason], [false, reason]);
        });
      }
      test('octets that HTML shows are an image by their bytes, and a file when they are none', () => {
        const part = (id: string, bytes: string) =>
          leaf(`Content-Type: ${octets}; name=x.dat\r\nContent-ID: <${id}>`, bytes);
        const mail = related(
          html('<img src="cid:one@x"><img src="cid:two@x">'),
          part('one@x', 'GIF89a12345678'),
          part('two@x', '%PDF-1.4 and on'),
        );
        assert.deepEqual(verdictsOf(mail, sliceBytes).slice(1), [
          { path: '2', ...shownLater },
          { path: '3', ...keptNamed },
        ]);
      });
    });
  }

  test('parts that can be no image that is left out are settled when they begin', () => {
    const mail = multipart(
      'mixed',
      leaf(
        'Content-Type: application/pdf; name=order.pdf\r\nContent-ID: <one@x>\r\nContent-Disposition: inline',
        '%PDF-',
      ),
      leaf(`Content-Type: ${octets}; name=logo.png`, 'x'),
      leaf('Content-Type: image/png; name=a.png', 'x'),
      leaf('Content-Type: image/png; name=a.png\r\nContent-Disposition: inline', 'x'),
    );
    assert.deepEqual(
      verdictsOf(mail, 10_000).map(({ early, reason }) => [early, reason]),
      [
        [true, 'has-file-name'],
        [true, 'has-file-name'],
        [true, 'has-file-name'],
        [true, 'inline-image'],
      ],
    );
  });

  test('the third part of a multipart/signed is judged by itself', () => {
    const part = (name: string) => leaf(`Content-Type: application/pdf; name=${name}`, 'x');
    assert.deepEqual(
      verdictsOf(multipart('signed', part('a.pdf'), part('b.pdf'), part('c.pdf')), 10_000).map(({ reason }) => reason),
      ['has-file-name', 'detached-signature', 'has-file-name'],
    );
  });
});
