import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { comparePartPaths } from './part-order.ts';

const IN_ORDER = [
  '',
  '1',
  '1.1',
  '2',
  '2.m',
  '2.m.1',
  '2.m.1.2',
  '2.m.10',
  '3',
  '3.2',
  '3.10',
  '10',
  '10.m.3.m.1',
  '11',
];

describe('the order of parts', () => {
  it('is by numbers, a part before what is inside it', () => {
    assert.deepEqual([...IN_ORDER].reverse().sort(comparePartPaths), IN_ORDER);
  });

  it('is the same from both sides, for every pair', () => {
    for (const [i, a] of IN_ORDER.entries()) {
      for (const [j, b] of IN_ORDER.entries()) {
        assert.equal(Math.sign(comparePartPaths(a, b)), Math.sign(i - j), `${a} and ${b}`);
      }
    }
  });
});
