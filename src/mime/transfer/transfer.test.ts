/** The decoders against slow readings of the whole text, which say in a line or two what is right. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { DefectCode } from '../types.ts';
import { createArena } from './decoder.ts';
import { createTransferDecoder } from './index.ts';

function decode(encoding: string, text: string, cuts: readonly number[] = []): { bytes: Buffer; defects: string[] } {
  const arena = createArena();
  const defects = new Set<DefectCode>();
  const decoder = createTransferDecoder(encoding, { arena, defects });
  const encoded = Buffer.from(text, 'latin1');
  const out: Buffer[] = [];
  let from = 0;
  for (const to of [...cuts.map((cut) => Math.min(cut, encoded.length)), encoded.length]) {
    arena.reset();
    if (to >= from) out.push(Buffer.from(decoder.write(Buffer.from(encoded.subarray(from, to)))));
    from = Math.max(from, to);
  }
  arena.reset();
  out.push(Buffer.from(decoder.end()));
  return { bytes: Buffer.concat(out), defects: [...defects].sort() };
}

/**
 * RFC 2045 §6.8: what is not in the alphabet is ignored, padding ends the data, a lone character says nothing. Behind
 * padding another piece begins where the next line is base64 alone, and long or padded itself.
 */
function slowBase64(text: string): Buffer {
  const standard = text.replace(/(?<=[A-Za-z0-9+/][-_]{0,99})[-_]/g, (mark) => (mark === '-' ? '+' : '/'));
  const at = standard.indexOf('=');
  const kept = (at < 0 ? standard : standard.slice(0, at)).replace(/[^A-Za-z0-9+/]/g, '');
  const first = Buffer.from(kept.length % 4 === 1 ? kept.slice(0, -1) : kept, 'base64');
  const rest = at < 0 ? '' : text.slice(at).replace(/^[\s=]+/, '');
  const line = (rest.split('\n', 1)[0] ?? '').trimEnd();
  const isPiece = line.length % 4 === 0 && /^([A-Za-z0-9+/]+={1,2}|[A-Za-z0-9+/]{32,})$/.test(line);
  return isPiece ? Buffer.concat([first, slowBase64(rest)]) : first;
}

/** RFC 2045 §6.7, with escapes that are none left as they are. */
function slowQuotedPrintable(text: string): Buffer {
  const token = /=(?:([0-9A-Fa-f]{2})|[ \t]*(?:\r?\n|$(?![\s\S])))|[ \t]+(?=\r?\n|$(?![\s\S]))/g;
  const plain = text.replace(token, (_, digits?: string) =>
    digits === undefined ? '' : String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(plain, 'latin1');
}

function pieces(...from: string[]): fc.Arbitrary<string> {
  return fc.array(fc.constantFrom(...from), { maxLength: 40 }).map((array) => array.join(''));
}

const cuts = fc.array(fc.nat(100), { maxLength: 30 }).map((positions) => positions.sort((a, b) => a - b));
const everyByte = Array.from({ length: 300 }, (_, i) => i);

describe('base64', () => {
  const texts = pieces('QUJD', 'Q', 'UU', '\r\n', ' ', '\t', '=', '==', '*', '-', '_', '\f', '\0', '\xe4', 'AAAAAAAA');

  test('reads like the slow reading, however it is cut', () => {
    fc.assert(
      fc.property(texts, cuts, (text, at) => {
        const whole = decode('base64', text);
        assert.deepEqual(whole.bytes, slowBase64(text));
        assert.deepEqual(decode('base64', text, at), whole);
        assert.deepEqual(decode('base64', text, everyByte), whole);
      }),
      { numRuns: 2_000 },
    );
  });

  for (const [title, text, defects] of [
    ['clean', 'QUJDRA==\r\n', []],
    ['unpadded', 'QUJDRA', ['base64-cut']],
    ['with one character left over', 'QUJDR', ['base64-cut']],
    ['with junk', 'QU*JD', ['base64-junk']],
    ['that goes on after its padding', 'QQ==QUJD', ['base64-after-padding']],
    ['that goes on in another padded piece', 'QQ==\r\nQkI=', ['base64-in-pieces']],
    ['that goes on in a long line', `QQ==\r\n${'QkJC'.repeat(10)}`, ['base64-in-pieces']],
    ['with a word behind it', 'QQ==\r\nRegards1\r\n', ['base64-after-padding']],
    ['in the alphabet of URLs', 'QU-_', ['base64-url-alphabet']],
    ['with a rule of underlines', 'QUJD\r\n____\r\n', ['base64-junk']],
    ['with junk after its padding', 'QQ==\r\n**', []],
  ] as const) {
    test(`${title} has the defects [${defects}]`, () => {
      assert.deepEqual(decode('base64', text).defects, defects);
      assert.deepEqual(decode('base64', text, everyByte).defects, defects);
    });
  }
});

describe('quoted-printable', () => {
  const texts = pieces(
    'a',
    '=',
    '=C3',
    '=bc',
    '=4',
    '=zz',
    ' ',
    '\t',
    '\r\n',
    '\n',
    '\r',
    '=\r\n',
    '= \r\n',
    'x y',
    '=20',
    '=\r',
    '\0',
    '\xff',
  );

  test('reads like the slow reading, however it is cut', () => {
    fc.assert(
      fc.property(texts, cuts, (text, at) => {
        const whole = decode('quoted-printable', text);
        assert.deepEqual(whole.bytes, slowQuotedPrintable(text));
        assert.deepEqual(decode('quoted-printable', text, at), whole);
        assert.deepEqual(decode('quoted-printable', text, everyByte), whole);
      }),
      { numRuns: 3_000 },
    );
  });

  test('white space of 20,000 bytes before a line end is text, however it is cut', () => {
    const text = `a${' '.repeat(20_000)}\r\nb`;
    const whole = decode('quoted-printable', text);
    assert.equal(whole.bytes.length, text.length);
    for (const size of [1, 4_096, 16_384, 19_999]) {
      const at = Array.from({ length: Math.floor(text.length / size) }, (_, i) => (i + 1) * size);
      assert.deepEqual(decode('quoted-printable', text, at), whole);
    }
  });
});

describe('uuencode', () => {
  function encodeLine(bytes: Buffer): string {
    let line = String.fromCharCode(32 + bytes.length);
    for (let i = 0; i < bytes.length; i += 3) {
      const group = ((bytes[i] ?? 0) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
      for (const shift of [18, 12, 6, 0]) line += String.fromCharCode(((group >> shift) & 63) + 32);
    }
    return line;
  }

  function encode(bytes: Buffer, lineEnd: string): string {
    const lines = Array.from({ length: Math.ceil(bytes.length / 45) }, (_, i) =>
      encodeLine(bytes.subarray(i * 45, i * 45 + 45)),
    );
    return ['some words before it', 'begin 644 order.pdf', ...lines, '`', 'end', '#0V%T', 'more words', ''].join(
      lineEnd,
    );
  }

  test('gives back what was encoded, however it is cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('\n', '\r\n'), cuts, (bytes, lineEnd, at) => {
        const text = encode(Buffer.from(bytes), lineEnd);
        assert.deepEqual(decode('x-uuencode', text), { bytes: Buffer.from(bytes), defects: [] });
        assert.deepEqual(decode('x-uuencode', text, at).bytes, Buffer.from(bytes));
        assert.deepEqual(decode('x-uuencode', text, everyByte).bytes, Buffer.from(bytes));
        // Mailers strip blanks at line ends; they count as what they were.
        assert.deepEqual(decode('uuencode', text.replace(/ +(?=\r?\n)/g, '')).bytes, Buffer.from(bytes));
      }),
    );
  });

  test('its base64 sister', () => {
    const text = 'begin-base64 644 x\r\nQUJD\r\nREVG\r\n====\r\nQUJD';
    assert.deepEqual(decode('x-uue', text), { bytes: Buffer.from('ABCDEF'), defects: [] });
  });

  test('without a begin line the bytes stay as they are', () => {
    for (const text of ['no begin\r\nline', 'x'.repeat(20_000)]) {
      assert.deepEqual(decode('x-uuencode', text), { bytes: Buffer.from(text), defects: ['uuencode-without-begin'] });
    }
  });

  test('without an end line, and with a broken line', () => {
    assert.deepEqual(decode('uue', 'begin 644 x\n#0V%T\n'), {
      bytes: Buffer.from('Cat'),
      defects: ['uuencode-without-end'],
    });
    const broken = decode('uue', 'begin 644 x\n#\xff\xff\n#0V%T\nend\n');
    assert.deepEqual(broken, { bytes: Buffer.from('Cat'), defects: ['uuencode-malformed'] });
  });
});
