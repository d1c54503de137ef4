/**
 * `npm run stall [-- --only TEXT]`: the longest time that a step of ours holds the event loop, before the 250 and in the
 * worker, over the hostile gallery (src/testing/hostile-mails.ts). While a step runs, no other mail moves.
 *
 * The product's own server takes each mail by SMTP from another thread, on an embedded PostgreSQL and files in a temporary
 * folder; then the product's own extractor reads it from there. Each mail goes the whole way several times, and the best of
 * them counts: what is left out is what only the first run pays, the compilation of our code.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { pino } from 'pino';
import { countArgument, scriptCommand } from '../scripts/script-command.ts';
import { createFileObjectStore } from '../src/adapters/fs/object-store.ts';
import { createPostgresExtractionStore } from '../src/adapters/postgres/extraction-store.ts';
import { createPool } from '../src/adapters/postgres/pool.ts';
import { startServer } from '../src/compose/index.ts';
import { loadSettings } from '../src/config/load.ts';
import { createExtractor, type ExtractionJob } from '../src/documents/extractor.ts';
import { createBoundedLines } from '../src/telemetry/bounded-lines.ts';
import { createMetrics } from '../src/telemetry/metrics.ts';
import { freePort } from '../src/testing/free-port.ts';
import { hostileGallery } from '../src/testing/hostile-mails.ts';
import { makeTemporaryFolder, removeFolder } from '../src/testing/temporary-folder.ts';
import { type LongestStep, longestStep } from './held-loop.ts';
import type { MailToSend } from './stall-client.ts';

const options = scriptCommand('stall', 'the longest time that a step holds the event loop, over the hostile gallery')
  .option('--only <text>', 'mails with this in their name')
  .option('--runs <count>', 'of each mail; the best counts', countArgument, 3)
  .option('--top <count>', 'mails that are told of, the longest first', countArgument, 10)
  .parse()
  .opts<{ readonly only?: string; readonly runs: number; readonly top: number }>();

/** What the issue asks for. */
const AIM_MS = { 'before the 250': 10, 'in the worker': 50 };
type Side = keyof typeof AIM_MS;

interface Measured extends LongestStep {
  readonly name: string;
}

/** Lines are made and thrown away. */
const log = pino({ level: 'info' }, new Writable({ write: (_line, _encoding, done) => done() }));
const folder = await makeTemporaryFolder();
const port = await freePort();
const loaded = loadSettings({ env: { DATA_DIR: folder, SMTP_PORT: String(port) }, cwd: folder });
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const server = await startServer({ settings: loaded.settings, roles: ['smtp'], processes: 1, log });
const pool = createPool({ url: server.databaseUrl, applicationName: 'stall', maxConnections: 5, log });
const { rows } = await pool.query<{ id: string }>('SELECT id FROM org WHERE slug = $1', [server.firstOrganisation]);
const orgId = rows[0]?.id ?? '';
const client = new Worker(new URL('./stall-client.ts', import.meta.url));
const extractor = createExtractor({
  objects: await createFileObjectStore({ rootDir: `${folder}/objects` }),
  store: createPostgresExtractionStore({ pool }),
  log,
  lines: createBoundedLines({ log }),
  metrics: createMetrics(),
});

/** What a stop waits for keeps no process alive by itself. */
const keepingAlive = setInterval(() => {}, 1_000);
const longest: Record<Side, Measured[]> = { 'before the 250': [], 'in the worker': [] };
try {
  for (const { name, mail } of hostileGallery()) {
    if (!name.includes(options.only ?? '')) continue;
    const text = mail();
    const [taken, read]: [LongestStep[], LongestStep[]] = [[], []];
    for (let run = 0; run < options.runs; run++) {
      let job: ExtractionJob | null = null;
      taken.push(
        await longestStep(async () => {
          job = await send(`Message-ID: <${randomUUID()}@stall.example>\r\n${text}`);
        }),
      );
      read.push(
        await longestStep(async () => {
          if (job !== null) await extract(job);
        }),
      );
    }
    longest['before the 250'].push({ name, ...best(taken) });
    longest['in the worker'].push({ name, ...best(read) });
    process.stderr.write(`${shown(best(taken))} ${shown(best(read))}  ${name}\n`);
  }
  for (const side of Object.keys(AIM_MS) as Side[]) report(side);
} finally {
  await client.terminate();
  await pool.end();
  await server.stop();
  await removeFolder(folder);
}
clearInterval(keepingAlive);

async function send(mail: string): Promise<ExtractionJob> {
  const to = `orders+${server.firstOrganisation}@orderflow.example.com`;
  client.postMessage({ port, to, mail } satisfies MailToSend);
  const [reply] = (await once(client, 'message')) as [string];
  const inboundMessageId = /^250 .*accepted (\S+)/.exec(reply)?.[1];
  if (inboundMessageId === undefined) throw new Error(`not accepted: ${reply}`);
  return { inboundMessageId, orgId };
}

async function extract(job: ExtractionJob): Promise<void> {
  await extractor.extract(job, { attempt: 1, lastAttempt: false, signal: new AbortController().signal });
}

function best(runs: readonly LongestStep[]): LongestStep {
  return runs.reduce((a, b) => (b.ms - b.collectingMs < a.ms - a.collectingMs ? b : a));
}

/** The server has taken the console over, for its log. */
function told(line: string): void {
  process.stdout.write(`${line}\n`);
}

function report(side: Side): void {
  const ordered = longest[side].toSorted((a, b) => b.ms - b.collectingMs - (a.ms - a.collectingMs));
  const beyond = ordered.filter(({ ms, collectingMs }) => ms - collectingMs > AIM_MS[side]).length;
  told(`${side}: ${ordered.length} mails, ${beyond} above ${AIM_MS[side]} ms`);
  for (const one of ordered.slice(0, options.top)) told(`  ${shown(one)}  ${one.name}`);
}

/** The work of the step, and what the collector took besides. */
function shown({ ms, collectingMs }: LongestStep): string {
  return `${(ms - collectingMs).toFixed(1).padStart(8)} ms + ${collectingMs.toFixed(1).padStart(5)} ms`;
}
