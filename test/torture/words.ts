/** What a run of the torture says of itself. */
import type { TortureOptions, TortureReport } from './torture.ts';

type Wish = Pick<
  TortureOptions,
  'seed' | 'rounds' | 'only' | 'houses' | 'longestMs' | 'kills' | 'blockRounds' | 'pauseMs'
>;

/** What to type to meet the same faults again. */
export function replayCommand({ seed, rounds, only, houses, longestMs, kills, blockRounds, pauseMs }: Wish): string {
  const lists = [
    ...(only === undefined ? [] : [`--only ${only.join(' ')}`]),
    ...(houses === undefined ? [] : [`--houses ${houses.join(' ')}`]),
  ];
  const numbers = `--seed ${seed} --rounds ${rounds} --longest ${longestMs / 1_000} --kills ${kills} --block ${blockRounds} --pause ${pauseMs}`;
  return ['npm run torture --', numbers, ...lists].join(' ');
}

export function inWords(report: TortureReport, wish: Wish): string {
  const { rounds, kills, acknowledgements, mails, lost, doubled, problems, met } = report;
  const counts = [...met].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name} ${count}`);
  return [
    `seed ${wish.seed}: ${rounds} rounds, ${kills} kills, ${acknowledgements} acknowledgements of ${mails} mails; ` +
      `${lost} lost, ${doubled} doubled, ${problems.length} problems`,
    `faults: ${counts.join(', ')}`,
    ...problems.slice(0, 20),
    ...(problems.length > 0 ? [`again: ${replayCommand(wish)}`] : []),
  ].join('\n');
}
