import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createHeaderScan } from './header-scan.ts';
import { createMimeParser, type MailHeader, readMailHeader } from './index.ts';

const MAX_BYTES = 1000;

interface Split {
  readonly header: string;
  /** Null where the header is not plain: then nothing hangs on it. */
  readonly content: string | null;
}

function splitInChunks(chunks: readonly string[], maxBytes = MAX_BYTES): Split {
  const scan = createHeaderScan(maxBytes);
  let content = '';
  for (const chunk of chunks) {
    const bytes = Buffer.from(chunk, 'latin1');
    content += bytes.subarray(scan.push(bytes)).toString('latin1');
    bytes.fill('#');
  }
  const { headerBlock, isPlain } = scan.finish();
  return { header: Buffer.from(headerBlock).toString('latin1'), content: isPlain ? content : null };
}

function cutAt(mail: string, cuts: readonly number[]): string[] {
  const ordered = [0, ...cuts.toSorted((a, b) => a - b), mail.length];
  return ordered.slice(1).map((to, i) => mail.slice(ordered[i], to));
}

/** Title, what stands before the header, the header, what ends it, the content; then whether it is plain. */
const VECTORS: readonly (readonly [string, string, string, string, string, boolean])[] = [
  ['CRLF throughout', '', 'A: b\r\nC: d\r\n', '\r\n', 'body\r\n\r\nmore\r\n', true],
  ['bare LF throughout', '', 'A: b\nC: d\n', '\n', 'body\n\nmore\n', true],
  ['LF and then CRLF', '', 'A: b\n', '\r\n', 'body\n\n', true],
  ['CRLF and then LF', '', 'A: b\r\n', '\n', 'body\r\n\r\n', true],
  ['an empty body', '', 'A: b\r\n', '\r\n', '', true],
  ['NUL and 8-bit bytes', '', 'A: \0\xff\r\n', '\r\n', '\0\n\n\xfe', true],
  ['a line of a space is a continuation', '', 'A: b\r\n \r\n', '\r\n', 'body', true],
  ['no empty line at all', '', 'A: b\r\nC: d\r\n', '', '', false],
  ['no line end at all', '', 'A: b', '', '', false],
  ['an empty mail', '', '', '', '', false],
  ['an empty first line before text', '', '', '\r\n', 'Order: 4711\r\n\r\nbody', false],
  ['an empty first line before fields', '\r\n', 'Subject: b\r\nC: d\r\n', '\r\n', 'body', false],
  ['a blank first line', ' \t\n', 'From: b\n', '\n', 'body', false],
  ['the answer of a POP3 server', '+OK 120 octets\r\n', 'X-A: b\r\nFrom: b\r\n', '\r\n', 'body', false],
  ['the answer of a web server', 'HTTP/1.1 200 OK\r\n', 'Date: b\r\n', '\r\n', 'body', false],
  ['the rest of a Received field', '\tby mx; Mon\r\n', 'To: b\r\n', '\r\n', 'body', false],
  ['text only', '', '', '', 'Dear all,\r\nplease send 5.\r\n\r\nBye', false],
  ['text after the fields', '', 'A: b\r\n', '', 'no empty line\r\n\r\nmore', false],
  ['a line that is none among the fields', '', 'A: b\r\njunk\r\nTo: d\r\n', '\r\n', 'body', true],
];

describe('the end of the header block', () => {
  for (const [title, before, header, end, content, plain] of VECTORS) {
    it(`is found whatever the chunks: ${title}`, () => {
      const mail = before + header + end + content;
      const expected = { header, content: plain ? content : null };
      assert.deepEqual(splitInChunks([mail]), expected, 'whole');
      assert.deepEqual(splitInChunks([...mail]), expected, 'byte by byte');
      for (let at = 0; at <= mail.length; at++)
        assert.deepEqual(splitInChunks(cutAt(mail, [at])), expected, `cut at ${at}`);
    });
  }

  for (const overBytes of [-1, 0, 1, 2, 500]) {
    it(`keeps at most the bound of a header ${overBytes} bytes over it`, () => {
      const header = `A: ${'x'.repeat(MAX_BYTES + overBytes - 5)}\r\n`;
      const mail = `${header}\r\nbody\n\n`;
      for (const chunks of [[mail], [...mail], cutAt(mail, [MAX_BYTES]), cutAt(mail, [header.length + 1])]) {
        const split = splitInChunks(chunks);
        assert.equal(split.header, header.slice(0, MAX_BYTES));
        assert.equal(split.content, overBytes > 0 ? null : 'body\n\n');
      }
    });
  }

  it('passes over a field of any size that is within the bound', () => {
    const mail = `To: ${'x'.repeat(600_000)}\r\nMessage-ID: <a@b>\r\n\r\nbody`;
    const split = splitInChunks(cutAt(mail, [1_000, 300_000]), 1_048_576);
    assert.ok(split.header.endsWith('Message-ID: <a@b>\r\n'));
    assert.equal(split.content, 'body');
  });
});

describe('the engine reads the same header', () => {
  function engineHeader(mail: Buffer): MailHeader | undefined {
    const parser = createMimeParser();
    const events = [...parser.push(mail), ...parser.end()];
    return events.find((event) => event.type === 'header')?.header;
  }

  function scannedHeader(mail: Buffer, cut: number): MailHeader {
    const scan = createHeaderScan();
    scan.push(mail.subarray(0, cut));
    scan.push(mail.subarray(cut));
    return readMailHeader(scan.finish().headerBlock);
  }

  /** That lines stood before the header is known to the engine alone. */
  const comparable = (header: MailHeader | undefined) => ({
    ...header,
    defects: header?.defects.filter(({ code }) => code !== 'header-late'),
  });

  const folder = join(import.meta.dirname, '../../testdata');
  const names = ['mime', 'field'].flatMap((name) =>
    readdirSync(join(folder, name), { encoding: 'utf8', recursive: true })
      .filter((file) => file.endsWith('.eml'))
      .map((file) => join(folder, name, file)),
  );

  it('of every test mail', () => {
    assert.ok(names.length > 70);
    for (const name of names) {
      const mail = readFileSync(name);
      for (const cut of [0, 1, 100, mail.length])
        assert.deepEqual(comparable(scannedHeader(mail, cut)), comparable(engineHeader(mail)), name);
    }
  });

  it('of any lines in any order', () => {
    const line = fc.constantFrom(
      '\r\n',
      '\n',
      ' \r\n',
      'From: a@b.example\r\n',
      'Subject: x\r\n',
      'Subject: x\n',
      '  folded\r\n',
      'Order: 4711\r\n',
      'text without a colon\r\n',
      '--b\r\n',
      '+OK\r\n',
      'From x@y Mon\r\n',
      '\tby mx\r\n',
      ' Content-Type: text/plain\r\n',
      'Content-Type: multipart/mixed; boundary=b\r\n',
      'Content-Transfer-Encoding: base64\r\n',
      'QUJD\r\n',
      '\r',
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), fc.nat(200), (lines, at) => {
        const mail = Buffer.from(lines.join(''), 'latin1');
        const cut = Math.min(at, mail.length);
        assert.deepEqual(comparable(scannedHeader(mail, cut)), comparable(engineHeader(mail)));
      }),
      { numRuns: 5_000 },
    );
  });
});
