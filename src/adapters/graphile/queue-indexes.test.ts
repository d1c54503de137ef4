/** What a look into the queue reads when many jobs wait, in pages of 8 KB: no clock is asked. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type pg from 'pg';
import { pino } from 'pino';
import type { NewDocument } from '../../ports/extraction-store.ts';
import type { JobContext } from '../../ports/job-runner.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { pagesRead } from '../../testing/pages-read.ts';
import { addOrganisation, newMessage, openTestPool } from '../../testing/postgres-fixtures.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { createPostgresExtractionStore } from '../postgres/extraction-store.ts';
import { createPostgresJobOutbox } from '../postgres/job-outbox.ts';
import { createPostgresMessageStore } from '../postgres/message-store.ts';
import { migrate } from '../postgres/migrate.ts';
import { createPool } from '../postgres/pool.ts';
import { createQueuePool } from '../postgres/queue-pool.ts';
import { createGraphileJobRunner } from './job-runner.ts';

const log = pino({ level: 'silent' });
const WAITING = 20_000;
/** Whoever reads past the 20,000 waiting jobs of one task reads some 1,900; the jobs and their indexes are that large. */
const FEW_PAGES = 60;
const [EXTRACT, DOCUMENT] = ['extract_attachments', 'extract_document'];

interface House {
  readonly url: string;
  readonly pool: pg.Pool;
}

/** The server knows of the table nothing, what it was when it was empty, or what it is. */
async function openHouse(
  t: TestContext,
  waiting: readonly string[],
  known: 'nothing' | 'empty' | 'full' = 'empty',
  count = WAITING,
): Promise<House> {
  const house = await openTestPool(t);
  await house.pool.query('ALTER TABLE graphile_worker._private_jobs SET (autovacuum_enabled = off)');
  if (known === 'empty') await house.pool.query('ANALYZE graphile_worker._private_jobs');
  for (const task of waiting) await addWaiting(house.pool, task, count);
  if (known === 'full') await house.pool.query('ANALYZE graphile_worker._private_jobs');
  return house;
}

const addWaiting = (pool: pg.Pool, task: string, count: number) =>
  pool.query(
    `INSERT INTO graphile_worker._private_jobs (task_id, payload, key, run_at)
     SELECT task.id, json_build_object('document_id', gen_random_uuid(), 'org_id', gen_random_uuid(), 'trace_id', md5(n::text)),
       gen_random_uuid(), now() - interval '1 day' + n * interval '1 ms'
     FROM graphile_worker._private_tasks AS task, generate_series(1, $2::int) AS n WHERE task.identifier = $1`,
    [task, count],
  );

/** Runs jobs as the product does, one after the other, until graphile-worker has looked so often and run so many. */
async function runJobs({ url, pool: admin }: House, o: { looks: number; jobs: number }): Promise<number> {
  return pagesRead(admin, 'orderflow-queue', async () => {
    const pool = createQueuePool({ url, log });
    let [looks, jobs] = [0, 0];
    intercept(pool, (statement, query) => {
      if (statement.text.includes('skip locked')) looks++;
      return query();
    });
    const run = (_: unknown, { signal }: JobContext): Promise<void> =>
      ++jobs <= o.jobs
        ? Promise.resolve()
        : new Promise((_resolve, reject) => signal.addEventListener('abort', reject));
    const tasks = { [EXTRACT]: { run, giveUp: async () => {} } };
    const runner = createGraphileJobRunner({
      url,
      pool,
      tasks,
      concurrency: 1,
      log,
      addMissingJobs: async () => 0,
      sweepIntervalMs: 200,
    });
    await runner.start();
    const done = async () => {
      await pool.query(`SELECT pg_notify('jobs:insert', '{"count":1}')`);
      return looks >= o.looks && jobs >= o.jobs;
    };
    await waitFor(done, { timeoutMs: 20_000, what: 'looks for a job' }).finally(() => runner.stop(100));
    await pool.end();
  });
}

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

type Query = (...args: readonly unknown[]) => Promise<pg.QueryResult>;

/** Stands between the program and its connections: `through` runs a statement, or another one in its place. */
function intercept(pool: pg.Pool, through: (statement: Statement, query: Query) => Promise<unknown>): void {
  pool.on('connect', (client) => {
    const original = client.query.bind(client) as unknown as Query;
    const query = (...args: unknown[]): Promise<unknown> => {
      const [first, second] = args;
      // With a callback, or an object that sends itself: nothing of ours.
      if (args.some((one) => typeof one === 'function')) return original(...args);
      const statement =
        typeof first === 'string' ? { text: first, values: (second as unknown[]) ?? [] } : (first as Statement);
      return through(statement, (...others) => original(...(others.length > 0 ? others : args)));
    };
    Object.assign(client, { query });
  });
}

/** On a connection as intake and worker have them. */
function readBy({ url, pool: admin }: House, work: (pool: pg.Pool) => Promise<void>): Promise<number> {
  return pagesRead(admin, 'orderflow-looked-at', async () => {
    const pool = createPool({ url, applicationName: 'orderflow-looked-at', maxConnections: 1, log, byKeyOnly: true });
    await work(pool).finally(() => pool.end());
  });
}

describe('with many jobs waiting, few pages are read', () => {
  for (const known of ['nothing', 'empty', 'full'] as const) {
    it(`by a worker that finds none, and then a few behind those of another task, known as ${known}`, async (t) => {
      const house = await openHouse(t, [DOCUMENT], known);
      const pages = await runJobs(house, { looks: 12, jobs: 0 });
      assert.ok(pages < 12 * FEW_PAGES, `${pages} pages, and none found`);
      await addWaiting(house.pool, EXTRACT, 12);
      const more = await runJobs(house, { looks: 13, jobs: 12 });
      assert.ok(more < 12 * FEW_PAGES, `${more} pages, and twelve found`);
    });
  }

  for (const [known, count] of [
    ['empty', WAITING],
    // Few enough that PostgreSQL would sort them, and read twice as many pages as the bound.
    ['nothing', 1_000],
    ['nothing', WAITING],
  ] as const) {
    it(`by a worker that has ${count} of its own, of which ${known} is known`, async (t) => {
      const house = await openHouse(t, [DOCUMENT, EXTRACT], known, count);
      const pages = await runJobs(house, { looks: 13, jobs: 12 });
      assert.ok(pages < 12 * FEW_PAGES, `${pages} pages`);
    });
  }

  it('by the relay to Redis, whether it finds one or none behind those of another task', async (t) => {
    const house = await openHouse(t, [EXTRACT]);
    for (const waiting of [0, 1]) {
      await addWaiting(house.pool, DOCUMENT, waiting);
      const pages = await readBy(house, async (pool) => {
        const outbox = createPostgresJobOutbox({ pool });
        assert.equal(await outbox.handOver({ task: DOCUMENT, limit: 100, deliver: async () => [] }), waiting);
      });
      assert.ok(pages < FEW_PAGES, `${pages} pages`);
    }
  });

  it('by taking a mail and by finishing its extraction, also with plans made when nothing waited', async (t) => {
    const { url, pool: admin } = await openHouse(t, []);
    const pool = createPool({ url, applicationName: 'test', maxConnections: 1, log, byKeyOnly: true });
    cleanUp(t, () => pool.end());
    const looking = explainAddingJobs(pool);
    const orgId = await addOrganisation(admin, 'acme');
    for (let n = 0; n < 7; n++) await takeAndFinish(pool, orgId);
    for (const task of [EXTRACT, DOCUMENT]) await addWaiting(admin, task, WAITING);
    looking.explains = true;
    await takeAndFinish(pool, orgId);
    assert.ok(looking.pages.length >= 2, 'both were looked at');
    assert.ok(Math.max(...looking.pages) < FEW_PAGES, `${looking.pages} pages`);
  });
});

/** Statements that add jobs are executed under EXPLAIN, which counts what the functions in them read as well. */
function explainAddingJobs(pool: pg.Pool) {
  const looking = { explains: false, pages: [] as number[] };
  intercept(pool, async (statement, query) => {
    if (!looking.explains || !statement.text.includes('add_jobs')) return query();
    const { text, values } = statement;
    const { rows } = await query({ text: `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values });
    const plan = rows[0]?.['QUERY PLAN'][0].Plan;
    looking.pages.push(plan['Shared Hit Blocks'] + plan['Shared Read Blocks']);
    return { rows: [], rowCount: 0 };
  });
  return looking;
}

async function takeAndFinish(pool: pg.Pool, orgId: string): Promise<void> {
  const message = newMessage(orgId);
  await createPostgresMessageStore({ pool }).record([[message]]);
  const store = createPostgresExtractionStore({ pool });
  const taken = await store.take(message.id, orgId);
  assert.ok(taken);
  assert.ok(await store.finish(taken, { parts: [], documents: [document(orgId)], reading: null, failure: null }));
}

function document(orgId: string): NewDocument {
  const id = randomUUID();
  return {
    id,
    partPath: '1',
    fileName: 'order.pdf',
    mimeType: 'application/pdf',
    declaredMimeType: 'application/pdf',
    sizeBytes: 1,
    sha256: 'f'.repeat(64),
    storageKey: `${orgId}/2026/01/${id}.pdf`,
    status: 'STORED',
    error: null,
  };
}

describe('the indexes on the queue', () => {
  it('are made once, and again for a task that came back with another id; those of the old id go', async (t) => {
    const { url, pool } = await openTestPool(t);
    const names = async () =>
      (
        await pool.query<{ name: string }>(
          `SELECT indexname AS name FROM pg_indexes WHERE indexname LIKE 'orderflow%' ORDER BY indexname`,
        )
      ).rows.map(({ name }) => name);
    const first = await names();
    assert.equal(first.length, 3);
    await migrate({ url });
    assert.deepEqual(await names(), first);
    await pool.query('DELETE FROM graphile_worker._private_tasks WHERE identifier = $1', [DOCUMENT]);
    await migrate({ url });
    const second = await names();
    assert.equal(second.length, 3);
    assert.notDeepEqual(second, first);
  });
});
