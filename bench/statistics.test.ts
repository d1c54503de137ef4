import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, percentile, percentiles, spread } from './statistics.ts';

test('the median is the middle value, or the mean of the two in the middle, whatever the order', () => {
  assert.equal(median([7]), 7);
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([10, 1, 9, 2]), 5.5);
});

test('numbers are ordered as numbers, not as text', () => {
  assert.equal(median([100, 9, 20]), 20);
  assert.equal(percentile([100, 9, 20], 100), 100);
});

test('a percentile is the smallest measured value that so many percent do not exceed', () => {
  const oneToHundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(percentiles(oneToHundred), { p50: 50, p95: 95, p99: 99 });
  assert.equal(percentile(oneToHundred, 100), 100);
  assert.equal(percentile(oneToHundred, 0.1), 1);
  assert.deepEqual(percentiles([4]), { p50: 4, p95: 4, p99: 4 });
  assert.equal(percentile([1, 2, 3], 95), 3);
});

test('the spread is the median with the extremes', () => {
  assert.deepEqual(spread([3, 1, 10]), { median: 3, min: 1, max: 10 });
});

test('nothing measured, or no percentile, is an error and not a number', () => {
  assert.throws(() => median([]), RangeError);
  assert.throws(() => percentile([], 50), RangeError);
  assert.throws(() => spread([]), RangeError);
  for (const percent of [0, -1, 101, Number.NaN]) assert.throws(() => percentile([1], percent), RangeError);
});

test('the values given are left as they are', () => {
  const values = Object.freeze([3, 1, 2]);
  assert.equal(median(values), 2);
  assert.equal(percentile(values, 50), 2);
});
