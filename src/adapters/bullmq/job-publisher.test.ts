import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { JobToPublish } from '../../ports/job-publisher.ts';
import { PublishError } from '../../ports/job-publisher.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { recordingLog } from '../../testing/recording-log.ts';
import { redisClient, startTestRedis } from '../../testing/redis.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { createBullmqPublisher } from './job-publisher.ts';

const QUEUE = 'extract_document';

function openPublisher(t: TestContext, url: string, urlFile: string | null = null) {
  const { log, lines, whole } = recordingLog();
  const metrics = createMetrics();
  const publisher = createBullmqPublisher({ url, urlFile, queueName: QUEUE, log, metrics, commandTimeoutMs: 1_500 });
  cleanUp(t, () => publisher.close());
  const ready = (timeoutMs = 15_000) => publisher.ready(AbortSignal.timeout(timeoutMs));
  return { publisher, ready, lines, whole, metrics };
}

function openQueue(t: TestContext, connection: Redis): Queue {
  const queue = new Queue(QUEUE, { connection });
  cleanUp(t, () => queue.close());
  return queue;
}

function newJob(): JobToPublish {
  const id = randomUUID();
  return { id, payload: { document_id: id, org_id: randomUUID(), trace_id: 'f'.repeat(32), traceparent: '00-a-b-01' } };
}

describe('publishing jobs to BullMQ', { concurrency: 4, timeout: 60_000 }, () => {
  it('adds each with its own id and the payload as it is', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { publisher, ready, lines } = openPublisher(t, redis.url);
    const jobs = [newJob(), newJob()];
    await ready();

    await publisher.publish(jobs);

    const waiting = await openQueue(t, redisClient(t, redis.url)).getWaiting();
    assert.deepEqual(
      waiting.map(({ id, name, data }) => ({ id, name, data })).sort((a, b) => (a.id ?? '').localeCompare(b.id ?? '')),
      jobs.map(({ id, payload }) => ({ id, name: QUEUE, data: payload })).sort((a, b) => a.id.localeCompare(b.id)),
    );
    assert.deepEqual(lines, [`info jobs are published to Redis`]);
  });

  it('goes on with the password that is in its file, when the one of before is refused', async (t) => {
    const redis = await startTestRedis(t, { args: ['--requirepass', 'hunter2'] });
    if (redis === null) return;
    const file = join(await temporaryFolder(t), 'url');
    const url = (password: string) => redis.url.replace('//', `//:${encodeURIComponent(password)}@`);
    await writeFile(file, `${url('hunter2')}\n`);
    const { publisher, ready, lines, whole } = openPublisher(t, url('hunter2'), file);
    await ready();
    await publisher.publish([newJob()]);
    const client = redisClient(t, url('hunter2'));
    await client.config('SET', 'requirepass', 'hunter/3@');
    // Those that have logged in stay; a restart or a failover ends that.
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await waitFor(() => lines.some((line) => line.includes('refuses our user name or password')), {
      what: 'the refusal to be told',
    });
    await writeFile(file, 'not whole');
    await sleep(2_500);
    await writeFile(file, `${url('hunter/3@')}\n`);
    await ready();
    await publisher.publish([newJob()]);
    assert.equal(await openQueue(t, client).getWaitingCount(), 2);
    assert.equal(lines.at(-1), 'info Redis can be used again');
    assert.doesNotMatch(whole.join(''), /hunter/);
  });

  it('adds none a second time: not while it waits, nor after it was done, nor after it has failed for good', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { publisher, ready } = openPublisher(t, redis.url);
    const [done, failing] = [newJob(), newJob()];
    await ready();
    await publisher.publish([done, failing]);
    await publisher.publish([done, failing]);

    const client = redisClient(t, redis.url);
    const queue = openQueue(t, client);
    assert.equal(await queue.getWaitingCount(), 2);
    const seen: unknown[] = [];
    // As a consumer may be set: it asks for finished jobs to be forgotten at once. The publisher's word counts.
    const worker = new Worker(
      QUEUE,
      async (job) => {
        seen.push(job.id);
        if (job.id === failing.id) throw new UnrecoverableError('cannot be read');
      },
      {
        connection: { host: '127.0.0.1', port: redis.port },
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      },
    );
    worker.on('error', () => {});
    cleanUp(t, () => worker.close(true));
    await waitFor(() => seen.length === 2, { what: 'both jobs to be worked on' });
    await waitFor(async () => (await queue.getActiveCount()) === 0, { what: 'both jobs to be over' });

    await publisher.publish([done, failing]);
    await sleep(50);

    assert.equal(await queue.getWaitingCount(), 0);
    assert.deepEqual(seen.sort(), [done.id, failing.id].sort());
    const counts = await queue.getJobCounts('completed', 'failed');
    assert.deepEqual(counts, { completed: 1, failed: 1 });
  });

  it('starts without Redis, says so once, counts each attempt, and publishes when it is there', async (t) => {
    const redis = await startTestRedis(t, { stopped: true });
    if (redis === null) return;
    const { publisher, ready, lines, metrics } = openPublisher(t, redis.url);
    await assert.rejects(ready(2_500));
    await assert.rejects(publisher.publish([newJob()]), PublishError);
    const refused = /^warn Redis refuses connections.*; extract_document jobs wait in the database, trying again$/;
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.match(lines[0] ?? '', refused);
    const { text } = await metrics.scrape();
    const count = Number(/error_type="redis-unavailable"\} (\d+)/.exec(text)?.[1]);
    assert.ok(count >= 2, text);

    await redis.start();
    await ready();
    await publisher.publish([newJob()]);

    assert.deepEqual(lines.slice(1), ['info Redis can be used again']);
  });

  it('finds the way back after Redis was stopped and started, script cache and all', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { publisher, ready } = openPublisher(t, redis.url);
    const [first, second] = [newJob(), newJob()];
    await ready();
    await publisher.publish([first]);
    await redis.stop();
    await assert.rejects(publisher.publish([second]), PublishError);
    await redis.start();
    await ready();
    await publisher.publish([first, second]);
    assert.equal(await openQueue(t, redisClient(t, redis.url)).getWaitingCount(), 2);
  });

  it('gives up on a Redis that is silent, and publishes when it speaks again', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { publisher, ready, lines } = openPublisher(t, redis.url);
    await ready();
    redis.freeze();
    await assert.rejects(publisher.publish([newJob()]), /gives no answer/);
    redis.thaw();
    await ready();
    await publisher.publish([newJob()]);
    assert.match(lines[1] ?? '', /^warn Redis gives no answer/);
  });

  it('ends soon when it is closed while Redis is silent', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { publisher, ready, lines } = openPublisher(t, redis.url);
    await ready();
    redis.freeze();
    const publishing = assert.rejects(publisher.publish([newJob()]), PublishError);
    await sleep(20);
    publisher.close();
    await publishing;
    assert.equal(lines.length, 1);
  });

  it('says what is wrong with a full Redis, and goes on when there is room', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { publisher, ready, lines } = openPublisher(t, redis.url);
    const client = redisClient(t, redis.url);
    await ready();
    await client.config('SET', 'maxmemory', '1');
    await assert.rejects(publisher.publish([newJob()]), /is full/);
    await assert.rejects(publisher.publish([newJob()]), /is full/);
    await client.config('SET', 'maxmemory', '0');
    await publisher.publish([newJob()]);
    assert.deepEqual(
      lines.slice(1).map((line) => line.replace(/;.*/, '')),
      ['warn Redis is full: it has reached its maxmemory', 'info Redis can be used again'],
    );
  });

  const secret = 'hunter2-not-for-logs';
  it('says that the password is wrong or wanted, and never which it is', async (t) => {
    const redis = await startTestRedis(t, { args: ['--requirepass', secret] });
    if (redis === null) return;
    const at = `127.0.0.1:${redis.port}`;
    for (const [url, words] of [
      [`redis://:${secret}-wrong@${at}`, /refuses our user name or password/],
      [`redis://somebody:${secret}@${at}`, /refuses our user name or password/],
      [redis.url, /wants a password, and REDIS_URL has none/],
    ] as const) {
      const { ready, lines } = openPublisher(t, url);
      await assert.rejects(ready(500));
      assert.match(lines.join('\n'), words);
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.doesNotMatch(lines.join('\n'), /hunter2/);
    }
    const right = openPublisher(t, `redis://:${secret}@${at}`);
    await right.ready();
    await right.publisher.publish([newJob()]);
  });

  it('never uses another database than the one asked for', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { ready, lines } = openPublisher(t, `${redis.url}/99`);
    await assert.rejects(ready(1_000));
    assert.match(lines.join('\n'), /has no database of the number in REDIS_URL/);
    assert.equal(lines.length, 1, lines.join('\n'));
    const third = openPublisher(t, `${redis.url}/3`);
    await third.ready();
    await third.publisher.publish([newJob()]);
    const client = redisClient(t, `${redis.url}/3`);
    assert.equal(await openQueue(t, client).getWaitingCount(), 1);
  });

  it('does not publish to a replica', async (t) => {
    const primary = await startTestRedis(t);
    if (primary === null) return;
    const replica = await startTestRedis(t, { args: ['--replicaof', `127.0.0.1 ${primary.port}`] });
    if (replica === null) return;
    const { ready, lines } = openPublisher(t, replica.url);
    await assert.rejects(ready(1_000));
    assert.match(lines.join('\n'), /is a read-only replica/);
  });

  it('warns of a Redis that throws jobs away or forgets them', async (t) => {
    const redis = await startTestRedis(t, { args: ['--maxmemory-policy', 'allkeys-lru', '--appendonly', 'no'] });
    if (redis === null) return;
    const { ready, lines } = openPublisher(t, redis.url);
    await ready();
    assert.match(lines.join('\n'), /warn Redis: maxmemory-policy is allkeys-lru/);
    assert.match(lines.join('\n'), /warn Redis: appendonly is off/);
  });
});
