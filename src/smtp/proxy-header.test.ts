import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ProxyHeader, parseProxyHeader } from './proxy-header.ts';

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

function binary(versionAndCommand: number, family: number, block: Buffer, announced = block.length): Buffer {
  const fixed = Buffer.from([versionAndCommand, family, announced >> 8, announced & 0xff]);
  return Buffer.concat([signature, fixed, block]);
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const tcp4 = hex('c0000201 c6336401 dc04 0019');
const tcp6 = hex('20010db8000000000000000000000001 20010db8000000000000000000000002 dc04 0019');
const mapped = hex('00000000000000000000ffffc0000201 00000000000000000000ffffc6336401 dc04 0019');

const usable: readonly (readonly [string, string | Buffer, string | null])[] = [
  ['version 1, TCP4', 'PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n', '192.0.2.1 56324'],
  ['version 1, TCP6', 'PROXY TCP6 2001:DB8::0:1 2001:db8::2 56324 25\r\n', '2001:db8::1 56324'],
  ['version 1, an IPv4 client seen as IPv6', 'PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6401 1 25\r\n', '192.0.2.1 1'],
  ['version 1, the same in hexadecimal', 'PROXY TCP6 ::ffff:c000:201 ::1 65535 0\r\n', '192.0.2.1 65535'],
  ['version 1, UNKNOWN', 'PROXY UNKNOWN\r\n', null],
  ['version 1, UNKNOWN with what nobody reads', `PROXY UNKNOWN ${'f'.repeat(91)}\r\n`, null],
  ['version 2, TCP4', binary(0x21, 0x11, tcp4), '192.0.2.1 56324'],
  ['version 2, TCP6', binary(0x21, 0x21, tcp6), '2001:db8::1 56324'],
  ['version 2, an IPv4 client seen as IPv6', binary(0x21, 0x21, mapped), '192.0.2.1 56324'],
  [
    'version 2, TCP4 with more behind it',
    binary(0x21, 0x11, Buffer.concat([tcp4, Buffer.alloc(4_000)])),
    '192.0.2.1 56324',
  ],
  ['version 2, LOCAL', binary(0x20, 0, Buffer.alloc(0)), null],
  ['version 2, LOCAL with a family, which does not count', binary(0x20, 0x11, Buffer.alloc(3)), null],
  ['version 2, unspecified', binary(0x21, 0, Buffer.alloc(7)), null],
  ['version 2, UNIX stream', binary(0x21, 0x31, Buffer.alloc(216)), null],
];

const text = ({ kind, ...rest }: ProxyHeader): string | null => {
  assert.equal(kind, 'complete');
  const { client } = rest as { client: { address: string; port: number } | null };
  return client === null ? null : `${client.address} ${client.port}`;
};

for (const [name, header, expected] of usable) {
  test(`${name}: whole, and byte by byte with a command behind it`, () => {
    const bytes = Buffer.from(header as string, 'latin1');
    const wire = Buffer.concat([bytes, Buffer.from('EHLO x\r\n')]);
    for (let length = 0; length <= wire.length; length++) {
      const parsed = parseProxyHeader(wire.subarray(0, length));
      if (length < bytes.length) assert.deepEqual(parsed, { kind: 'incomplete' }, `${length} bytes`);
      else {
        assert.equal(text(parsed), expected);
        assert.equal(parsed.kind === 'complete' && parsed.headerBytes, bytes.length);
      }
    }
  });
}

const refused: readonly (readonly [string | Buffer, string])[] = [
  ['E', 'no-header'],
  ['PROXYTCP4', 'no-header'],
  ['proxy TCP4 192.0.2.1 198.51.100.1 56324 25\r\n', 'no-header'],
  ['\r\n\r\nEHLO', 'no-header'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\n', 'malformed'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\rX', 'malformed'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 \r\n', 'malformed'],
  ['PROXY TCP4  192.0.2.1 198.51.100.1 56324 25\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.1\t198.51.100.1 56324 25\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.256 198.51.100.1 56324 25\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.01 198.51.100.1 56324 25\r\n', 'malformed'],
  ['PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n', 'malformed'],
  ['PROXY TCP6 192.0.2.1 198.51.100.1 56324 25\r\n', 'malformed'],
  ['PROXY TCP6 fe80::1%eth0 fe80::2 56324 25\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 025 25\r\n', 'malformed'],
  ['PROXY TCP4 192.0.2.1 198.51.100.1 -1 25\r\n', 'malformed'],
  ['PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n', 'malformed'],
  ['PROXY UNKNOWNX\r\n', 'malformed'],
  ['PROXY \r\n', 'malformed'],
  [`PROXY UNKNOWN ${'f'.repeat(92)}\r\n`, 'too-long'],
  [`PROXY ${'T'.repeat(101)}`, 'too-long'],
  [binary(0x11, 0x11, tcp4), 'unsupported'],
  [binary(0x31, 0x11, tcp4), 'unsupported'],
  [binary(0x22, 0x11, tcp4), 'unsupported'],
  [binary(0x21, 0x12, tcp4), 'unsupported'],
  [binary(0x21, 0x10, tcp4), 'unsupported'],
  [binary(0x21, 0x41, tcp4), 'unsupported'],
  [binary(0x21, 0x11, tcp4.subarray(1)), 'malformed'],
  [binary(0x21, 0x21, tcp6.subarray(1)), 'malformed'],
  [binary(0x21, 0x31, Buffer.alloc(215)), 'malformed'],
  [binary(0x21, 0x11, Buffer.alloc(0), 65_535), 'too-long'],
];

test('what is no header, or a wrong one, is refused as soon as it shows', () => {
  for (const [header, reason] of refused) {
    const bytes = Buffer.from(header as string, 'latin1');
    assert.deepEqual(parseProxyHeader(bytes), { kind: 'refused', reason }, JSON.stringify(bytes.toString('latin1')));
  }
});

test('any bytes: never an error, never endless, and never a client whose address is none', () => {
  const beginning = fc.constantFrom(
    '',
    'PROXY ',
    'PROXY TCP4 ',
    'PROXY TCP6 ::',
    'PROXY UNKNOWN',
    signature.toString('latin1'),
  );
  fc.assert(
    fc.property(beginning, fc.uint8Array({ maxLength: 400 }), (start, rest) => {
      const bytes = Buffer.concat([Buffer.from(start, 'latin1'), rest]);
      const parsed = parseProxyHeader(bytes);
      if (parsed.kind === 'incomplete') assert.ok(bytes.length < 16 + 4_096);
      if (parsed.kind !== 'complete') return;
      assert.ok(parsed.headerBytes <= bytes.length);
      if (parsed.client !== null) assert.ok(isIP(parsed.client.address) !== 0 && parsed.client.port <= 65_535);
    }),
    { numRuns: 2_000 },
  );
});

test('any split: as long as bytes are missing it waits, and what was decided stays decided', () => {
  const address4 = fc.ipV4();
  const address6 = fc.ipV6();
  const port = fc.integer({ min: 0, max: 65_535 });
  const header = fc.oneof(
    fc.tuple(address4, address4, port, port).map(([a, b, c, d]) => `PROXY TCP4 ${a} ${b} ${c} ${d}\r\n`),
    fc.tuple(address6, address6, port, port).map(([a, b, c, d]) => `PROXY TCP6 ${a} ${b} ${c} ${d}\r\n`),
    fc
      .uint8Array({ minLength: 12, maxLength: 300 })
      .map((block) => binary(0x21, 0x11, Buffer.from(block)).toString('latin1')),
    fc
      .uint8Array({ minLength: 36, maxLength: 300 })
      .map((block) => binary(0x21, 0x21, Buffer.from(block)).toString('latin1')),
  );
  fc.assert(
    fc.property(header, fc.nat(), (written, at) => {
      const bytes = Buffer.from(written, 'latin1');
      const whole = parseProxyHeader(bytes);
      assert.equal(whole.kind, 'complete');
      assert.equal(parseProxyHeader(bytes.subarray(0, at % bytes.length)).kind, 'incomplete');
      assert.deepEqual(parseProxyHeader(Buffer.concat([bytes, Buffer.from('\0PROXY')])), whole);
    }),
    { numRuns: 1_000 },
  );
});
