/**
 * `npm run torture`: faults of every kind over servers that take mail all the time, and an audit of what was acknowledged. Ends
 * with 1 when a promise was broken. A short form runs with `npm test`.
 */
import assert from 'node:assert/strict';
import { setPriority } from 'node:os';
import { test } from 'node:test';
import { Option } from 'commander';
import { FAULT_NAMES, type FaultName } from '../test/torture/faults.ts';
import { HOUSES, type HouseKind } from '../test/torture/house.ts';
import { torture } from '../test/torture/torture.ts';
import { inWords, replayCommand } from '../test/torture/words.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const options = scriptCommand('torture', 'faults of every kind under load, and an audit of what was acknowledged')
  .option('--rounds <count>', 'how many faults, in all houses together', countArgument, 60)
  .option('--minutes <minutes>', 'no round begins after so long', countArgument, 600)
  .option('--seed <seed>', 'the same faults again', countArgument, (Date.now() % 1_000_000) + 1)
  .option('--longest <seconds>', 'how long a fault lasts at most', countArgument, 5)
  .option('--kills <count>', 'of a process in a row, in one round', countArgument, 3)
  .option('--block <rounds>', 'how many rounds between two audits of a house', countArgument, 20)
  .option('--pause <ms>', 'between two mails on each of ten connections of a house', countArgument, 15)
  .addOption(new Option('--only <fault...>', 'only these').choices(FAULT_NAMES))
  .addOption(new Option('--houses <house...>', 'only these').choices(HOUSES))
  .parse()
  .opts<{
    readonly rounds: number;
    readonly minutes: number;
    readonly seed: number;
    readonly longest: number;
    readonly kills: number;
    readonly block: number;
    readonly pause: number;
    readonly only?: readonly FaultName[];
    readonly houses?: readonly HouseKind[];
  }>();

setPriority(10);
// The houses live side by side: they wait most of their time.
test('torture', { concurrency: true }, async (t) => {
  const { seed, rounds, only, houses } = options;
  const { kills, block: blockRounds, pause: pauseMs } = options;
  const lengths = { longestMs: options.longest * 1_000, kills, blockRounds, pauseMs };
  const wish = { seed, rounds, only, houses, ...lengths };
  console.log(replayCommand(wish));
  const report = await torture(t, {
    ...wish,
    deadline: performance.now() + options.minutes * 60_000,
    told: (line) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`),
  });
  console.log(inWords(report, wish));
  assert.deepEqual(report.problems, []);
});
