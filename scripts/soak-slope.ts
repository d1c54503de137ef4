/**
 * `npm run soak:slope -- [--minutes 10 | --hours N]`: the product under a steady load, and whether its memory, descriptors, timers
 * and series of metrics have a slope. Three tenths of it, five minutes at most, are warm-up. Ends with 1 when one of them rises.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { describeSoak, soak } from '../test/soak/soak.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const options = scriptCommand('soak:slope', 'a steady load, and whether anything grows under it')
  .option('--minutes <minutes>', 'how long', countArgument, 10)
  .option('--hours <hours>', 'how long, in the place of --minutes', countArgument)
  .option('--samples <file>', 'where each sample is written, as JSON')
  .parse()
  .opts<{ readonly minutes: number; readonly hours?: number; readonly samples?: string }>();

const allMs = (options.hours === undefined ? options.minutes : options.hours * 60) * 60_000;
const warmUpMs = Math.min(0.3 * allMs, 5 * 60_000);
const told = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);

test('nothing grows under a steady load', async (t) => {
  const report = await soak(t, { warmUpMs, measuredMs: allMs - warmUpMs, told });
  console.log(describeSoak(report));
  if (options.samples !== undefined) writeFileSync(options.samples, JSON.stringify(report.samples));
  assert.deepEqual(
    report.fitted.filter(({ rise, allowed }) => rise > allowed).map(({ measure }) => measure),
    [],
    'these rise',
  );
  assert.deepEqual(report.surprises, []);
});
