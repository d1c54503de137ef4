/**
 * `npm run bench:scale`: how the cost of a mail grows with senders, size, rows, organisations, waiting jobs and processes.
 * Ends with 1 when the product's books do not agree with its replies; a slow product is no error.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type BenchDatabase, openBenchDatabase } from './database.ts';
import { type Load, openClientLoad } from './load.ts';
import { describeMachine } from './machine.ts';
import { mailTemplate } from './mails.ts';
import { UsageError } from './options.ts';
import { type Product, startProduct } from './product.ts';
import {
  type Case,
  casesOf,
  type Dimension,
  HELP,
  isMeasured,
  type NamedCase,
  parseScaleOptions,
  productKey,
  type ScaleOptions,
  type Way,
} from './scale-cases.ts';
import { type ScaleReport, type ScaleSeries, type ScaleTurn, scaleTable } from './scale-report.ts';
import { seed } from './scale-seed.ts';
import { warmUpMails } from './scenarios.ts';
import { disagreements } from './side.ts';
import { percentile } from './statistics.ts';
import { untilQuiet, watchProcesses } from './usage.ts';

/** Last opened, first closed; also after Ctrl-C. */
const closing: (() => Promise<void>)[] = [];

async function closeAll(downTo = 0): Promise<void> {
  while (closing.length > downTo)
    await closing
      .pop()?.()
      .catch((error: unknown) => console.error(error));
}

interface Subject {
  readonly product: Product;
  readonly database: BenchDatabase;
  /** Resolves when no mail waits to be read, without reading the tables. */
  untilAllRead(): Promise<void>;
}

interface Bench {
  readonly options: ScaleOptions;
  readonly folder: string;
  readonly load: Load;
  readonly postgres: { version: string | null };
  complain(problem: string): void;
}

async function run(options: ScaleOptions): Promise<ScaleReport> {
  const startedAt = new Date().toISOString();
  const folder = await mkdtemp(join(resolve(options.dir ?? tmpdir()), 'orderflow-scale-'));
  if (!options.keep) closing.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const machine = await describeMachine(folder);
  const load = openClientLoad();
  closing.push(() => load.close());
  const problems: string[] = [];
  const bench: Bench = {
    options,
    folder,
    load,
    postgres: { version: null },
    complain: (problem) => {
      problems.push(problem);
      console.error(`NOT VALID: ${problem}`);
    },
  };
  const series: ScaleSeries[] = [];
  for (const dimension of options.only) {
    for (const way of options.ways.filter((one) => isMeasured(dimension, one))) {
      series.push(...(await measureDimension(bench, dimension, way)));
    }
  }
  const command = ['npm run bench:scale --', ...process.argv.slice(2)].join(' ');
  return { startedAt, command, machine: { ...machine, postgres: bench.postgres.version }, series, problems };
}

/** All cases in turn, on products that stand beside each other, the others at rest. */
async function measureDimension(bench: Bench, dimension: Dimension, way: Way): Promise<readonly ScaleSeries[]> {
  const { options } = bench;
  const open = closing.length;
  const cases = casesOf(dimension, options.values[dimension] ?? null);
  const subjects = new Map<string, Subject>();
  try {
    for (const { case: one } of cases) {
      const key = productKey(one);
      if (!subjects.has(key)) subjects.set(key, await openSubject(bench, one, way, `${dimension}-${way}-${key}`));
    }
    const subjectOf = (one: Case): Subject =>
      subjects.get(productKey(one)) ?? raise(`no product for ${productKey(one)}`);
    const series = cases.map((named) => ({ ...named, dimension, way, turns: [] as ScaleTurn[] }));
    for (const { case: one } of cases)
      await send(bench, subjectOf(one), one, { mails: warmUpMails({ ...SCENARIO, ...one }) });
    for (let round = 0; round < options.rounds; round++) {
      for (const one of series) {
        for (const subject of subjects.values()) await settle(subject, way);
        one.turns.push(await takeTurn(bench, subjectOf(one.case), one, way));
      }
    }
    return series;
  } finally {
    await closeAll(open);
  }
}

const SCENARIO = { group: 'acceptance', reuse: false, bar: false } as const;

async function openSubject(bench: Bench, one: Case, way: Way, name: string): Promise<Subject> {
  const product = await startProduct({
    dataDir: join(bench.folder, name),
    roles: way === 'take' ? 'smtp' : null,
    processes: one.processes,
    env: {},
    cpuProfileDir: null,
  });
  closing.push(() => product.stop());
  console.error(`${name}: seeding`);
  await seed(product.databaseUrl, one);
  const database = await openBenchDatabase(product.databaseUrl);
  closing.push(() => database.close());
  bench.postgres.version = database.version;
  const client = new pg.Client({ connectionString: product.databaseUrl, application_name: 'bench-queue' });
  client.on('error', () => {}); // It ends with the product.
  await client.connect();
  closing.push(() => client.end());
  return { product, database, untilAllRead: () => untilAllRead(client) };
}

const POLL_MS = 20;
const READ_TIMEOUT_MS = 300_000;

/** By the id as a constant, so that the indexes on the queue serve; a job is done when its mail is. */
async function untilAllRead(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ id: number }>(
    `SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'extract_attachments'`,
  );
  const task = `task_id = ${rows[0]?.id ?? 0}`;
  const left = ['is_available', 'is_available IS NOT TRUE'].map(
    (state) => `EXISTS (SELECT FROM graphile_worker._private_jobs WHERE ${state} AND ${task})`,
  );
  const deadline = performance.now() + READ_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const answer = await client.query<{ left: boolean }>(`SELECT ${left.join(' OR ')} AS left`);
    if (answer.rows[0]?.left === false) return;
    await sleep(POLL_MS);
  }
  throw new Error('some mails are not read after five minutes');
}

async function settle({ product, untilAllRead }: Subject, way: Way): Promise<void> {
  if (way === 'parsed') await untilAllRead();
  await untilQuiet(product.rootPids);
}

type Until = { readonly seconds: number } | { readonly mails: number };

function send({ load }: Bench, { product }: Subject, one: Case, until: Until) {
  const { senders, sizeBytes, organisations } = one;
  return load.send({
    host: '127.0.0.1',
    port: product.smtpPort,
    senders,
    sizeBytes,
    reuse: false,
    until,
    run: randomBytes(6).toString('hex'),
    ...(organisations > 1 ? { organisations } : {}),
  });
}

async function takeTurn(bench: Bench, subject: Subject, { label, case: one }: NamedCase, way: Way): Promise<ScaleTurn> {
  const { product, database } = subject;
  const before = await database.counts();
  await untilQuiet(product.rootPids);
  const watch = watchProcesses(product.rootPids);
  const startedAt = performance.now();
  const result = await send(bench, subject, one, { seconds: bench.options.seconds });
  if (way === 'parsed') await subject.untilAllRead();
  const elapsedMs = way === 'parsed' ? performance.now() - startedAt : result.elapsedMs;
  const usage = watch.stop();
  const { accepted, replies } = result;
  const documentsPerMail = way === 'parsed' ? mailTemplate(one.sizeBytes).attachments : null;
  const after = await database.counts();
  for (const problem of disagreements({ accepted, replies, before, after, documentsPerMail })) {
    bench.complain(`${label}: ${problem}`);
  }
  if (accepted === 0) throw new Error(`${label}: nothing was accepted`);
  const cpuMs = (ofPostgres: boolean): number | null =>
    usage?.processes
      .filter(({ name }) => name.startsWith('postgres ') === ofPostgres)
      .reduce((sum, each) => sum + each.cpuMs, 0) ?? null;
  const mailsPerSecond = (accepted * 1000) / elapsedMs;
  console.error(`${label}, ${way}: ${mailsPerSecond.toFixed(1)} mails/s`);
  return {
    mails: accepted,
    elapsedMs,
    mailsPerSecond,
    ackP95Ms: percentile(result.ackMs, 95),
    productCpuMs: cpuMs(false),
    postgresCpuMs: cpuMs(true),
  };
}

function raise(message: string): never {
  throw new Error(message);
}

async function main(): Promise<number> {
  const options = parseScaleOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  const report = await run(options);
  const { problems, series, command, startedAt } = report;
  process.stdout.write(`\n${startedAt}: \`${command}\`\n\n${scaleTable(series)}`);
  if (problems.length > 0) process.stdout.write(`\nNOT VALID:\n${problems.map((one) => `- ${one}`).join('\n')}\n`);
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  return problems.length === 0 ? 0 : 1;
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
