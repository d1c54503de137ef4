/** The way of a job from the database to Redis: the worker is killed on it, and Redis goes away and comes back. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { redisClient, startTestRedis } from '../../src/testing/redis.ts';
import { scrape } from '../../src/testing/scrape.ts';
import type { Middlebox } from '../../src/testing/silent-way.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type FrontDoor, openFrontDoor, withClient } from './front-door.ts';
import { createLedger } from './ledger.ts';
import { deliverOnce } from './mail-queue.ts';
import { composeOrder } from './order-mail.ts';

const QUEUE = 'extract_document';
/** For each life of the worker: more than it hands over before it is killed. */
const JOBS = 4_000;

/**
 * kill -9 while jobs are handed over, a consumer being quick at the other end: every document reaches it, and none twice.
 * The sharp moment is when Redis has a job and our database does not know yet.
 */
export async function relayKilled(
  t: TestContext,
  o: { readonly kills: number; readonly told?: (line: string) => void },
): Promise<void> {
  const redis = await startTestRedis(t);
  if (redis === null) return;
  const { door, client, queue } = await openWithRedis(t, redis.url, ['--roles', 'worker,http']);
  const seen = startConsumer(t, redis.port);
  let [added, sharp] = [0, 0];
  let kills = 0;
  // Most kills meet the sharp moment; a run in which none does goes on.
  while (kills < o.kills || (sharp === 0 && kills < 4 * o.kills)) {
    kills++;
    added += await withClient(door.databaseUrl, addJobs);
    const enough = (await client.dbsize()) + randomInt(1, JOBS / 2);
    await waitFor(async () => (await client.dbsize()) > enough, { intervalMs: 1, what: 'jobs on their way' });
    await door.product.kill();
    sharp += await inBoth(door, client);
    await door.start();
  }
  await waitFor(async () => (await waiting(door)).length === 0, {
    timeoutMs: 60_000,
    what: 'the last job handed over',
  });
  const idle = async () => Object.values(await queue.getJobCounts('waiting', 'active')).every((count) => count === 0);
  await waitFor(idle, { timeoutMs: 60_000, what: 'the consumer' });
  (o.told ?? ((line) => t.diagnostic(line)))(`${kills} kills, ${added} jobs; ${sharp} were in Redis and the database`);
  assert.equal(new Set(seen).size, added, 'every document reaches the consumer');
  assert.equal(seen.length, added, 'none twice');
  assert.ok(sharp > 0, 'a kill met jobs that Redis had and the database did not let go yet');
  await door.product.stop();
}

/** Mail is taken and read while Redis is away; its jobs wait, for however long, and flow when it is there again. */
export async function redisAway(t: TestContext): Promise<void> {
  const redis = await startTestRedis(t, { stopped: true });
  if (redis === null) return;
  const { door, client, queue } = await openWithRedis(t, redis.url);
  const documents = async () => (await queue.getJobs(['waiting'])).map(({ id }) => id ?? '').sort();

  const first = await deliverAndParse(door, 3);
  assert.equal((await waiting(door)).length, first.length, 'the jobs of what came wait in the database');
  await redis.start();
  await waitFor(async () => (await waiting(door)).length === 0, { what: 'the jobs to reach Redis' });
  assert.deepEqual(await documents(), first);

  await redis.stop();
  const second = await deliverAndParse(door, 3);
  // Long enough for several attempts to connect: none of them is an attempt of a job.
  const failed = await failedAttempts(door);
  await waitFor(async () => (await failedAttempts(door)) >= failed + 2, { what: 'attempts to connect' });
  assert.deepEqual(
    await waiting(door),
    second.map(() => ({ attempts: 0, due: true })),
  );
  assert.equal((await fetch(`${door.product.httpUrl}/readyz`)).status, 200, 'still ready for mail');
  await redis.start();
  await waitFor(async () => (await waiting(door)).length === 0, { what: 'the jobs to reach Redis again' });
  await waitFor(() => client.status === 'ready', { what: 'our own connection' });
  assert.deepEqual(await documents(), [...first, ...second].sort());

  let expected = first.length + second.length;
  for (let round = 0; round < 3; round++) {
    expected += await withClient(door.databaseUrl, addJobs);
    await waitFor(async () => (await queue.getWaitingCount()) > expected - JOBS, {
      intervalMs: 1,
      what: 'jobs to flow',
    });
    await redis.stop();
    assert.ok((await waiting(door)).length > 0, 'it stopped in the middle');
    await redis.start();
    await waitFor(async () => (await waiting(door)).length === 0, { timeoutMs: 30_000, what: 'the rest to follow' });
    await waitFor(() => client.status === 'ready', { what: 'our own connection' });
    assert.equal(await queue.getWaitingCount(), expected, 'every job, none twice, wherever it stopped');
  }

  const told = door.product.log.filter(({ level }) => level === 'warn').map(({ msg }) => String(msg));
  assert.ok(told.length <= 2 + 4 * 2, `a line for each change, not for each attempt:\n${told.join('\n')}`);
  await door.product.stop();
}

/** The network forgets the relay's connection, twice: the jobs follow by another, and the database keeps none. */
export async function redisForgotten(
  t: TestContext,
  openWay: (t: TestContext, url: string) => Promise<Middlebox | null>,
  told = (line: string) => t.diagnostic(line),
): Promise<void> {
  const redis = await startTestRedis(t);
  if (redis === null) return;
  const way = await openWay(t, redis.url);
  if (way === null) return;
  const { door, queue } = await openWithRedis(t, redis.url, [], way.url);
  let expected = (await deliverAndParse(door, 1)).length;
  const handedOver = async () => (await waiting(door)).length === 0 && (await queue.getWaitingCount()) === expected;
  await waitFor(handedOver, { what: 'the first jobs in Redis' });
  for (let silence = 1; silence <= 2; silence++) {
    await way.silence();
    await way.speak();
    const spokeAt = performance.now();
    expected += (await deliverAndParse(door, 1)).length;
    await waitFor(handedOver, { timeoutMs: 30_000, what: 'the jobs in Redis after the silence' });
    told(`silence ${silence}: handed over after ${Math.round(performance.now() - spokeAt)} ms`);
  }
  await way.silence();
  await door.product.stop();
}

async function openWithRedis(
  t: TestContext,
  url: string,
  args: readonly string[] = [],
  productUrl = url,
): Promise<{ door: FrontDoor; client: Redis; queue: Queue }> {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const door = await openFrontDoor(t, { databaseUrl: database.url, env: { REDIS_URL: productUrl }, args });
  const client = redisClient(t, url);
  const queue = new Queue(QUEUE, { connection: client, skipVersionCheck: true, skipWaitingForReady: true });
  queue.on('error', () => {});
  return { door, client, queue };
}

/** Shape: what it was given, in order, grows. */
function startConsumer(t: TestContext, port: number): readonly string[] {
  const seen: string[] = [];
  const worker = new Worker(QUEUE, async ({ data }) => void seen.push(data.document_id), {
    connection: { host: '127.0.0.1', port },
    concurrency: 10,
  });
  worker.on('error', () => {});
  cleanUp(t, () => worker.close(true));
  return seen;
}

/** Jobs without documents: the way to Redis does not ask for them. */
async function addJobs(client: pg.Client): Promise<number> {
  await client.query(
    `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
       SELECT ('extract_document', json_build_object(
         'document_id', gen_random_uuid(), 'org_id', gen_random_uuid(), 'trace_id', 'trace'),
         NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec
       FROM generate_series(1, $1)))`,
    [JOBS],
  );
  return JOBS;
}

const WAITING = `
  FROM graphile_worker._private_jobs
  WHERE task_id = (SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'extract_document')`;

async function waiting({ databaseUrl }: FrontDoor): Promise<readonly { attempts: number; due: boolean }[]> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query(`SELECT attempts, run_at <= now() AS due ${WAITING}`);
    return rows;
  });
}

/** How many of the jobs that wait in the database Redis has already. */
async function inBoth({ databaseUrl }: FrontDoor, redis: Redis): Promise<number> {
  const keys = await withClient(databaseUrl, async (client) => {
    const { rows } = await client.query(`SELECT 'bull:${QUEUE}:' || (payload->>'document_id') AS key ${WAITING}`);
    return rows.map(({ key }) => String(key));
  });
  return keys.length === 0 ? 0 : redis.exists(...keys);
}

/** Shape: the ids of the documents that came of it, sorted. */
async function deliverAndParse(door: FrontDoor, mails: number): Promise<readonly string[]> {
  const ledger = createLedger();
  const before = await documentIds(door);
  for (let n = 0; n < mails; n++) {
    const mail = await composeOrder({ slugs: ['acme'], attachmentBytes: [2_000, 3_000] });
    assert.equal((await deliverOnce(door.port, mail, ledger)).code, 250);
  }
  await waitFor(async () => (await documentIds(door)).length === before.length + 2 * mails, { what: 'PARSED' });
  return (await documentIds(door)).filter((id) => !before.includes(id)).sort();
}

async function failedAttempts({ product }: FrontDoor): Promise<number> {
  const text = await scrape(product.httpUrl);
  return Number(/^smtp_processing_errors_total\{.*error_type="redis-unavailable".*\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

async function documentIds({ databaseUrl }: FrontDoor): Promise<readonly string[]> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query(
      `SELECT document.id FROM document JOIN inbound_message AS message ON message.id = inbound_message_id
       WHERE message.status = 'PARSED' AND document.status = 'STORED'`,
    );
    return rows.map(({ id }) => String(id));
  });
}
