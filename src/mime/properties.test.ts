/** What holds for every mail: trees come back as they were composed, cutting changes nothing, nothing is thrown. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createMimeParser, readMailHeader } from './index.ts';
import { traceMail } from './mail-record.ts';

interface LeafNode {
  readonly kind: 'leaf';
  readonly encoding: 'base64' | 'quoted-printable' | '8bit';
  readonly name: string;
  readonly bytes: Uint8Array;
}

interface MultipartNode {
  readonly kind: 'multipart';
  readonly children: readonly TreeNode[];
  readonly preamble: string;
}

interface MessageNode {
  readonly kind: 'message';
  readonly encoded: boolean;
  readonly inner: TreeNode;
}

type TreeNode = LeafNode | MultipartNode | MessageNode;

const leaf: fc.Arbitrary<TreeNode> = fc
  .record({
    kind: fc.constant('leaf' as const),
    encoding: fc.constantFrom('base64' as const, 'quoted-printable' as const, '8bit' as const),
    name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((name) => name.trim() !== ''),
    bytes: fc.uint8Array({ maxLength: 300 }),
  })
  // A CR right before a delimiter that follows a bare LF cannot be told from half of a CRLF.
  .filter(({ encoding, bytes }) => encoding !== '8bit' || bytes.at(-1) !== 13);

const { tree } = fc.letrec<{ tree: TreeNode }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constant('multipart' as const),
      children: fc.array(tie('tree'), { minLength: 1, maxLength: 4 }),
      preamble: fc.constantFrom('', 'preamble\r\n', '--\r\n', '--b\r\n'),
    }),
    fc.record({ kind: fc.constant('message' as const), encoded: fc.boolean(), inner: tie('tree') }),
  ),
}));

/** Each multipart gets a boundary of its own that begins like all the others and that no content can have. */
function compose(node: TreeNode, counter: { next: number }, lineEnd: string): Buffer {
  if (node.kind === 'leaf') return composeLeaf(node, lineEnd);
  if (node.kind === 'message') {
    const inner = compose(node.inner, counter, lineEnd);
    const head = `Content-Type: message/rfc822${lineEnd}`;
    if (!node.encoded) return Buffer.concat([Buffer.from(`${head}${lineEnd}`), inner]);
    return Buffer.from(`${head}Content-Transfer-Encoding: base64${lineEnd}${lineEnd}${toBase64(inner, lineEnd)}`);
  }
  const boundary = `${'='.repeat(counter.next % 3)}boundary?${'x'.repeat(counter.next++)}`;
  const pieces: Buffer[] = [
    Buffer.from(`Content-Type: multipart/mixed; boundary="${boundary}"${lineEnd}${lineEnd}${node.preamble}`),
  ];
  for (const child of node.children) {
    pieces.push(Buffer.from(`--${boundary}${lineEnd}`), compose(child, counter, lineEnd), Buffer.from(lineEnd));
  }
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--`)]);
}

function composeLeaf(node: LeafNode, lineEnd: string): Buffer {
  const name = `name*=utf-8''${[...Buffer.from(node.name)].map((byte) => `%${hex(byte)}`).join('')}`;
  const head = `Content-Type: application/x-test; ${name}${lineEnd}Content-Transfer-Encoding: ${node.encoding}${lineEnd}${lineEnd}`;
  return Buffer.concat([Buffer.from(head), encode(node, lineEnd)]);
}

function encode(node: LeafNode, lineEnd: string): Buffer {
  if (node.encoding === '8bit') return Buffer.from(node.bytes);
  if (node.encoding === 'base64') return Buffer.from(toBase64(Buffer.from(node.bytes), lineEnd));
  const coded = [...node.bytes].map((byte, i) => {
    const plain = byte > 32 && byte < 127 && byte !== 61;
    return `${plain ? String.fromCharCode(byte) : `=${hex(byte)}`}${i % 20 === 19 ? `=${lineEnd}` : ''}`;
  });
  return Buffer.from(coded.join(''));
}

function toBase64(bytes: Buffer, lineEnd: string): string {
  return bytes.toString('base64').replace(/.{76}/g, `$&${lineEnd}`);
}

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}

function leavesOf(node: TreeNode): readonly (readonly [string, string])[] {
  if (node.kind === 'leaf') return [[node.name, Buffer.from(node.bytes).toString('hex')]];
  return node.kind === 'message' ? leavesOf(node.inner) : node.children.flatMap(leavesOf);
}

function readLeaves(mail: Buffer, sliceBytes: number): readonly (readonly [string, string])[] {
  const parser = createMimeParser();
  const found: { path: string; name: string; pieces: Buffer[] }[] = [];
  const take = (events: ReturnType<typeof parser.push>): void => {
    for (const event of events) {
      assert.notEqual(event.type, 'limit');
      if (event.type === 'part-begin' && event.part.header.mediaType === 'application/x-test') {
        found.push({ path: event.part.path, name: event.part.header.fileName ?? '', pieces: [] });
      } else if (event.type === 'part-data') {
        found.find(({ path }) => path === event.path)?.pieces.push(Buffer.from(event.bytes));
      }
    }
  };
  for (let i = 0; i < mail.length; i += sliceBytes) take(parser.push(mail.subarray(i, i + sliceBytes)));
  take(parser.end());
  return found.map(({ name, pieces }) => [name, Buffer.concat(pieces).toString('hex')]);
}

describe('properties', () => {
  test('a composed tree comes back part by part', () => {
    fc.assert(
      fc.property(
        tree,
        fc.constantFrom('\r\n', '\n'),
        fc.integer({ min: 1, max: 400 }),
        (node, lineEnd, sliceBytes) => {
          const mail = Buffer.concat([Buffer.from(`Subject: tree${lineEnd}`), compose(node, { next: 0 }, lineEnd)]);
          assert.deepEqual(readLeaves(mail, sliceBytes), leavesOf(node));
        },
      ),
      { numRuns: 500 },
    );
  });

  /** Text of the kind that mails are made of, in any order. */
  const mailish = fc
    .array(
      fc.oneof(
        fc.constantFrom(
          '\r\n',
          '\n',
          '\r',
          '\r\n\r\n',
          '--b',
          '--b--',
          '--bb',
          '--',
          ' ',
          '\t',
          ':',
          ';',
          '=',
          '"',
          '<',
          '>',
          '(',
          '\\',
          '\0',
          '=?',
          '?=',
          'Content-Type: multipart/mixed; boundary=b\r\n',
          'Content-Type: multipart/digest; boundary="bb"\r\n',
          'Content-Type: message/rfc822\r\n',
          'Content-Transfer-Encoding: base64\r\n',
          'Content-Transfer-Encoding: quoted-printable\r\n',
          'Content-Transfer-Encoding: x-uuencode\r\n',
          'begin 644 a\r\n',
          'Content-Disposition: attachment; filename',
          '*0*=',
          "utf-8''",
          '=?utf-8?B?w7w=?=',
          '=?constructor?Q?a?=',
          '=C3',
          'QUJD',
          'From ',
          'name=',
          'charset=__proto__',
          'Date: 1 Jan',
          '\u00e4',
        ),
        fc.string({ maxLength: 5 }),
      ),
      { maxLength: 60 },
    )
    .map((pieces) => Buffer.from(pieces.join(''), 'latin1'));

  test('any cutting gives the same events, and nothing is thrown', () => {
    fc.assert(
      fc.property(mailish, fc.array(fc.nat(200), { maxLength: 20 }), (mail, positions) => {
        const whole = traceMail(mail, []);
        const cuts = [...new Set(positions.map((position) => position % (mail.length + 1)))].sort((a, b) => a - b);
        assert.equal(traceMail(mail, cuts), whole);
        assert.equal(traceMail(mail, mail.keys()), whole);
        readMailHeader(mail);
      }),
      { numRuns: 2_000 },
    );
  });

  /** Whole lines, with the ways in which structures are bent, and fillers that cross what is held of a body. */
  const bent = fc
    .array(
      fc.constantFrom(
        '\r\n',
        '\n',
        ' \r\n',
        'Subject: x\r\n',
        'Content-Type: multipart/mixed\r\n',
        'Content-Type: multipart/mixed; boundary=b\r\n',
        'Content-Type: multipart/x-zip; name=a.zip; boundary=never\r\n',
        'Content-Type: text/plain; boundary=b\r\n',
        'Content-Type: ; boundary=b\r\n',
        'Content-Type: message/rfc822\r\n',
        ' Content-Type: application/pdf\r\n',
        'Content-Transfer-Encoding: base64\r\n',
        'Content-Disposition: attachment; filename="a\r\n',
        'b.pdf"\r\n',
        '--b\r\n',
        '--b--\r\n',
        ' --b\r\n',
        '--c\r\n',
        '\t--c--\r\n',
        'QUJD--b\r\n',
        'QUJDRA==\r\n',
        'JVBERi0xLjQKMSAwIG9iago8PC9UeXBlL0NhdGFsb2c+PgplbmRvYmoKJSVFT0YK\r\n',
        'data:application/pdf;base64,JVBE',
        '+OK 12 octets\r\n',
        'From x@y Mon\r\n',
        'text, and more; text: "x"\r\n',
        `${'x'.repeat(9_000)}\r\n`,
        'filler of forty characters and line end\r\n'.repeat(1_700),
        `--${'-'.repeat(9_500)}`,
      ),
      { maxLength: 25 },
    )
    .map((lines) => Buffer.from(lines.join(''), 'latin1'));

  test('any cutting of a bent mail gives the same events', () => {
    fc.assert(
      fc.property(
        bent,
        fc.array(fc.nat(200_000), { maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        (mail, at, size) => {
          const whole = traceMail(mail, []);
          const cuts = [...new Set(at.map((position) => position % (mail.length + 1)))].sort((a, b) => a - b);
          assert.equal(traceMail(mail, cuts), whole);
          const every = mail.length < 5_000 ? 1 : size * 1_000 + 1;
          assert.equal(
            traceMail(
              mail,
              Array.from({ length: Math.ceil(mail.length / every) }, (_, i) => i * every),
            ),
            whole,
          );
        },
      ),
      { numRuns: 1_500 },
    );
  });

  test('no bytes make it throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
        traceMail(Buffer.from(bytes), []);
        readMailHeader(bytes);
      }),
      { numRuns: 300 },
    );
  });
});
