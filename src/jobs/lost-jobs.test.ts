/** With a real Redis, real consumers of BullMQ and a real database. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import type pg from 'pg';
import { createBullmqPublisher } from '../adapters/bullmq/job-publisher.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPostgresNextStageQueue } from '../adapters/postgres/next-stage-queue.ts';
import { createPostgresUnfinishedDocuments } from '../adapters/postgres/unfinished-documents.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { addOrganisation, newMessage, openTestPool } from '../testing/postgres-fixtures.ts';
import { recordingLog } from '../testing/recording-log.ts';
import { redisClient, startTestRedis } from '../testing/redis.ts';
import { waitFor } from '../testing/wait-for.ts';
import { createLostJobs } from './lost-jobs.ts';
import { createJobRequeue } from './requeue.ts';

const QUEUE = 'extract_document';

async function open(t: TestContext) {
  const redis = await startTestRedis(t);
  if (redis === null) return null;
  const { pool } = await openTestPool(t);
  const { log, lines } = recordingLog();
  const publisher = createBullmqPublisher({ url: redis.url, queueName: QUEUE, log, metrics: createMetrics() });
  cleanUp(t, () => publisher.close());
  await publisher.ready(AbortSignal.timeout(15_000));
  const documents = createPostgresUnfinishedDocuments({ pool });
  const lostJobs = createLostJobs({ documents, queue: publisher, ready: publisher.ready, log, olderThanMs: -1_000 });
  const queue = new Queue(QUEUE, { connection: redisClient(t, redis.url) });
  cleanUp(t, () => queue.close());
  const consume = (work: (id: string) => Promise<void>) => {
    const connection = { host: '127.0.0.1', port: redis.port };
    const worker = new Worker(QUEUE, async (job) => work(job.id ?? ''), {
      connection,
      stalledInterval: 200,
      lockDuration: 400,
    });
    worker.on('error', () => {});
    cleanUp(t, () => worker.close(true));
    return worker;
  };
  const requeue = createJobRequeue({ documents, queue: publisher });
  return { redis, pool, publisher, lostJobs, queue, consume, lines, requeue };
}

async function stored(pool: pg.Pool, count: number): Promise<readonly string[]> {
  const slug = `org-${randomUUID().slice(0, 8)}`;
  const orgId = await addOrganisation(pool, slug);
  const message = newMessage(orgId);
  await createPostgresMessageStore({ pool }).record([[message]]);
  await pool.query('DELETE FROM graphile_worker._private_jobs');
  const { rows } = await pool.query<{ id: string }>(
    `INSERT INTO document (id, org_id, inbound_message_id, part_path, file_name, mime_type, size_bytes, sha256, storage_key, status)
     SELECT gen_random_uuid(), $1, $2, n::text, 'order.pdf', 'application/pdf', 1, repeat('0', 64), 'key/' || n, 'STORED'
     FROM generate_series(1, $3) AS n RETURNING id`,
    [orgId, message.id, count],
  );
  return rows.map(({ id }) => id).sort();
}

const finish = (pool: pg.Pool, id: string): Promise<pg.QueryResult> =>
  pool.query(`UPDATE document SET status = 'EXTRACTED' WHERE id = $1`, [id]);

const payloads = (ids: readonly string[]) =>
  ids.map((id) => ({ id, payload: { document_id: id, org_id: randomUUID(), trace_id: 'trace' } }));

/** Its consumers take it and are gone, until BullMQ gives it up. */
async function killConsumers(o: NonNullable<Awaited<ReturnType<typeof open>>>): Promise<void> {
  while ((await o.queue.getFailedCount()) === 0) {
    const worker = o.consume(() => new Promise(() => {}));
    await waitFor(async () => (await o.queue.getFailedCount()) + (await o.queue.getActiveCount()) > 0, {
      what: 'the job',
    });
    await worker.close(true);
    // Whoever comes next finds its lock gone.
    const next = o.consume(() => new Promise(() => {}));
    await waitFor(async () => (await o.queue.getFailedCount()) > 0 || next.isRunning(), { what: 'the next consumer' });
    await sleep(700);
    await next.close(true);
  }
}

describe('jobs that the next stage has lost', { timeout: 120_000 }, () => {
  it('one whose consumers were killed is queued again, and done', async (t) => {
    const o = await open(t);
    if (o === null) return;
    const [id = ''] = await stored(o.pool, 1);
    await o.publisher.publish(payloads([id]));
    await killConsumers(o);
    assert.equal((await o.publisher.states([id])).get(id), 'lost');

    await o.lostJobs.look();

    assert.equal((await o.publisher.states([id])).get(id), 'live');
    o.consume((document) => finish(o.pool, document).then(() => {}));
    await waitFor(async () => (await o.queue.getCompletedCount()) === 1, { what: 'the job to be done' });
    await o.lostJobs.look();
    assert.deepEqual(o.lines.slice(1), ['warn jobs that the next stage had lost are queued again']);
  });

  it('all that Redis has forgotten are queued again, once, and nothing that waits in the database', async (t) => {
    const o = await open(t);
    if (o === null) return;
    const ids = await stored(o.pool, 700);
    const [waiting = '', done = '', ...lost] = ids;
    await o.pool.query(
      `SELECT graphile_worker.add_job('extract_document', '{}', job_key => 'extract_document:' || $1)`,
      [waiting],
    );
    await finish(o.pool, done);

    await o.lostJobs.look();
    await o.lostJobs.look();

    const queued = await o.queue.getJobs(['waiting'], 0, 1_000);
    assert.deepEqual(queued.map((job) => job.id).sort(), lost);
    const { rows } = await o.pool.query('SELECT org_id FROM document LIMIT 1');
    const { document_id, ...rest } = queued[0]?.data ?? {};
    assert.deepEqual(
      [document_id, rest],
      [queued[0]?.id, { org_id: rows[0].org_id, trace_id: newMessage('').traceId }],
    );
    assert.equal(o.lines.length, 3, o.lines.join('\n')); // Two pages.
  });

  it('what a consumer gave up stays given up, and is told once; by hand it gets all of its attempts again', async (t) => {
    const o = await open(t);
    if (o === null) return;
    const [id = ''] = await stored(o.pool, 1);
    await o.publisher.publish(payloads([id]));
    const worker = o.consume(() => Promise.reject(new UnrecoverableError('no table in it')));
    await waitFor(async () => (await o.queue.getFailedCount()) === 1, { what: 'the job to fail' });
    await worker.close();
    await o.lostJobs.look();
    await o.lostJobs.look();
    assert.equal(await o.queue.getFailedCount(), 1);
    assert.deepEqual(o.lines.slice(1), [
      'warn jobs of the next stage have failed for good: jobs requeue tries them again',
    ]);

    assert.deepEqual(await o.requeue.document(id), { requeued: [id], live: 0 });
    assert.deepEqual(await o.requeue.document(id), { requeued: [], live: 1 });
    const job = await o.queue.getJob(id);
    assert.deepEqual([await job?.getState(), job?.attemptsMade], ['waiting', 0]);
  });

  it('a consumer that writes no status is not given its past again', async (t) => {
    const o = await open(t);
    if (o === null) return;
    const [forgotten = '', ...ids] = await stored(o.pool, 4);
    await o.publisher.publish(payloads(ids));
    o.consume(async () => {});
    await waitFor(async () => (await o.queue.getCompletedCount()) === 3, { what: 'the jobs to be done' });
    await o.lostJobs.look();
    await o.lostJobs.look();
    assert.equal((await o.publisher.states([forgotten])).get(forgotten), 'missing');
    assert.equal(o.lines.slice(1).length, 1);
    assert.match(o.lines[1] ?? '', /leaves their documents STORED/);
    // By hand, whoever knows better.
    const { requeued } = await o.requeue.storedBefore(new Date(Date.now() + 1_000));
    assert.equal(requeued.length, 4);
  });

  it('one that kills every consumer is not given to them for ever', async (t) => {
    const o = await open(t);
    if (o === null) return;
    const [id = ''] = await stored(o.pool, 1);
    await o.publisher.publish(payloads([id]));
    await killConsumers(o);
    const client = redisClient(t, o.redis.url);
    await client.hset(o.queue.toKey(id), 'stc', '12');
    await o.lostJobs.look();
    assert.equal((await o.publisher.states([id])).get(id), 'failed');
  });

  it('looks by itself once it is started, and ends with a Redis that is away', async (t) => {
    const o = await open(t);
    if (o === null) return;
    const [id = ''] = await stored(o.pool, 1);
    o.lostJobs.start();
    await waitFor(async () => (await o.publisher.states([id])).get(id) === 'live', { what: 'the job' });
    await o.redis.stop();
    await o.lostJobs.stop();
  });
});

describe('jobs requeue, with the queue in the database', { timeout: 60_000 }, () => {
  it('adds what is missing, wakes what has no attempt left, and leaves what waits or is worked on', async (t) => {
    const { pool } = await openTestPool(t);
    const [missing = '', exhausted = '', waits = '', worked = '', done = ''] = await stored(pool, 5);
    await finish(pool, done);
    for (const id of [exhausted, waits, worked]) {
      await pool.query(
        `SELECT graphile_worker.add_job('extract_document', json_build_object('document_id', $1::text), job_key => 'extract_document:' || $1)`,
        [id],
      );
    }
    const jobs = 'graphile_worker._private_jobs';
    await pool.query(`UPDATE ${jobs} SET attempts = max_attempts WHERE key = 'extract_document:' || $1`, [exhausted]);
    await pool.query(`UPDATE ${jobs} SET locked_at = now(), locked_by = 'x' WHERE key = 'extract_document:' || $1`, [
      worked,
    ]);
    const documents = createPostgresUnfinishedDocuments({ pool });
    const requeue = createJobRequeue({ documents, queue: createPostgresNextStageQueue({ pool }) });

    const { requeued, live } = await requeue.storedBefore(new Date(Date.now() + 1_000));

    assert.deepEqual([[...requeued].sort(), live], [[missing, exhausted].sort(), 2]);
    const { rows } = await pool.query(
      `SELECT payload->>'document_id' AS id, attempts, payload->>'org_id' IS NOT NULL AS whole FROM ${jobs} ORDER BY 1`,
    );
    assert.deepEqual(
      rows,
      [missing, exhausted, waits, worked]
        .sort()
        .map((id) => ({ id, attempts: 0, whole: [missing, exhausted].includes(id) })),
    );
    assert.equal(((await requeue.document(done)) as { done: { status: string } }).done.status, 'EXTRACTED');
    assert.equal(await requeue.document(randomUUID()), null);
  });
});
