/** The ways to measure: turns of acceptance side by side, the whole way to PARSED, extraction alone, memory. */
import { randomBytes } from 'node:crypto';
import type { Load } from './load.ts';
import type { LoadJob, LoadResult } from './load-run.ts';
import { mailTemplate } from './mails.ts';
import { rates, type Series, type Turn } from './result.ts';
import { describe, extractionMails, type Scenario, waitingMails, warmUpMails } from './scenarios.ts';
import { disagreements, refusals, type Side } from './side.ts';
import { percentiles } from './statistics.ts';
import { watchProcesses } from './usage.ts';

export interface MeasureOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** A line on what is going on. */
  readonly tell: (line: string) => void;
  /** Takes what makes the figures worthless. */
  readonly complain: (problem: string) => void;
}

/** It takes several times as long as the acceptance of the same mails, and has no peer to be compared with. */
const MAX_PARSED_ROUNDS = 3;

type Until = LoadJob['until'];

function send(load: Load, side: Pick<Side, 'host' | 'port'>, scenario: Scenario, until: Until): Promise<LoadResult> {
  const { sizeBytes, senders, reuse } = scenario;
  const run = randomBytes(6).toString('hex');
  return load.send({ host: side.host, port: side.port, senders, reuse, sizeBytes, until, run });
}

/** Every side in turn, `rounds` times, after one warm-up each. */
export async function measureAcceptance(
  o: MeasureOptions & { readonly scenario: Scenario; readonly load: Load; readonly sides: readonly Side[] },
): Promise<readonly Series[]> {
  const { scenario, load, sides } = o;
  const series = sides.map((side) => ({
    scenario,
    side: side.name,
    isPeer: side.isPeer,
    load: load.name,
    turns: [] as Turn[],
  }));
  const untils: Until[] = [];
  for (const side of sides) {
    const { accepted, elapsedMs } = await send(load, side, scenario, { mails: warmUpMails(scenario) });
    const mails = Math.max(scenario.senders, Math.round((accepted / elapsedMs) * 1000 * o.seconds));
    untils.push(load.name === 'client' ? { seconds: o.seconds } : { mails });
  }
  for (let round = 0; round < o.rounds; round++) {
    for (const [index, side] of sides.entries()) {
      await Promise.all(sides.map((each) => each.settle()));
      const turn = await takeTurn({ ...o, side, until: untils[index] ?? { seconds: o.seconds }, toParsed: false });
      series[index]?.turns.push(turn);
    }
  }
  await Promise.all(sides.map((side) => side.settle()));
  return series;
}

/** From the first connection until the last mail is PARSED, its documents and their jobs written. */
export async function measureParsed(
  o: MeasureOptions & { readonly scenario: Scenario; readonly load: Load; readonly side: Side },
): Promise<Series> {
  const { scenario, load, side } = o;
  await send(load, side, scenario, { mails: warmUpMails(scenario) });
  const turns: Turn[] = [];
  for (let round = 0; round < Math.min(o.rounds, MAX_PARSED_ROUNDS); round++) {
    await side.settle();
    turns.push(await takeTurn({ ...o, until: { seconds: o.seconds }, toParsed: true }));
  }
  return { scenario, side: side.name, isPeer: false, load: load.name, turns };
}

/** One mail of every sender at the same time; what it takes above idle is in the usage. */
export async function measureMemory(
  o: MeasureOptions & { readonly scenario: Scenario; readonly load: Load; readonly side: Side },
): Promise<Series> {
  const { scenario, load, side } = o;
  await side.settle();
  const turn = await takeTurn({ ...o, until: { mails: scenario.senders }, toParsed: true });
  return { scenario, side: side.name, isPeer: false, load: load.name, turns: [turn] };
}

/**
 * Acceptance while large mails are extracted: they are taken by a product that extracts nothing, which then ends; another,
 * on the same data, finds them waiting and is sent other mails.
 */
export async function measureBeside(
  o: MeasureOptions & {
    readonly scenario: Scenario;
    readonly load: Load;
    readonly open: (roles: 'smtp' | 'all') => Promise<Side>;
  },
): Promise<Series> {
  const { scenario, load } = o;
  const turns: Turn[] = [];
  for (let round = 0; round < Math.min(o.rounds, MAX_PARSED_ROUNDS); round++) {
    const filling = await o.open('smtp');
    const large = { ...scenario, sizeBytes: waitingMails.sizeBytes, senders: 2 };
    await send(load, filling, large, { mails: waitingMails.mails }).finally(filling.close);
    const side = await o.open('all');
    try {
      const before = await side.database?.counts();
      turns.push(await takeTurn({ ...o, side, until: { seconds: o.seconds }, toParsed: false }));
      const parsed = ((await side.database?.counts())?.parsed ?? 0) - (before?.parsed ?? 0);
      if (parsed >= waitingMails.mails)
        o.complain(`${describe(scenario)}: they were extracted before the turn was over`);
      await side.settle();
    } finally {
      await side.close();
    }
  }
  return { scenario, side: 'product', isPeer: false, load: load.name, turns };
}

async function takeTurn(
  o: MeasureOptions & {
    readonly scenario: Scenario;
    readonly load: Load;
    readonly side: Side;
    readonly until: Until;
    readonly toParsed: boolean;
  },
): Promise<Turn> {
  const { scenario, load, side } = o;
  const what = `${describe(scenario)}, ${load.name}, ${side.name}`;
  const before = await side.database?.counts();
  const wal = await side.database?.walBytes();
  const startedAt = await side.database?.now();
  const watch = watchProcesses(side.rootPids);
  const result = await send(load, side, scenario, o.until);
  const finished = o.toParsed ? await side.database?.allFinished() : undefined;
  const usage = watch.stop();
  const walAfter = await side.database?.walBytes();
  const after = await side.database?.counts();
  const problems =
    before && after
      ? disagreements({
          accepted: result.accepted,
          replies: result.replies,
          before,
          after,
          documentsPerMail: o.toParsed ? mailTemplate(scenario.sizeBytes).attachments : null,
        })
      : refusals(result.replies);
  for (const problem of problems) o.complain(`${what}: ${problem}`);
  if (result.accepted === 0) o.complain(`${what}: nothing was accepted`);
  const elapsedMs = finished && startedAt ? finished.lastFinishedAt.getTime() - startedAt.getTime() : result.elapsedMs;
  const turn: Turn = {
    ...rates(result.accepted, scenario.sizeBytes, elapsedMs),
    ackMs: result.ackMs.length > 0 ? percentiles(result.ackMs) : null,
    replies: result.replies,
    generatorCpuMs: result.generatorCpuMs,
    usage,
    walBytes: wal === undefined || walAfter === undefined ? null : walAfter - wal,
  };
  o.tell(`${what}: ${turn.mailsPerSecond.toFixed(1)} mails/s`);
  return turn;
}

/**
 * Mails are taken by a product that extracts nothing, which then ends; the clock runs while another, on the same data,
 * does the rest. What that did before its start was told is not counted.
 */
export async function measureExtraction(
  o: MeasureOptions & {
    readonly scenario: Scenario;
    readonly load: Load;
    readonly open: (roles: 'smtp' | 'worker') => Promise<Side>;
  },
): Promise<Series> {
  const { scenario, load } = o;
  const filling = await o.open('smtp');
  const { accepted } = await send(load, filling, scenario, { mails: extractionMails(scenario.sizeBytes) }).finally(
    filling.close,
  );
  const side = await o.open('worker');
  try {
    const database = side.database;
    if (database === null) throw new TypeError('extraction is measured on the product');
    const [before, wal, startedAt] = [await database.counts(), await database.walBytes(), await database.now()];
    const watch = watchProcesses(side.rootPids);
    const { lastFinishedAt } = await database.allFinished();
    const usage = watch.stop();
    const [walAfter, after] = [await database.walBytes(), await database.counts()];
    const documents = accepted * mailTemplate(scenario.sizeBytes).attachments;
    if (after.parsed !== accepted || after.documents !== documents || after.documentJobs !== documents) {
      o.complain(`${describe(scenario)}: of ${accepted} mails ${JSON.stringify(after)}`);
    }
    const elapsedMs = Math.max(1, lastFinishedAt.getTime() - startedAt.getTime());
    const turn: Turn = {
      ...rates(after.parsed - before.parsed, scenario.sizeBytes, elapsedMs),
      ackMs: null,
      replies: {},
      generatorCpuMs: null,
      usage,
      walBytes: walAfter - wal,
    };
    o.tell(`${describe(scenario)}: ${turn.mailsPerSecond.toFixed(1)} mails/s`);
    return { scenario, side: side.name, isPeer: false, load: null, turns: [turn] };
  } finally {
    await side.close();
  }
}
