/** The fit by itself, on series whose slope is known: a bound that nothing breaks is none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../src/smtp/testing/segments.ts';
import { fitLine, type Sample } from './slope.ts';
import { judge, type Measure } from './soak.ts';

const seconds = 480;
/** As the soak has them in eight minutes. */
const actions = seconds * 40;
const mib = 2 ** 20;

function series(valueAt: (second: number, random: () => number) => number): Sample[] {
  const random = seededRandom(1);
  return Array.from({ length: seconds }, (_, second) => ({ atMs: second * 1_000, value: valueAt(second, random) }));
}

test('a line gives its slope back, also under noise and with some wild samples', () => {
  const line = fitLine(series((second) => 100 + second / 6));
  assert.ok(Math.abs(line.perMinute - 10) < 1e-6, `${line.perMinute}`);
  const noisy = fitLine(
    series((second, random) => 100 + second / 6 + 20 * random() + (second % 97 === 0 ? 10_000 : 0)),
  );
  assert.ok(Math.abs(noisy.perMinute - 10) < 0.5, `${noisy.perMinute}`);
});

test('what comes and goes has no slope', () => {
  const teeth = fitLine(series((second) => 40 * mib + (second % 30) * 100_000));
  assert.ok(Math.abs(teeth.perMinute) < 10_000, `${teeth.perMinute}`);
});

test('three samples are the fewest', () => {
  assert.throws(() => fitLine(series(() => 1).slice(0, 2)), RangeError);
  assert.equal(fitLine(series(() => 1).slice(0, 3)).perMinute, 0);
});

for (const [name, measure, valueAt, rises] of [
  ['a heap with noise of 300 KiB', 'heap', (_, random) => 40 * mib + 300_000 * random(), false],
  ['an entry of 120 bytes for each session', 'heap', (s, random) => 40 * mib + 300_000 * random() + s * 40 * 120, true],
  ['a buffer of 4 KiB of every tenth session', 'external', (s) => 8 * mib + s * 4 * 4_096, true],
  ['memory that is never given back, 300 bytes for each session', 'rss', (s) => 150 * mib + s * 40 * 2_000, true],
  ['a pool that opens two connections late', 'descriptors', (s) => (s < 200 ? 47 : 49), false],
  ['a descriptor of every hundredth session', 'descriptors', (s) => 47 + Math.floor(s * 0.4), true],
  ['a timer each ten seconds', 'resources', (s) => 40 + Math.floor(s / 10), true],
  ['a reply that is first sent late', 'series', (s) => (s < 300 ? 301 : 303), false],
  ['a label for each mail', 'series', (s) => 301 + s * 4, true],
] as const satisfies readonly (readonly [string, Measure, (second: number, random: () => number) => number, boolean])[])
  test(`${name}: ${rises ? 'rises' : 'is fine'}`, () => {
    const { rise, allowed } = judge(measure, series(valueAt), actions);
    assert.equal(rise > allowed, rises, `a rise of ${rise}, allowed ${allowed}`);
  });
