/** A heavy organisation beside a light one, on the real queue. Counted in mails, not in time. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import pino from 'pino';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { createGraphileJobRunner } from '../adapters/graphile/job-runner.ts';
import { createPostgresExtractionStore } from '../adapters/postgres/extraction-store.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPostgresWaitingMessages } from '../adapters/postgres/waiting-messages.ts';
import { createExtractor, type Extractor } from '../documents/extractor.ts';
import type { WaitingMessage } from '../ports/waiting-messages.ts';
import { createBoundedLines } from '../telemetry/bounded-lines.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { addOrganisation, newMessage, openTestPool, type TestPool } from '../testing/postgres-fixtures.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';
import { createFairShare } from './fair-share.ts';
import { createTasks } from './tasks.ts';

const log = pino({ level: 'silent' });
const mail = Buffer.from('Content-Type: text/csv; name=order.csv\r\n\r\nsku;amount\r\n');

interface Worker {
  /** Slugs, in the order in which messages were finished. */
  readonly finished: readonly string[];
  start(): Promise<void>;
}

/** Organisations with so many messages each, queued one organisation after the other, and the worker that reads them. */
async function openWorker(
  t: TestContext,
  database: TestPool,
  mails: Readonly<Record<string, number>>,
  o: { readonly slots: number; readonly fails?: (message: WaitingMessage, attempt: number) => boolean },
): Promise<Worker> {
  const { pool, url } = database;
  const objects = await createFileObjectStore({ rootDir: await temporaryFolder(t) });
  const messages = createPostgresMessageStore({ pool });
  const slugs = new Map<string, string>();
  for (const [slug, count] of Object.entries(mails)) {
    const orgId = await addOrganisation(pool, slug);
    slugs.set(orgId, slug);
    for (let i = 0; i < count; i++) {
      const message = newMessage(orgId);
      await objects.put(message.rawStorageKey, mail);
      await messages.record([[message]]);
    }
  }
  const finished: string[] = [];
  const reader = createExtractor({
    objects,
    store: createPostgresExtractionStore({ pool }),
    log,
    lines: createBoundedLines({ log }),
    metrics: createMetrics(),
  });
  const known = new Set<string>();
  const extractor: Extractor = {
    ...reader,
    async extract(job, run) {
      if (o.fails?.({ ...job, traceId: '' }, run.attempt)) throw new Error('the store is away');
      await reader.extract(job, run);
      if (!known.has(job.inboundMessageId)) finished.push(slugs.get(job.orgId) ?? '');
      known.add(job.inboundMessageId);
    },
  };
  const share = createFairShare({ slots: o.slots, waiting: createPostgresWaitingMessages({ pool }), log });
  const courtesy = { mailSeen: () => {}, turn: async () => {}, close: () => {} };
  const runner = createGraphileJobRunner({
    url,
    pool,
    tasks: createTasks({ extractor, courtesy, share }),
    concurrency: o.slots,
    log,
    addMissingJobs: async () => 0,
  });
  cleanUp(t, () => runner.stop(100));
  return { finished, start: () => runner.start() };
}

async function readAll(worker: Worker, count: number): Promise<readonly string[]> {
  await worker.start();
  await waitFor(() => worker.finished.length === count, { timeoutMs: 60_000, what: 'all messages read' });
  return worker.finished;
}

describe('while one organisation has many mails waiting', () => {
  for (const slots of [1, 2, 4]) {
    it(`the one mail of another is read among the first, with ${slots} at a time`, async (t) => {
      const database = await openTestPool(t);
      const finished = await readAll(await openWorker(t, database, { heavy: 150, light: 1 }, { slots }), 151);
      assert.ok(finished.indexOf('light') <= 4 * slots, `it was number ${finished.indexOf('light') + 1}`);
    });
  }

  it('a third has its turn beside two that fill all slots, and each mail is read once', async (t) => {
    const database = await openTestPool(t);
    const mails = { first: 100, second: 100, third: 1, fourth: 3 };
    const finished = await readAll(await openWorker(t, database, mails, { slots: 4 }), 204);
    assert.ok(finished.indexOf('third') <= 20, `the third was number ${finished.indexOf('third') + 1}`);
    assert.ok(finished.lastIndexOf('fourth') <= 80, `the fourth ended as number ${finished.lastIndexOf('fourth') + 1}`);
    const { rows } = await database.pool.query(
      `SELECT count(*)::int AS documents, count(DISTINCT inbound_message_id)::int AS messages FROM document`,
    );
    assert.deepEqual(rows, [{ documents: 204, messages: 204 }]);
  });

  it('what fails when it is read ahead is tried again by its own job, and holds up nobody', async (t) => {
    const database = await openTestPool(t);
    let failures = 0;
    let heavy = '';
    const worker = await openWorker(
      t,
      database,
      { heavy: 60, light: 1 },
      {
        slots: 2,
        fails: ({ orgId }) => {
          heavy ||= orgId;
          return orgId !== heavy && failures++ === 0;
        },
      },
    );
    const finished = await readAll(worker, 61);
    assert.equal(finished.filter((slug) => slug === 'light').length, 1);
    assert.ok(failures >= 2, 'it failed once and was then read');
  });
});

describe('the share of an organisation', () => {
  const job = (orgId: string, inboundMessageId: string): WaitingMessage => ({ orgId, inboundMessageId, traceId: '' });
  const { signal } = new AbortController();

  it('costs no look for a first job, and one a second while nobody else waits', async () => {
    let looks = 0;
    const next = async (): Promise<null> => {
      looks++;
      return null;
    };
    const share = createFairShare({ slots: 2, waiting: { next }, log });
    await share.run(job('a', '0'), signal, async () => {});
    assert.equal(looks, 0);
    for (let i = 1; i < 100; i++) await share.run(job('a', String(i)), signal, async () => {});
    assert.equal(looks, 1);
  });

  it('is not lost when the look fails, or reading fails', async () => {
    const next = async (): Promise<never> => Promise.reject(new Error('the database is away'));
    const share = createFairShare({ slots: 1, waiting: { next }, log });
    await assert.rejects(
      share.run(job('a', '1'), signal, async () => Promise.reject(new Error('the store is away'))),
      /the store is away/,
    );
    const read: string[] = [];
    await share.run(job('a', '2'), signal, async ({ inboundMessageId }) => void read.push(inboundMessageId));
    assert.deepEqual(read, ['2']);
  });
});
