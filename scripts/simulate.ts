/**
 * `npm run simulate -- [--seeds 300] [--seed N]`: intake, worker, relay and reconcile in a world of their own, in which chance
 * decides what goes on next and what goes wrong. Every seed is a run that can be had again: `--seed N` runs it alone and prints
 * what happened in it.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { beginVirtualTime, runSeed, type SeedOutcome } from '../test/simulation/run-seed.ts';
import { countArgument, scriptCommand } from './script-command.ts';

const MAX_FAILED = 5;
/** Of one process: what a run leaves behind in it adds up, some hundreds of KB each. */
const BATCH_SEEDS = 500;

interface Summary {
  readonly runs: number;
  readonly steps: number;
  readonly acknowledged: number;
  readonly failed: number;
  readonly struck: readonly (readonly [kind: string, times: number])[];
}

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

async function runOne(seed: number): Promise<undefined> {
  const outcome = await runSeed(seed);
  console.log(outcome.trace.join('\n'));
  const { kinds, steps, acknowledged, digest, violation } = outcome;
  console.log(`seed ${seed} (${kinds.join(', ')}): ${steps} steps, ${acknowledged} acknowledgements, ${digest}`);
  console.log(violation ?? 'all is as promised');
  if (violation !== null) process.exitCode = 1;
}

async function runMany(): Promise<Summary> {
  const struck = new Map<string, number>();
  let [runs, steps, acknowledged, failed] = [0, 0, 0, 0];
  for (; runs < options.seeds && failed < MAX_FAILED; runs++) {
    const outcome = await runSeed(options.from + runs);
    steps += outcome.steps;
    acknowledged += outcome.acknowledged;
    for (const [kind, times] of outcome.struck) struck.set(kind, (struck.get(kind) ?? 0) + times);
    if (outcome.violation === null) continue;
    failed += 1;
    tell(outcome);
  }
  return { runs, steps, acknowledged, failed, struck: [...struck] };
}

/** As many processes at a time as there are processors; none is begun once enough have failed. */
async function runBatches(): Promise<readonly Summary[]> {
  const summaries: Summary[] = [];
  const end = options.from + options.seeds;
  let next = options.from;
  const runNext = async (): Promise<void> => {
    while (next < end && summaries.reduce((sum, { failed }) => sum + failed, 0) < MAX_FAILED) {
      const from = next;
      next += BATCH_SEEDS;
      const child = fork(fileURLToPath(import.meta.url), [
        ...['--from', String(from), '--seeds', String(Math.min(BATCH_SEEDS, end - from))],
      ]);
      const ended = once(child, 'exit');
      child.on('message', (summary) => summaries.push(summary as Summary));
      const [code, signal] = await ended;
      if (code !== 0 && code !== 1)
        throw new Error(`the process of the seeds from ${from} on ended with ${code ?? signal}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runNext));
  return summaries;
}

function conclude(summaries: readonly Summary[], seconds: number): void {
  const sum = (of: (summary: Summary) => number): number => summaries.reduce((total, each) => total + of(each), 0);
  const struck = new Map<string, number>();
  for (const [kind, times] of summaries.flatMap((each) => each.struck))
    struck.set(kind, (struck.get(kind) ?? 0) + times);
  const [runs, steps, acknowledged, failed] = [
    sum((each) => each.runs),
    sum((each) => each.steps),
    sum((each) => each.acknowledged),
    sum((each) => each.failed),
  ];
  const told = [...struck].map(([kind, times]) => `${times} ${kind}`).join(', ');
  console.log(`${runs} seeds in ${seconds.toFixed(1)} s: ${steps} steps, ${acknowledged} acknowledgements; ${told}`);
  console.log(`${failed} seeds broke the promise`);
  if (failed > 0) process.exitCode = 1;
}

const begun = process.hrtime.bigint();
const secondsSince = (): number => Number((process.hrtime.bigint() - begun) / 1_000_000n) / 1_000;
if (options.seed === undefined && options.seeds > BATCH_SEEDS) conclude(await runBatches(), secondsSince());
else {
  const endVirtualTime = beginVirtualTime();
  const summary = options.seed === undefined ? await runMany() : await runOne(options.seed);
  endVirtualTime();
  if (summary?.failed) process.exitCode = 1;
  // One of several processes: its parent concludes.
  if (summary !== undefined && process.send !== undefined) process.send(summary, () => process.disconnect?.());
  else if (summary !== undefined) conclude([summary], secondsSince());
}
