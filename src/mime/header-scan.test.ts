import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { keptFieldBytes } from './header-fields.ts';
import { createHeaderScan } from './header-scan.ts';
import { createMimeParser, defaultMimeLimits, type MailHeader, readMailHeader } from './index.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

interface Split {
  /** Null where the header is not plain: then nothing hangs on it. */
  readonly content: string | null;
  readonly kept: string;
  readonly receivedFields: number;
  readonly contentFieldsSha256: string;
}

function splitInChunks(chunks: readonly string[]): Split {
  const scan = createHeaderScan();
  let content = '';
  for (const chunk of chunks) {
    const bytes = Buffer.from(chunk, 'latin1');
    content += bytes.subarray(scan.push(bytes)).toString('latin1');
    bytes.fill('#');
  }
  const { headerBlock, isPlain, ...read } = scan.finish();
  return { content: isPlain ? content : null, kept: Buffer.from(headerBlock).toString('latin1'), ...read };
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
  ['a byte order mark before a folded field', '\xef\xbb\xbf', 'A: b\r\n c\r\n', '\r\n', 'body', true],
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
  ['a line that is none among the fields', '', 'A: b\r\njunk\r\nTo: d\r\n', '\r\n', 'body', false],
];

describe('the end of the header block', () => {
  for (const [title, before, header, end, content, plain] of VECTORS) {
    it(`is found whatever the chunks: ${title}`, () => {
      const mail = before + header + end + content;
      const whole = splitInChunks([mail]);
      assert.equal(whole.content, plain ? content : null);
      assert.deepEqual(splitInChunks([...mail]), whole, 'byte by byte');
      for (let at = 0; at <= mail.length; at++)
        assert.deepEqual(splitInChunks(cutAt(mail, [at])), whole, `cut at ${at}`);
    });
  }

  it('is found behind a byte order mark and a line that does not fit into a piece', () => {
    const mail = `\xef\xbb\xbfFrom: ${'x'.repeat(40_000)}\r\nMessage-ID: <a@b>\r\n\r\nbody`;
    const whole = splitInChunks([mail]);
    assert.equal(whole.content, 'body');
    assert.match(whole.kept, /Message-ID: <a@b>/);
    assert.deepEqual(splitInChunks(cutAt(mail, [100, 12_000, 24_000])), whole);
  });

  for (const overBytes of [-1, 0, 1, 500]) {
    it(`is plain up to the bound of the engine, ${overBytes} bytes over it`, () => {
      const { maxHeaderBlockBytes } = defaultMimeLimits;
      const header = `A: ${'x'.repeat(maxHeaderBlockBytes + overBytes - 5)}\r\n`;
      const { content } = splitInChunks(cutAt(`${header}\r\nbody\n\n`, [1000, header.length + 1]));
      assert.equal(content, overBytes > 0 ? null : 'body\n\n');
    });
  }
});

describe('a header of any size', () => {
  it('is counted and searched to its end', () => {
    const much = `X-Padding: ${'x'.repeat(600_000)}\r\n\t${'y\r\n\t'.repeat(200_000)}\r\n`;
    const hop = 'Received: from a\r\n by b\r\n';
    const { kept, receivedFields } = splitInChunks([
      `${hop}${much}${hop}${much}RECEIVED :c\r\n\tReceived: no field\r\n`,
      'Message-ID: <a@b>\r\n\r\n',
    ]);
    assert.equal(receivedFields, 3);
    assert.equal(kept, 'Message-ID: <a@b>\r\n');
  });

  it('is kept to a bound of each field, its own text or a line of any kind', () => {
    for (const more of ['x', 'x\r\n ', '\r\n\t', ' ', 'x\r\nno field\r\n ']) {
      const names = [...keptFieldBytes.keys()];
      const mail = [...names, ...names].map((name) => `${name}: a${more.repeat(70_000 / more.length)}\r\n`).join('');
      const { kept } = splitInChunks(cutAt(mail, [50_000]));
      assert.ok(kept.length <= 128 * 1024, `${kept.length}`);
    }
  });

  it('gives of each name the first field that is not blank, whatever stands before it', () => {
    const { kept } = splitInChunks([
      `Subject: \r\n \r\n${'X: y\r\n'.repeat(6_000)}subject: a\r\n b\r\nSubject: c\r\nTo:\r\n\r\n`,
    ]);
    assert.equal(kept, 'subject: a\r\n b\r\nTo:\r\n');
  });

  for (const [title, make] of Object.entries({
    'one endless line': (length: number) => `X: ${'x'.repeat(length)}`,
    'one endless line of a field that is used': (length: number) => `Subject: ${'x '.repeat(length / 2)}`,
    'continuation lines': (length: number) => `Content-Type: ${'a;\r\n '.repeat(length / 5)}`,
    'fields without number': (length: number) => 'a:\r\n'.repeat(length / 4),
    'content fields of many names': (length: number) =>
      Array.from({ length: length / 20 }, (_, i) => `Content-${i}: abcd\r\n`).join(''),
    blanks: (length: number) => `To:${' '.repeat(length)}`,
    'every field that is kept': (length: number) =>
      [...keptFieldBytes.keys()].map((name) => `${name}: ${'x\r\n '.repeat(length / 32)}\r\n`).join(''),
  })) {
    it(`holds no more than its bound: ${title}`, () => {
      const mail = Buffer.from(make(2 * 1024 * 1024), 'latin1');
      const before = allocatedBytes();
      const scans = Array.from({ length: 20 }, () => createHeaderScan());
      for (const scan of scans)
        for (let at = 0; at < mail.length; at += 65_536) scan.push(mail.subarray(at, at + 65_536));
      const held = (allocatedBytes() - before) / scans.length;
      assert.ok(scans.every((scan) => scan.header() === null));
      assert.ok(held < 320 * 1024, `${Math.round(held / 1024)} KiB each`);
    });
  }
});

/** What is in use when garbage is gone. */
function allocatedBytes(): number {
  for (let i = 0; i < 3; i++) collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('the digest of the content fields', () => {
  const digest = (...lines: string[]) => splitInChunks([`${lines.join('\r\n')}\r\n\r\nbody`]).contentFieldsSha256;
  const ORDER = [
    'From: a@b.example',
    'To: c@d.example',
    'Subject: Order 1',
    'Date: today',
    'MIME-Version: 1.0',
    'Content-Type: text/plain',
  ];
  const same: Record<string, readonly string[]> = {
    'trace fields before it': [
      'Received: from a',
      'Return-Path: <x@y>',
      'DKIM-Signature: v=1',
      'ARC-Seal: i=1',
      ...ORDER,
    ],
    'fields of a scanner behind it': [
      ...ORDER,
      'X-Spam: no',
      'Authentication-Results: mx; spf=pass',
      'Delivered-To: x',
      'Reply-To: y',
    ],
    'other folding': ORDER.map((line) => (line.startsWith('Subject') ? 'Subject:\r\n\tOrder\r\n  1 ' : line)),
    'names in another case': ORDER.map((line) => line.replace(/^[^:]+/, (name) => name.toUpperCase())),
    'blanks around values': ORDER.map((line) => line.replace(': ', ' :')),
    'another order of the fields': ORDER.toReversed(),
    'another Message-ID': ['Message-ID: <x@y>', ...ORDER],
  };
  for (const [title, lines] of Object.entries(same))
    it(`is the same for ${title}`, () => assert.equal(digest(...lines), digest(...ORDER)));

  const other: Record<string, readonly string[]> = {
    'another subject': ORDER.map((line) => line.replace('Order 1', 'Order 2')),
    'another sender': ORDER.map((line) => line.replace('a@b', 'z@b')),
    'another recipient in the header': ORDER.map((line) => line.replace('c@d', 'z@d')),
    'one more Cc': [...ORDER, 'Cc: e@f.example'],
    'another date': ORDER.map((line) => line.replace('today', 'tomorrow')),
    'another MIME version': ORDER.map((line) => line.replace('1.0', '1.1')),
    'another charset': ORDER.map((line) => line.replace('text/plain', 'text/plain; charset=utf-16')),
    'a transfer encoding': [...ORDER, 'Content-Transfer-Encoding: base64'],
    'a disposition': [...ORDER, 'Content-Disposition: attachment'],
    'a Content field of a name of its own': [...ORDER, 'Content-Whatever: x'],
    'a field less': ORDER.slice(1),
    'a second subject': [...ORDER, 'Subject: Order 1'],
    'a second subject before the first': ['Subject: Order 2', ...ORDER],
    'an end of a subject of a megabyte': ORDER.map((line) =>
      line.replace('Order 1', `Order 1${'x'.repeat(1_000_000)}`),
    ),
  };
  for (const [title, lines] of Object.entries(other))
    it(`is another one for ${title}`, () => assert.notEqual(digest(...lines), digest(...ORDER)));

  it('is another one for each text, wherever in a long one they differ', () => {
    const subjects = [0, 500, 1_023, 1_024, 1_025, 40_000, 899_999].map(
      (at) => `${'x'.repeat(at)}y${'x'.repeat(900_000 - at)}`,
    );
    assert.equal(new Set(subjects.map((subject) => digest(`Subject: ${subject}`))).size, subjects.length);
  });

  it('keeps repeated fields in their order, and those of more names than are told apart', () => {
    const many = Array.from({ length: 100 }, (_, i) => `Content-${i}: x`);
    assert.notEqual(digest('Subject: a', 'Subject: b'), digest('Subject: b', 'Subject: a'));
    assert.notEqual(digest(...many), digest(...many.slice(0, 99)));
    assert.notEqual(digest('Subject: a', 'Subject: b'), digest('Subject: a b'));
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

  /** Cc and what was odd of the header is for the engine to tell, and the scan tells of text among the fields. */
  const comparable = (header: MailHeader | undefined) => ({ ...header, cc: [], defects: [] });

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
