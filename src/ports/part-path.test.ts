import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparePartPaths } from './part-path.ts';

test('part paths are in the order of the parts in the mail, from whatever order they come', () => {
  const ordered = ['', '1', '2', '2.m', '2.m.1', '2.m.2', '2.m.10', '2.m.10.1', '3', '3.1', '3.2', '3.10', '10', '11'];
  assert.deepEqual(ordered.toReversed().sort(comparePartPaths), ordered);
  assert.deepEqual(ordered.toSorted().sort(comparePartPaths), ordered);
});

test('equal paths are equal, and texts that are no path are ordered all the same', () => {
  assert.equal(comparePartPaths('2.m.1', '2.m.1'), 0);
  const odd = ['body', '1', '99999999999999999999', 'x.1', '01'];
  const sorted = odd.toSorted(comparePartPaths);
  assert.deepEqual(odd.toReversed().sort(comparePartPaths), sorted);
  assert.deepEqual(sorted, ['99999999999999999999', 'body', 'x.1', '01', '1']);
});
