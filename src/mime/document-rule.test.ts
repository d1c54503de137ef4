import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  classifyPart,
  createContentIdCollector,
  createDocumentRule,
  createMimeParser,
  type PartBegin,
} from './index.ts';

function partOf(header: Partial<PartBegin['header']>, rest: Partial<PartBegin> = {}): PartBegin {
  const mediaType = header.mediaType ?? 'application/pdf';
  return {
    path: '2',
    parentMediaType: 'multipart/mixed',
    relatedPath: null,
    ...rest,
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

const image = 'image/png';
const fileName = 'order.pdf';

describe('which part is a document', () => {
  for (const [title, part, shown, reason] of [
    ['disposition attachment', partOf({ disposition: 'attachment' }), false, 'attachment'],
    ['an unknown disposition', partOf({ disposition: 'form-data' }), false, 'attachment'],
    ['a file name and no disposition', partOf({ fileName }), false, 'has-file-name'],
    [
      'an inline PDF with a name, as Apple Mail sends it',
      partOf({ disposition: 'inline', fileName }),
      false,
      'has-file-name',
    ],
    ['an attached image', partOf({ mediaType: image, disposition: 'attachment' }), false, 'attachment'],
    [
      'a named image that no HTML shows',
      partOf({ mediaType: image, fileName }, { relatedPath: '' }),
      false,
      'has-file-name',
    ],
    ['a named image outside multipart/related', partOf({ mediaType: image, fileName }), true, 'has-file-name'],
    [
      'a signature file outside multipart/signed',
      partOf({ mediaType: 'application/pgp-signature', fileName }),
      false,
      'has-file-name',
    ],
    ['an attached message', partOf({ mediaType: 'message/rfc822', disposition: 'attachment' }), false, 'attachment'],
  ] as const) {
    test(`${title}: yes`, () => assert.deepEqual(classifyPart(part, shown), { document: true, reason }));
  }
  for (const [title, part, shown, reason] of [
    ['an inline image', partOf({ mediaType: image, disposition: 'inline', fileName }), false, 'inline-image'],
    [
      'an image that the HTML shows',
      partOf({ mediaType: image, fileName }, { relatedPath: '1' }),
      true,
      'image-shown-by-html',
    ],
    ['text', partOf({ mediaType: 'text/plain' }), false, 'no-file-name-and-no-attachment-disposition'],
    [
      'inline text',
      partOf({ mediaType: 'text/html', disposition: 'inline' }),
      false,
      'no-file-name-and-no-attachment-disposition',
    ],
    ...['application/pkcs7-signature', 'application/x-pkcs7-signature', 'application/pgp-signature'].map(
      (mediaType) =>
        [
          `the ${mediaType} of a multipart/signed`,
          partOf(
            { mediaType, disposition: 'attachment', fileName: 'smime.p7s' },
            { parentMediaType: 'multipart/signed' },
          ),
          false,
          'detached-signature',
        ] as const,
    ),
  ] as const) {
    test(`${title}: no`, () => assert.deepEqual(classifyPart(part, shown), { document: false, reason }));
  }
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
  for (let i = 0; i < mail.length; i += sliceBytes) take(parser.push(Buffer.from(mail.slice(i, i + sliceBytes))));
  take(parser.end());
  return parts.map((part, i) => ({ path: part.path, early: early[i], ...rule.verdict(part) }));
}

const picture = (id: string): string =>
  `--r\r\nContent-Type: image/png; name=a.png\r\nContent-ID: <${id}>\r\n\r\nx\r\n`;
const html = (text: string): string => `--r\r\nContent-Type: text/html\r\n\r\n${text}\r\n`;
const related = (...parts: string[]): string =>
  `Content-Type: multipart/related; boundary=r\r\n\r\n${parts.join('')}--r--`;

describe('images that the HTML shows', () => {
  for (const sliceBytes of [1, 7, 10_000]) {
    test(`HTML before the image settles it at once (pieces of ${sliceBytes})`, () => {
      const [, shown, kept] = verdictsOf(
        related(html('<img src="cid:one@x">'), picture('one@x'), picture('two@x')),
        sliceBytes,
      );
      assert.deepEqual(shown, {
        path: '2',
        early: true,
        document: false,
        reason: 'image-shown-by-html',
        settled: true,
      });
      assert.deepEqual(kept, { path: '3', early: false, document: true, reason: 'has-file-name', settled: true });
    });
    test(`HTML after the image settles it at the end (pieces of ${sliceBytes})`, () => {
      const [shown] = verdictsOf(related(picture('one@x'), html('<a href=x><img src=CID:ONE%40x >')), sliceBytes);
      assert.deepEqual(shown, {
        path: '1',
        early: false,
        document: false,
        reason: 'image-shown-by-html',
        settled: true,
      });
    });
    test(`a Content-ID that only begins like one mentioned is not shown (pieces of ${sliceBytes})`, () => {
      const [, kept] = verdictsOf(related(html('<img src="cid:one@x.example">'), picture('one@x')), sliceBytes);
      assert.equal(kept?.document, true);
    });
  }

  test('HTML of another multipart/related does not count', () => {
    const inner = related(html('<img src="cid:one@x">'));
    const mail = `Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n${inner}\r\n--m\r\n${related(picture('one@x'))}\r\n--m--`;
    assert.deepEqual(
      verdictsOf(mail, 10_000).map(({ path, document }) => [path, document]),
      [
        ['1.1', false],
        ['2.1', true],
      ],
    );
  });

  test('mentions are bounded in number and length', () => {
    const collector = createContentIdCollector();
    const part = partOf({ mediaType: 'text/html' }, { relatedPath: '' });
    collector.observe({ type: 'part-begin', part });
    const say = (text: string) => collector.observe({ type: 'part-data', path: '2', bytes: Buffer.from(text) });
    say(`<img src="cid:first@x"> <img src="cid:${'l'.repeat(5_000)}">`);
    for (let i = 0; i < 200; i++) say(Array.from({ length: 100 }, (_, k) => `"cid:n${i}-${k}" `).join(''));
    say('"cid:last@x" ');
    assert.equal(collector.mentions('', 'FIRST@x'), true);
    assert.equal(collector.mentions('', 'l'.repeat(5_000)), false);
    assert.equal(collector.mentions('', 'last@x'), false);
  });
});
