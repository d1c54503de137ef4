import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storableJson, storableText } from './text.ts';

test('JSON has no NUL and no lone surrogate, and everything else as it was', () => {
  for (const text of [
    'plain',
    'a\0b',
    '\ud83d',
    '\udc68x',
    '\ud83d\ude00',
    '\\u0000',
    '\\\\u0000',
    '\\\0',
    '\\ud800\\',
    '"\n\u0001\u2028\ud800"',
    '\\"\0\\',
  ]) {
    const read = JSON.parse(storableJson([{ [text]: text, other: null, count: 1 }]) ?? '');
    assert.deepEqual(read, [{ [storableText(text)]: storableText(text), other: null, count: 1 }], JSON.stringify(text));
  }
  assert.deepEqual([storableJson(null), storableJson(undefined)], [null, null]);
});
