/** The product as a process, with everything of it that can be seen and done from outside. */

import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { cleanUp } from '../../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../../src/testing/database.ts';
import { bareEnvironment } from '../../../src/testing/environment.ts';
import { type LogLine, type Product, startProduct } from '../../../src/testing/product.ts';
import { scrape } from '../../../src/testing/scrape.ts';
import { type RawMail, type SmtpReply, sendRaw } from '../../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../../src/testing/temporary-folder.ts';
import { waitFor } from '../../../src/testing/wait-for.ts';
import { acceptedId } from './assertions.ts';
import { type Objects, openObjects } from './objects.ts';
import { type Ended, run } from './programs.ts';
import { type DocumentRow, type MessageRow, type Rows, readRows } from './rows.ts';

// Byte counts, far below 2^53.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

const PROGRAM = fileURLToPath(new URL('../../../bin/orderflow-ingest.cjs', import.meta.url));

export interface IngestOptions {
  /** `embedded` is what `npm start` has; `given` is a fresh database of the test cluster in DATABASE_URL. */
  readonly database?: 'embedded' | 'given';
  /** What the product gets for DATABASE_URL instead, such as a way that can be cut; the tests go on looking directly. */
  readonly through?: (databaseUrl: string) => Promise<string>;
  /** Added before anything else. */
  readonly organisations?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

export interface Ingest {
  readonly product: Product;
  /** The port for the clients, spread into their envelope. */
  readonly port: number;
  readonly dataDir: string;
  readonly pool: pg.Pool;
  readonly rows: Rows;
  readonly objects: Objects;
  orgId(slug: string): string;
  /** Raw bytes from a client of ours; the verdict as it stood on the wire. */
  send(mail: Partial<RawMail> & Pick<RawMail, 'data'>): Promise<string>;
  /** Sends, expects `accepted`, and waits until all that is there is read. */
  take(mail: string | Uint8Array, envelope?: Partial<RawMail>): Promise<Taken>;
  cli(...args: readonly string[]): Promise<Ended>;
  /** One more product on the same database and objects. */
  startAnother(env?: Readonly<Record<string, string>>, args?: readonly string[]): Promise<Product>;
  /** Log lines that have all these fields. The log comes through a pipe: wait for what must be there. */
  logged(fields: LogLine): readonly LogLine[];
  waitForLog(fields: LogLine): Promise<LogLine>;
  /** The value of a series of /metrics; 0 when there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
}

export interface Taken {
  readonly message: MessageRow;
  readonly documents: readonly DocumentRow[];
}

export async function startIngest(t: TestContext, options: IngestOptions = {}): Promise<Ingest> {
  const { database = 'given', organisations = ['acme'], env = {}, args = [] } = options;
  const dataDir = await temporaryFolder(t);
  const direct = await databaseSetting(t, database);
  if (direct !== null) await addOrganisations(direct, organisations);
  const given = direct === null ? null : ((await options.through?.(direct)) ?? direct);
  const settings = { DATA_DIR: dataDir, ...(given === null ? {} : { DATABASE_URL: given }), ...env };
  const product = await startProduct(t, { dataDir, env: settings, args });
  const pool = openPool(t, direct ?? product.databaseUrl);
  if (database === 'embedded') await insertOrganisations(pool, organisations);
  const { rows: known } = await pool.query<{ slug: string; id: string }>('SELECT slug, id FROM org');
  const ids = new Map(known.map(({ slug, id }) => [slug, id]));
  const rows = readRows(pool);
  const send: Ingest['send'] = (mail) => sendOne({ port: product.smtpPort, ...mail });
  return {
    product,
    port: product.smtpPort,
    dataDir,
    pool,
    rows,
    objects: openObjects(dataDir),
    orgId: (slug) => ids.get(slug) ?? fail(`no organisation ${slug}`),
    send,
    take: async (mail, envelope = {}) => {
      const id = acceptedId(await send({ ...envelope, data: mail }));
      await rows.settled();
      return { message: await rows.message(id), documents: await rows.documents(id) };
    },
    cli: (...args) => runCli({ ...settings, DATABASE_URL: product.databaseUrl }, args),
    startAnother: (more = {}, args = []) =>
      startProduct(t, { dataDir, env: { ...settings, DATABASE_URL: product.databaseUrl, ...more }, args }),
    ...logReader(product),
    metric: (name, labels = {}) => readMetric(product.httpUrl, name, labels),
  };
}

/** A command in a process of its own. */
export function runCli(env: Readonly<Record<string, string>>, args: readonly string[], cwd = env.DATA_DIR) {
  const options = { env: { ...bareEnvironment(), ...env }, ...(cwd ? { cwd } : {}) };
  return run(process.execPath, [PROGRAM, ...args], options);
}

export async function sendOne(mail: Partial<RawMail> & Pick<RawMail, 'data' | 'port'>): Promise<string> {
  const to = ['orders+acme@orderflow.example.com'];
  const { verdict } = await sendRaw({ from: 'buyer@customer.example', to, ...mail });
  return wireText(verdict);
}

export function wireText({ code, lines }: SmtpReply): string {
  return lines.map((line) => `${code} ${line}`).join('\n');
}

export function openPool(t: TestContext, connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 4, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => {}); // tests take the database away
  cleanUp(t, () => pool.end());
  return pool;
}

/** null: the product brings its own. */
async function databaseSetting(t: TestContext, database: 'embedded' | 'given'): Promise<string | null> {
  if (database === 'embedded') return null;
  const { url, close } = await createTestDatabase();
  cleanUp(t, close);
  return url;
}

async function addOrganisations(connectionString: string, slugs: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await insertOrganisations(client, slugs);
  await client.end();
}

async function insertOrganisations(client: pg.Pool | pg.Client, slugs: readonly string[]): Promise<void> {
  for (const slug of slugs)
    await client.query('INSERT INTO org (slug, name) VALUES ($1, $1) ON CONFLICT DO NOTHING', [slug]);
}

function logReader({ log }: Product): Pick<Ingest, 'logged' | 'waitForLog'> {
  const logged = (fields: LogLine) =>
    log.filter((line) => Object.entries(fields).every(([name, value]) => line[name] === value));
  return {
    logged,
    waitForLog: (fields) => waitFor(() => logged(fields)[0], { what: `the log line ${JSON.stringify(fields)}` }),
  };
}

async function readMetric(httpUrl: string, name: string, labels: Readonly<Record<string, string>>): Promise<number> {
  const text = await scrape(httpUrl);
  for (const [, series, inBraces = '', value] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm)) {
    const found = Object.fromEntries(
      [...inBraces.matchAll(/([a-z_]+)="([^"]*)"/g)].map(([, key, text]) => [key, text]),
    );
    const same = Object.entries(labels).every(([key, wanted]) => found[key] === wanted);
    if (series === name && same) return Number(value);
  }
  return 0;
}

function fail(message: string): never {
  throw new Error(message);
}
