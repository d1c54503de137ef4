import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { createPostgresJobOutbox } from '../adapters/postgres/job-outbox.ts';
import { type JobPublisher, type JobToPublish, PublishError } from '../ports/job-publisher.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { openTestPool } from '../testing/postgres-fixtures.ts';
import { recordingLog } from '../testing/recording-log.ts';
import { waitFor } from '../testing/wait-for.ts';
import { createRelay } from './relay.ts';

/** A queue that takes everything, or does what the test says. */
function fakeQueue(over: Partial<JobPublisher> = {}) {
  const published: JobToPublish[] = [];
  const publisher: JobPublisher = {
    ready: async () => {},
    publish: async (jobs) => void published.push(...jobs),
    close: () => {},
    ...over,
  };
  return { published, publisher };
}

async function open(t: TestContext, publisher: JobPublisher, pollMs = 50) {
  const { pool } = await openTestPool(t);
  const { log, lines } = recordingLog();
  const relay = createRelay({ outbox: createPostgresJobOutbox({ pool }), publisher, log, pollMs });
  cleanUp(t, () => relay.stop(100));
  return { pool, relay, lines };
}

async function addJobs(pool: pg.Pool, count: number): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `WITH document AS (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)), added AS (
       SELECT count(*) FROM document, graphile_worker.add_job('extract_document', json_build_object(
         'document_id', id, 'org_id', gen_random_uuid(), 'trace_id', 'trace', 'traceparent', '00-1-2-01')))
     SELECT id FROM document, added`,
    [count],
  );
  return rows.map(({ id }) => id);
}

const countJobs = async (pool: pg.Pool): Promise<number> =>
  (await pool.query('SELECT FROM graphile_worker._private_jobs')).rowCount ?? 0;

describe('the relay to the queue of the next stage', { timeout: 60_000 }, () => {
  it('publishes what waits and what comes, each under its document id, with everything in its payload', async (t) => {
    const { published, publisher } = fakeQueue();
    const { pool, relay } = await open(t, publisher);
    const ids = await addJobs(pool, 250);
    relay.start();
    await waitFor(async () => (await countJobs(pool)) === 0, { what: 'the first jobs to be handed over' });
    ids.push(...(await addJobs(pool, 1)));
    await waitFor(() => published.length === ids.length, { what: 'the later job' });

    assert.deepEqual(published.map(({ id }) => id).sort(), ids.sort());
    for (const { id, payload } of published) {
      assert.equal(payload.document_id, id);
      assert.deepEqual(Object.keys(payload).sort(), ['document_id', 'org_id', 'trace_id', 'traceparent']);
    }
  });

  it('does not wait for the next look when it is woken', async (t) => {
    const { published, publisher } = fakeQueue();
    const { pool, relay } = await open(t, publisher, 3_600_000);
    relay.start();
    await sleep(100);
    await addJobs(pool, 1);
    relay.wake();
    await waitFor(() => published.length === 1, { what: 'the job' });
  });

  it('leaves the database alone while the queue cannot be reached', async (t) => {
    let mayPass = (): void => {};
    const reachable = new Promise<void>((resolve) => {
      mayPass = resolve;
    });
    const { published, publisher } = fakeQueue({ ready: () => reachable });
    const { pool, relay } = await open(t, publisher);
    const ids = await addJobs(pool, 3);
    relay.start();
    await sleep(300);
    assert.equal(published.length, 0);
    mayPass();
    await waitFor(() => published.length === ids.length, { what: 'the jobs' });
  });

  it('tries again when they were not acknowledged, and says nothing the publisher has said', async (t) => {
    const published: string[] = [];
    let refusals = 1;
    const { publisher } = fakeQueue({
      publish: async (jobs) => {
        if (refusals-- > 0) throw new PublishError('Redis is full');
        published.push(...jobs.map(({ id }) => id));
      },
    });
    const { pool, relay, lines } = await open(t, publisher);
    const ids = await addJobs(pool, 3);
    relay.start();
    await waitFor(() => published.length > 0, { what: 'the jobs' });
    assert.deepEqual([published.sort(), lines], [ids.sort(), []]);
  });

  it('keeps what is no job of ours out of the way, and says so', async (t) => {
    const { published, publisher } = fakeQueue();
    const { pool, relay, lines } = await open(t, publisher);
    await pool.query(`SELECT graphile_worker.add_job('extract_document', '{"document_id": "4711"}')`);
    const ids = await addJobs(pool, 1);
    relay.start();
    await waitFor(() => published.length === 1, { what: 'the good one' });
    assert.equal(published[0]?.id, ids[0]);
    await waitFor(async () => (await countJobs(pool)) === 1, { what: 'the good one to be forgotten' });
    assert.deepEqual(lines, ['error a job that is none cannot be published']);
  });

  it('says once that the database is away, and goes on', async (t) => {
    const { published, publisher } = fakeQueue();
    const { pool } = await openTestPool(t);
    const { log, lines } = recordingLog();
    const real = createPostgresJobOutbox({ pool });
    let failures = 2;
    const outbox = {
      handOver: (o: Parameters<typeof real.handOver>[0]) => (failures-- > 0 ? away() : real.handOver(o)),
    };
    const relay = createRelay({ outbox, publisher, log });
    cleanUp(t, () => relay.stop(100));
    await addJobs(pool, 1);
    relay.start();
    await waitFor(() => published.length === 1, { what: 'the job' });
    assert.deepEqual(lines, ['warn jobs could not be handed to the next stage, trying again']);
  });

  it('waits for the batch under way when it stops, and breaks off one that takes too long', async (t) => {
    for (const slowMs of [200, 3_600_000]) {
      const closed = new AbortController();
      const begun = Promise.withResolvers<void>();
      const { publisher } = fakeQueue({
        publish: async () => {
          begun.resolve();
          await sleep(slowMs, undefined, { signal: closed.signal });
        },
        close: () => closed.abort(),
      });
      const { pool, relay } = await open(t, publisher);
      await addJobs(pool, 1);
      relay.start();
      await begun.promise;
      await relay.stop(2_000);
      assert.equal(await countJobs(pool), slowMs === 200 ? 0 : 1);
    }
  });

  it('stops while it waits for the queue', async (t) => {
    const { publisher } = fakeQueue({
      ready: (signal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    });
    const { relay } = await open(t, publisher);
    relay.start();
    await relay.stop(60_000);
  });
});

const away = (): Promise<never> => Promise.reject(new Error(`the database is away ${randomUUID()}`));
