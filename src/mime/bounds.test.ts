/**
 * Each field and parameter of a part at its largest and in its dearest form. Counted is the work: what is given to the
 * decoders, and what comes out.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import iconv from 'iconv-lite';
import { dearParts } from '../testing/hostile-mails.ts';
import {
  boundedParameters,
  MAX_MEDIA_TYPE_CHARACTERS,
  MAX_PARAMETERIZED_BYTES,
  MAX_REPEATED_FIELDS,
  MAX_TOKEN_CHARACTERS,
} from './bounds.ts';
import { createMimeParser, type PartHeader } from './index.ts';

interface Work {
  readonly header: PartHeader;
  /** Bytes given to decoders of charsets. */
  readonly decoded: number;
  /** Units of UTF-16 that were normalised. */
  readonly normalised: number;
}

/** Of the last part that begins. */
function read(t: TestContext, mail: string): Work {
  const [decode, { normalize }] = [iconv.decode, String.prototype];
  const count = { decoded: 0, normalised: 0 };
  t.mock.method(iconv, 'decode', (...given: Parameters<typeof decode>) => {
    count.decoded += given[0].length;
    return decode(...given);
  });
  t.mock.method(String.prototype, 'normalize', function (this: string, form: string) {
    count.normalised += this.length;
    return normalize.call(this, form);
  });
  const parser = createMimeParser();
  const events = [...parser.push(Buffer.from(mail, 'latin1')), ...parser.end()];
  t.mock.restoreAll();
  const header = events.flatMap((event) => (event.type === 'part-begin' ? [event.part.header] : [])).at(-1);
  assert.ok(header !== undefined);
  return { header, ...count };
}

describe('of a field at its largest', () => {
  for (const { name, mail } of dearParts()) {
    it(`no more than its bounds is worked on: ${name}`, (t) => {
      const { header, decoded, normalised } = read(t, mail());
      // The name and the charset are decoded, and a name is looked at again where its characters may be lost.
      const most = 3 * MAX_PARAMETERIZED_BYTES;
      assert.ok(decoded <= most, `${decoded} bytes decoded`);
      assert.equal(normalised, 0);
      assert.ok(header.mediaType.length <= MAX_MEDIA_TYPE_CHARACTERS);
      assert.ok((header.declaredMediaType ?? '').length <= MAX_MEDIA_TYPE_CHARACTERS);
      for (const text of [header.charset, header.disposition, header.transferEncoding])
        assert.ok((text ?? '').length <= MAX_TOKEN_CHARACTERS);
      assert.ok((header.fileName ?? '').length <= MAX_PARAMETERIZED_BYTES);
      for (const text of [header.contentId, header.contentLocation]) assert.ok((text ?? '').length <= 998);
    });
  }

  it('no more than its bound is decoded of a subject', (t) => {
    const subject = `=?utf-7?B?${Buffer.from('+AME-'.repeat(1_000)).toString('base64')}?=`;
    const mail = (words: number): string => `Subject: ${Array(words).fill(subject).join('\r\n ')}\r\n\r\nx`;
    const one = read(t, mail(1)).decoded;
    const { decoded } = read(t, mail(37));
    // To be shown, to see what may be lost, and for the text as it was sent.
    assert.ok(decoded > one && decoded <= 3 * 16 * 1024, `${decoded} bytes decoded, ${one} of one word`);
  });

  it('a part stays a document, its name keeps its extension', (t) => {
    const long = 'a'.repeat(250_000);
    const { header } = read(t, `Content-Type: application/${long}; name="order.pdf"\r\n\r\nx`);
    assert.equal(header.mediaType, 'application/octet-stream');
    assert.equal(header.declaredMediaType, null);
    assert.equal(header.fileName, 'order.pdf');
    const named = read(t, `Content-Type: application/pdf; name="${long}.pdf"\r\n\r\nx`).header;
    assert.match(named.fileName ?? '', /^a+\.pdf$/);
    assert.equal(read(t, `Content-Disposition: ${long}\r\n\r\nx`).header.disposition, 'attachment');
  });

  it('what is as long as the longest real one is read whole', (t) => {
    const name = `${'é'.repeat(251)}.pdf`;
    const escaped = Buffer.from(name).toString('hex').replace(/../g, '%$&');
    assert.equal(
      read(t, `Content-Disposition: attachment; filename*=utf-8''${escaped}\r\n\r\nx`).header.fileName,
      name,
    );
    const type = `application/${'a'.repeat(127)}`;
    assert.equal(read(t, `Content-Type: ${type}\r\n\r\nx`).header.declaredMediaType, type);
    const value = `attachment; filename="${'x'.repeat(MAX_PARAMETERIZED_BYTES - 23)}"`;
    assert.equal(boundedParameters(value), value);
  });

  it(`${MAX_REPEATED_FIELDS} of a field that may stand once are read`, (t) => {
    const type = (i: number): string => `Content-Type: application/x-${i}${i === 5 ? '; name=last.pdf' : ''}\r\n`;
    const { header } = read(t, `${[1, 2, 3, 4, 5].map(type).join('')}\r\nx`);
    assert.deepEqual([header.mediaType, header.fileName], ['application/x-1', null]);
  });
});
