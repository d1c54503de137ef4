/**
 * Some rounds of each house, the same ones each time: this seed draws many kinds of faults, and none of those after which every
 * sender waits for a deadline. The long form is `npm run torture`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { torture } from '../torture/torture.ts';
import { inWords } from '../torture/words.ts';

const WISH = { seed: 27_182, rounds: 24, longestMs: 1_000, kills: 1, blockRounds: 24, pauseMs: 200 };

test('faults of many kinds under load: what got 250 is there, once, and nobody else has it', {
  concurrency: true,
  timeout: 280_000,
}, async (t) => {
  const report = await torture(t, { ...WISH, told: (line) => t.diagnostic(line) });
  t.diagnostic(inWords(report, WISH));
  assert.deepEqual(report.problems, []);
  assert.ok(report.rounds === WISH.rounds && report.acknowledgements > 10 * report.rounds, 'there was load');
});
