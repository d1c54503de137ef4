import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BodyDecoder } from './body.ts';
import { splitAt, splitRandomly, stuff } from './testing/segments.ts';

interface Decoded {
  readonly stored: string;
  readonly ended: boolean;
  /** Wire bytes that belong to the mail, terminator included. */
  readonly used: number;
}

function decode(segments: readonly Buffer[]): Decoded {
  const decoder = new BodyDecoder();
  const pieces: Buffer[] = [];
  let used = 0;
  for (const segment of segments) {
    if (decoder.ended) break;
    // A copy: the decoder may write into what it is given.
    used += decoder.push(Buffer.from(segment), (piece) => pieces.push(piece));
  }
  return { stored: Buffer.concat(pieces).toString('latin1'), ended: decoder.ended, used };
}

/** RFC 5321 §4.5.2 in the most literal way, as the oracle. */
function decodeLiterally(wire: string): Decoded {
  let stored = '';
  let index = 0;
  for (let lineStart = true; index < wire.length; ) {
    if (lineStart && wire.startsWith('.\r\n', index)) return { stored, ended: true, used: index + 3 };
    if (lineStart && wire[index] === '.') index++;
    const end = wire.indexOf('\r\n', index);
    const next = end === -1 ? wire.length : end + 2;
    stored += wire.slice(index, next);
    index = next;
    lineStart = end !== -1;
  }
  return { stored, ended: false, used: wire.length };
}

test('ordinary mails come out as they went in', () => {
  for (const mail of ['', 'a\r\n', '.\r\n', '..\r\n', '.a\r\n..b\r\n\r\n.\r\n', 'Subject: x\r\n\r\nhello\r\n']) {
    assert.deepEqual(decode([stuff(Buffer.from(mail))]), {
      stored: mail,
      ended: true,
      used: stuff(Buffer.from(mail)).length,
    });
  }
});

test('a small mail with every kind of dot, split at every two places', () => {
  const mail = Buffer.from('.\r\n..\r\n.a\r\n\r\r\n.\n.\r\n\n.\n\r.\r.\r\n\0.\r\nx');
  const wire = Buffer.concat([stuff(Buffer.concat([mail, Buffer.from('\r\n')])), Buffer.from('NOOP\r\n')]);
  const expected = decode([wire]);
  assert.deepEqual(expected.stored, `${mail.toString('latin1')}\r\n`);
  for (let first = 0; first <= wire.length; first++)
    for (let second = first; second <= wire.length; second++)
      assert.deepEqual(decode(splitAt(wire, [first, second])), expected, `${first}, ${second}`);
});

test('stored = sent for arbitrary bytes in arbitrary segments', () => {
  // Mostly the bytes that matter, so that every combination of them comes up.
  const byte = fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(13, 10, 46, 46, 0, 65) },
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(
      fc.array(byte, { maxLength: 300, size: 'max' }),
      fc.array(fc.nat(400), { maxLength: 8 }),
      (bytes, cuts) => {
        const mail = Buffer.concat([Buffer.from(bytes), Buffer.from('\r\n')]);
        const wire = stuff(mail);
        assert.deepEqual(decode(splitAt(wire, cuts)), {
          stored: mail.toString('latin1'),
          ended: true,
          used: wire.length,
        });
      },
    ),
    { numRuns: 3_000 },
  );
});

test('whatever a client sends is read as RFC 5321 reads it, also when it is not stuffed', () => {
  const words = fc.constantFrom('\r\n', '.', '\r', '\n', '\r\n.', '.\r', 'a', '\0', 'x'.repeat(100), '\r\n.\r\n');
  fc.assert(
    fc.property(
      fc.array(words, { maxLength: 60, size: 'max' }),
      fc.array(fc.nat(800), { maxLength: 6 }),
      (parts, cuts) => {
        const wire = Buffer.from(parts.join(''));
        const got = decode(splitAt(wire, cuts));
        const expected = decodeLiterally(wire.toString('latin1'));
        if (expected.ended) return assert.deepEqual(got, expected);
        // Unended, the last dot or dot CR is withheld; all before it must be the same.
        assert.equal(got.ended, false);
        assert.ok(expected.stored.startsWith(got.stored) && expected.stored.length - got.stored.length <= 2);
      },
    ),
    { numRuns: 3_000 },
  );
});

const smugglingTerminators = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\n.\r',
  '\r.\n',
  '\r\n\0.\r\n',
];

test('SMTP smuggling: none of nine near-terminators ends the mail, however it is cut', () => {
  for (const terminator of smugglingTerminators) {
    const mail = Buffer.from(`a${terminator}MAIL FROM:<evil@example.com>\r\nb\r\n`);
    const wire = Buffer.concat([mail, Buffer.from('.\r\n')]);
    const name = JSON.stringify(terminator);
    const expected = decodeLiterally(wire.toString('latin1'));
    assert.equal(expected.used, wire.length, name);
    assert.deepEqual(decode([wire]), expected, name);
    assert.deepEqual(decode(splitAt(wire, [...wire.keys()])), expected, name);
    for (let seed = 0; seed < 50; seed++) assert.deepEqual(decode(splitRandomly(wire, seed)), expected, name);
    // Only what stands behind a real CRLF loses its dot.
    const stuffed = terminator.startsWith('\r\n.') ? mail.toString().replace('\r\n.', '\r\n') : mail.toString();
    assert.equal(expected.stored, stuffed, name);
  }
});

test('dot flood: one piece per chunk comes out, without a copy of the chunk', () => {
  const flood = Buffer.from('..\r\n'.repeat(16_384));
  const decoder = new BodyDecoder();
  const pieces: Buffer[] = [];
  for (let count = 0; count < 8; count++) {
    const chunk = Buffer.from(flood);
    decoder.push(chunk, (piece) => {
      assert.equal(piece.buffer, chunk.buffer);
      pieces.push(piece);
    });
  }
  assert.equal(pieces.length, 8);
  assert.equal(Buffer.concat(pieces).toString(), '.\r\n'.repeat(8 * 16_384));
});
