/**
 * `npm run bench`: measures the running product, and peers beside it in turn, and says what it saw.
 * Ends with 1 when the product's books do not agree with its replies; a slow product is no error.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Load, openClientLoad, openSink, openSmtpSourceLoad } from './load.ts';
import { describeMachine } from './machine.ts';
import {
  type MeasureOptions,
  measureAcceptance,
  measureBeside,
  measureExtraction,
  measureMemory,
  measureParsed,
} from './measure.ts';
import { HELP, type Options, type ProductRoles, parseOptions, UsageError } from './options.ts';
import { reportText } from './report.ts';
import { type Ceiling, type Report, rates, type Series } from './result.ts';
import { ceilingWarmUpMails, chooseScenarios, describe, type Group, loadsFor, type Scenario } from './scenarios.ts';
import { openPeerSide, openProductSide, refusals, type Side } from './side.ts';

const CEILING_SECONDS = 1;

/** What is open and has to be closed, also after Ctrl-C. Last opened, first closed. */
const closing: (() => Promise<void>)[] = [];

let closed: Promise<void> | undefined;

/** Once, however many ask for it: the folder goes when the product in it has ended. */
function closeAll(): Promise<void> {
  closed ??= closeInTurn();
  return closed;
}

async function closeInTurn(): Promise<void> {
  for (let close = closing.pop(); close; close = closing.pop()) {
    await close().catch((error: unknown) => console.error(error));
  }
}

function closingLater<T extends { close(): Promise<void> }>(opened: T): T {
  closing.push(() => opened.close());
  return opened;
}

interface Bench extends MeasureOptions {
  readonly options: Options;
  readonly loads: readonly Load[];
  readonly client: Load;
  readonly postgres: { version: string | null };
  /** In an empty folder unless a name is given twice. */
  openProduct(roles: ProductRoles, folder: string): Promise<Side>;
}

async function run(options: Options): Promise<Report> {
  const startedAt = new Date().toISOString();
  const scenarios = chooseScenarios(options.dimensions);
  const folder = await mkdtemp(join(resolve(options.dir ?? tmpdir()), 'orderflow-bench-'));
  closing.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const machine = await describeMachine(folder);
  const problems: string[] = [];
  const bench = await prepare(options, folder, (problem) => {
    problems.push(problem);
    console.error(`NOT VALID: ${problem}`);
  });
  const ceilings = await measureCeilings(bench, scenarios);
  const series: Series[] = [];
  for (const [group, chosen] of Map.groupBy(scenarios, (one) => one.group)) {
    series.push(...(await measureGroup(bench, group, chosen)));
  }
  const command = ['npm run bench --', ...process.argv.slice(2)].join(' ');
  return { startedAt, command, machine: { ...machine, postgres: bench.postgres.version }, ceilings, series, problems };
}

async function prepare(options: Options, folder: string, complain: (problem: string) => void): Promise<Bench> {
  const client = closingLater(openClientLoad());
  const smtpSource = options.loads.includes('smtp-source') ? await openSmtpSourceLoad() : null;
  if (options.loads.includes('smtp-source') && smtpSource === null) {
    console.error('smtp-source is not installed (it comes with Postfix): measuring with our own client only');
  }
  const loads = [
    ...(options.loads.includes('client') || smtpSource === null ? [client] : []),
    ...(smtpSource ? [smtpSource] : []),
  ];
  const postgres: Bench['postgres'] = { version: null };
  const env = options.objectStorage === 'env' ? objectStorageSettings() : {};
  return {
    options,
    rounds: options.rounds,
    seconds: options.seconds,
    tell: (line) => console.error(line),
    complain,
    client,
    loads,
    postgres,
    async openProduct(roles, name) {
      const { processes, cpuProfileDir } = options;
      const dir = cpuProfileDir === null ? null : resolve(cpuProfileDir);
      const opening = openProductSide({ dataDir: join(folder, name), roles, processes, env, cpuProfileDir: dir });
      let ended: Promise<void> | undefined;
      const close = (): Promise<void> => {
        ended ??= opening.then((opened) => opened.close());
        return ended;
      };
      closingLater({ close }); // At once: an interrupted start must be ended as well.
      const side = await opening;
      postgres.version = side.database?.version ?? null;
      return { ...side, close };
    },
  };
}

/** Errors: UsageError when there is none; whether they are right, the product says. */
function objectStorageSettings(): Readonly<Record<string, string>> {
  const given = Object.entries(process.env).filter(([name]) => name.startsWith('OBJECT_STORAGE_'));
  if (given.length === 0) throw new UsageError('--object-storage env: no OBJECT_STORAGE_* is set');
  return Object.fromEntries(given.map(([name, value]) => [name, value ?? '']));
}

async function measureGroup(bench: Bench, group: Group, scenarios: readonly Scenario[]): Promise<readonly Series[]> {
  const { client } = bench;
  if (group === 'extraction' || group === 'beside') {
    const measure = group === 'extraction' ? measureExtraction : measureBeside;
    const series: Series[] = [];
    for (const [index, scenario] of scenarios.entries()) {
      const open = (roles: ProductRoles) => bench.openProduct(roles, `${group}-${index}`);
      series.push(await measure({ ...bench, scenario, load: client, open }));
    }
    return series;
  }
  if (group === 'acceptance') return measureSides(bench, scenarios);
  const series: Series[] = [];
  const side = await bench.openProduct('all', group);
  const measure = group === 'parsed' ? measureParsed : measureMemory;
  for (const scenario of scenarios) series.push(await measure({ ...bench, scenario, load: client, side }));
  await side.close();
  return series;
}

async function measureSides(bench: Bench, scenarios: readonly Scenario[]): Promise<readonly Series[]> {
  const sides: Side[] = [];
  for (const roles of bench.options.roles) sides.push(await bench.openProduct(roles, `acceptance-${roles}`));
  for (const peer of bench.options.peers) sides.push(await openPeerSide(peer));
  const series: Series[] = [];
  for (const scenario of scenarios) {
    const names = loadsFor(
      scenario,
      bench.loads.map(({ name }) => name),
    );
    for (const load of bench.loads.filter(({ name }) => names.includes(name))) {
      series.push(...(await measureAcceptance({ ...bench, scenario, load, sides })));
    }
  }
  for (const side of sides) await side.close();
  return series;
}

/** How much of the result is the generator: the same scenarios against a server that keeps nothing. */
async function measureCeilings(bench: Bench, scenarios: readonly Scenario[]): Promise<readonly Ceiling[]> {
  const sink = await openSink();
  const ceilings: Ceiling[] = [];
  try {
    for (const scenario of scenarios.filter(({ group, bar }) => group === 'acceptance' && bar)) {
      for (const load of bench.loads) {
        const job = { ...scenario, host: '127.0.0.1', port: sink.port, run: 'ceiling' };
        const { accepted, elapsedMs } = await load.send({ ...job, until: { mails: ceilingWarmUpMails(scenario) } });
        const mails = Math.max(scenario.senders, Math.round((accepted / elapsedMs) * 1000 * CEILING_SECONDS));
        const result = await load.send({ ...job, until: { mails } });
        for (const problem of refusals(result.replies)) bench.complain(`${describe(scenario)}, sink: ${problem}`);
        const { mailsPerSecond, bytesPerSecond } = rates(result.accepted, scenario.sizeBytes, result.elapsedMs);
        ceilings.push({ load: load.name, scenario, mailsPerSecond, bytesPerSecond });
      }
    }
  } finally {
    await sink.close();
  }
  return ceilings;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  const report = await run(options);
  process.stdout.write(`\n${reportText(report)}`);
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  return report.problems.length === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void closeAll().then(() => process.exit(1)));
}
try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
} finally {
  await closeAll();
}
