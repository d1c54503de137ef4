/** "In the mail" of the hostile list: every bound has a name, and what came before it stays good. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { costlyBodies, costlyFields, lines, mixed } from '../testing/hostile-mails.ts';
import {
  createMimeParser,
  defaultMimeLimits,
  type MailEvent,
  MimeError,
  type MimeLimits,
  readMailHeader,
} from './index.ts';

interface Outcome {
  readonly limit: { readonly limit: string; readonly value: number } | null;
  readonly parts: readonly string[];
  readonly types: readonly string[];
  readonly last: MailEvent | undefined;
}

function parse(mail: Buffer | string, limits: Partial<MimeLimits> = {}, sliceBytes = 65_536): Outcome {
  const bytes = Buffer.from(mail);
  const parser = createMimeParser({ limits });
  const parts: string[] = [];
  const types: string[] = [];
  let limit: Outcome['limit'] = null;
  let last: MailEvent | undefined;
  const observe = (events: readonly MailEvent[]): void => {
    for (const event of events) {
      assert.ok(limit === null || event.type === 'end', `${event.type} after the limit`);
      if (event.type === 'limit') limit = { limit: event.limit, value: event.value };
      if (event.type === 'part-end') parts.push(event.path);
      types.push(event.type);
      last = event;
    }
  };
  for (let i = 0; i < bytes.length; i += sliceBytes) observe(parser.push(bytes.subarray(i, i + sliceBytes)));
  observe(parser.end());
  return { limit, parts, types, last };
}

function nestedMultiparts(depth: number): string {
  const open = Array.from({ length: depth }, (_, i) =>
    lines(`Content-Type: multipart/mixed; boundary="b${i}"`, '', `--b${i}`, ''),
  );
  return `${open.join('')}\r\ndeep`;
}

describe('limits', () => {
  const cases: readonly (readonly [keyof MimeLimits, string, string])[] = [
    ['maxDepth', 'multiparts nested 10,000 deep', nestedMultiparts(10_000)],
    ['maxMessageDepth', 'messages nested 10,000 deep', 'Content-Type: message/rfc822\r\n\r\n'.repeat(10_000)],
    ['maxParts', '100,000 parts', mixed('--b\r\n\r\nx\r\n'.repeat(100_000))],
    ['maxHeaderFields', '100,000 fields', mixed(`--b\r\n${'X: y\r\n'.repeat(100_000)}\r\n`)],
    [
      'maxHeaderBlockBytes',
      'a header block of 10 MB',
      mixed(`--b\r\n${`X: ${'y'.repeat(9_000)}\r\n`.repeat(1_100)}\r\n`),
    ],
    [
      'maxHeaderFieldBytes',
      'one folded header of 5 MB',
      mixed(`--b\r\nX: y\r\n${` ${'z'.repeat(76)}\r\n`.repeat(65_000)}`),
    ],
    ['maxHeaderFieldBytes', 'one header line of 5 MB', mixed(`--b\r\nX: ${'z'.repeat(5_000_000)}`)],
    ['maxHeaderFieldBytes', 'addresses of 400 KB', `To: ${'a:'.repeat(200_000)}\r\n\r\n`],
    ['maxHeaderFieldBytes', '50,000 continuations', mixed(`--b\r\nContent-Type: a/b${continuations(50_000)}\r\n\r\n`)],
    ['maxParameters', '5,000 continuations', mixed(`--b\r\nContent-Type: a/b${continuations(5_000)}\r\n\r\n`)],
    [
      'maxBoundaryBytes',
      'a boundary of 20,000 characters',
      mixed(`--b\r\nContent-Type: multipart/mixed; boundary=${'b'.repeat(20_000)}\r\n\r\n`),
    ],
  ];
  for (const [limit, title, mail] of cases) {
    test(`${title}: ${limit}`, () => {
      const { limit: reached, parts, last } = parse(mail);
      assert.deepEqual(reached, { limit, value: defaultMimeLimits[limit] });
      assert.equal(last?.type, 'end');
      if (mail.includes('good.pdf')) assert.equal(parts[0], '1', 'the part before the limit is whole');
    });
    test(`${title}: the same however it is cut`, () => {
      const whole = parse(mail, {}, Number.MAX_SAFE_INTEGER);
      for (const size of [997, 65_536]) assert.deepEqual(parse(mail, {}, size), whole, `pieces of ${size} bytes`);
    });
  }

  test('a mail just inside every limit reaches none', () => {
    const limits = { maxDepth: 3, maxParts: 4, maxHeaderFields: 2, maxParameters: 1, maxBoundaryBytes: 2 };
    const { limit, parts } = parse(`${nestedMultiparts(3)}\r\n--b2\r\nA: b\r\nC: d\r\n\r\nlast`.replace('deep', 'x'), {
      ...limits,
      maxParts: 5,
    });
    assert.equal(limit, null);
    assert.deepEqual(parts, ['1.1.1', '1.1.2']);
    assert.equal(parse(nestedMultiparts(4), limits).limit?.limit, 'maxDepth');
  });

  test('a limit in the header of the mail still gives its subject', () => {
    const parser = createMimeParser({ limits: { maxHeaderFieldBytes: 100 } });
    const [event] = parser.push(Buffer.from(`Subject: order\r\nX: ${'y'.repeat(20_000)}`));
    assert.ok(event?.type === 'header');
    assert.equal(event.header.subject, 'order');
    assert.equal(parser.stopped, true);
  });

  for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5' as unknown as number]) {
    test(`${JSON.stringify(value)} (${value}) is no limit`, () => {
      const isRefusal = (error: unknown): boolean => error instanceof MimeError && error.code === 'invalid-limit';
      assert.throws(() => createMimeParser({ limits: { maxParts: value } }), isRefusal);
    });
  }

  test('an ended parser refuses more', () => {
    const parser = createMimeParser();
    parser.end();
    const isRefusal = (error: unknown): boolean => error instanceof MimeError && error.code === 'parser-ended';
    assert.throws(() => parser.push(Buffer.from('x')), isRefusal);
    assert.throws(() => parser.end(), isRefusal);
  });
});

function continuations(count: number): string {
  return Array.from({ length: count }, (_, i) => `;\r\n n*${i}*=a%20`).join('');
}

describe('time is linear in the bytes', () => {
  const mails: [string, (size: number) => string, number][] = [
    ...Object.entries(costlyBodies).map(([title, make]): [string, (size: number) => string, number] => [
      title,
      make,
      400_000,
    ]),
    ...Object.entries(costlyFields).map(([title, make]): [string, (size: number) => string, number] => [
      title,
      (size) => `${make(size)}\r\n\r\n`,
      50_000,
    ]),
  ];
  for (const [title, make, size] of mails) {
    test(title, () => {
      const [small, large] = [Buffer.from(make(size)), Buffer.from(make(size * 4))];
      // Quadratic would be sixteen times; the best of several runs, since others use the machine too.
      const growth = () => best(large, 3) / Math.max(best(small, 5), 1);
      const factors: number[] = [];
      while (factors.length < 10 && (factors.at(-1) ?? 99) > 9) factors.push(growth());
      assert.ok((factors.at(-1) ?? 99) <= 9, `four times the bytes take ${factors.join(', ')} times as long`);
    });
  }
});

/** Milliseconds; the header alone is read as well, as the intake does. */
function best(mail: Buffer, runs: number): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    parse(mail);
    readMailHeader(mail);
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}

describe('memory is bounded', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const held = (): number => {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const allowedBytes = 8 * 1024 * 1024;

  const encodedLine = `${'QUJD'.repeat(19)}\r\n`;
  const flows: Readonly<Record<string, readonly [head: string, chunk: string]>> = {
    'a 200 MB attachment in base64': ['Content-Transfer-Encoding: base64\r\n\r\n', encodedLine.repeat(840)],
    'a 200 MB attachment in quoted-printable': [
      'Content-Transfer-Encoding: quoted-printable\r\n\r\n',
      'gr=C3=BC=C3=9Fe \r\n'.repeat(3_600),
    ],
    'a 200 MB line': ['Content-Transfer-Encoding: 8bit\r\n\r\n', 'x'.repeat(65_536)],
    '200 MB of white space in quoted-printable': [
      'Content-Transfer-Encoding: quoted-printable\r\n\r\n',
      ' '.repeat(65_536),
    ],
    '200 MB of a line that begins like a delimiter': ['Content-Transfer-Encoding: 8bit\r\n\r\n--b', 'b'.repeat(65_536)],
    '200 MB of uuencode in one line': [
      'Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\nM',
      'M'.repeat(65_536),
    ],
    '200 MB in a message in a message': [
      'Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n\r\n',
      'x\r\n'.repeat(21_000),
    ],
  };
  for (const [title, [head, text]] of Object.entries(flows)) {
    test(title, () => {
      const chunk = Buffer.from(text);
      const parser = createMimeParser();
      parser.push(Buffer.from(mixed(`--b\r\n${head}`)));
      const before = held();
      let most = 0;
      let given = 0;
      const rounds = Math.ceil(200e6 / chunk.length);
      for (let i = 0; i < rounds; i++) {
        for (const event of parser.push(chunk)) if (event.type === 'part-data') given += event.bytes.length;
        if (i % 100 === 0) most = Math.max(most, held() - before);
      }
      parser.end();
      assert.ok(given > 0 || title.includes('uuencode'), 'bytes came out while it flowed');
      assert.ok(most < allowedBytes, `${most} bytes held`);
    });
  }
});
