import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countFields } from './index.ts';

const count = (block: string) => countFields(Buffer.from(block, 'latin1'), 'received');

test('fields of the name are counted, in any case, with blanks before the colon, and nothing else is', () => {
  assert.equal(count(''), 0);
  assert.equal(count('Received: a'), 1);
  assert.equal(count('Received: a\r\nRECEIVED:b\nreceived \t: c\r\nSubject: x\r\n'), 3);
  assert.equal(count('Received: a\r\n Received: folded\r\n\tReceived: folded\r\n'), 1);
  assert.equal(
    count('X-Received: a\r\nReceived-SPF: b\r\nReceived\r\nReceive: c\r\nSubject: Received: d\r\nReceived'),
    0,
  );
});

test('a view into a larger buffer is counted by itself', () => {
  const whole = Buffer.from('Received: a\r\nReceived: b\r\nReceived: c\r\n');
  assert.equal(countFields(new Uint8Array(whole.buffer, whole.byteOffset + 13, 13), 'received'), 1);
});

test('a megabyte of anything is counted in linear time', () => {
  for (const piece of ['received ', '\n', 'Received:\n', 'received\n', ' ']) {
    const begun = performance.now();
    count(piece.repeat(1_048_576 / piece.length));
    assert.ok(performance.now() - begun < 1_000, JSON.stringify(piece));
  }
});
