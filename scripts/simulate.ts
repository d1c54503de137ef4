/**
 * `npm run simulate -- [--seeds 300] [--seed N]`: intake, worker, relay and reconcile in a world of their own, in which chance
 * decides what goes on next and what goes wrong. Every seed is a run that can be had again: `--seed N` runs it alone and prints
 * what happened in it.
 */
import { beginVirtualTime, runSeed, type SeedOutcome } from '../test/simulation/run-seed.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const MAX_FAILED = 5;

const options = scriptCommand('simulate', 'the promise, held to it in simulated runs of faults and crashes')
  .option('--seeds <count>', 'how many runs', countArgument, 300)
  .option('--from <seed>', 'the first seed', countArgument, 1)
  .option('--seed <seed>', 'this run alone, with all that happens in it', countArgument)
  .parse()
  .opts<{ readonly seeds: number; readonly from: number; readonly seed?: number }>();

function tell({ seed, violation, trace, kinds }: SeedOutcome): void {
  console.log(`\nseed ${seed} (${kinds.join(', ')}): ${violation}`);
  console.log(trace.slice(-60).join('\n'));
  console.log(`again, with all of it: npm run simulate -- --seed ${seed}`);
}

async function runOne(seed: number): Promise<void> {
  const outcome = await runSeed(seed);
  console.log(outcome.trace.join('\n'));
  const { kinds, steps, acknowledged, digest, violation } = outcome;
  console.log(`seed ${seed} (${kinds.join(', ')}): ${steps} steps, ${acknowledged} acknowledgements, ${digest}`);
  console.log(violation ?? 'all is as promised');
  if (violation !== null) process.exitCode = 1;
}

async function runMany(): Promise<void> {
  const begun = process.hrtime.bigint();
  const failed: SeedOutcome[] = [];
  const struck = new Map<string, number>();
  let [runs, steps, acknowledged] = [0, 0, 0];
  for (; runs < options.seeds && failed.length < MAX_FAILED; runs++) {
    const outcome = await runSeed(options.from + runs);
    steps += outcome.steps;
    acknowledged += outcome.acknowledged;
    for (const [kind, times] of outcome.struck) struck.set(kind, (struck.get(kind) ?? 0) + times);
    if (outcome.violation === null) continue;
    failed.push(outcome);
    tell(outcome);
  }
  const seconds = Number((process.hrtime.bigint() - begun) / 1_000_000n) / 1_000;
  const told = [...struck].map(([kind, times]) => `${times} ${kind}`).join(', ');
  console.log(`${runs} seeds in ${seconds.toFixed(1)} s: ${steps} steps, ${acknowledged} acknowledgements; ${told}`);
  console.log(`${failed.length} seeds broke the promise`);
  if (failed.length > 0) process.exitCode = 1;
}

const endVirtualTime = beginVirtualTime();
await (options.seed === undefined ? runMany() : runOne(options.seed));
endVirtualTime();
