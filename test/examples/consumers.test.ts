/**
 * The consumers in `examples/` work, run outside of this repository: beside queue, database and store, also killed in the middle,
 * and behind the product itself. The one in JavaScript runs on the oldest Node at hand. The one in Python is run word for word, on
 * Debian's psycopg and boto3; for the package `bullmq`, which Debian has not, something stands in: see stand-in/bullmq.py. With
 * the package itself (3.0.4, redis-py 7.4.1) these tests were run by hand on 2026-11-29, and passed with longer waits: its first look at
 * stalled jobs comes after half a minute.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { Queue } from 'bullmq';
import type pg from 'pg';
import { pino } from 'pino';
import { jobOptions } from '../../src/adapters/bullmq/job-options.ts';
import { createBullmqPublisher } from '../../src/adapters/bullmq/job-publisher.ts';
import { createPostgresMessageStore } from '../../src/adapters/postgres/message-store.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { composeMail } from '../../src/testing/compose-mail.ts';
import { missing } from '../../src/testing/missing.ts';
import { addOrganisation, newMessage, openTestPool } from '../../src/testing/postgres-fixtures.ts';
import { startProduct } from '../../src/testing/product.ts';
import { redisClient, startTestRedis, type TestRedis } from '../../src/testing/redis.ts';
import { noS3Server, s3Environment, startS3Server } from '../../src/testing/s3-server.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { canRun, consumerLogin, type Language, startConsumer } from './consumer.ts';

type Put = (key: string, bytes: Buffer) => Promise<void>;

for (const language of ['JavaScript', 'Python'] as const) {
  describe(`the example consumer in ${language}`, { concurrency: true, timeout: 180_000 }, () => {
    it('reads documents from the folder of the file store', async (t) => {
      const dataDir = await temporaryFolder(t);
      await consume(t, language, { DATA_DIR: dataDir }, async (key, bytes) => {
        const path = join(dataDir, 'objects', key);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, bytes);
      });
    });

    it('reads documents from a bucket', async (t) => {
      const why = noS3Server();
      if (why !== null) return missing(t, 's3-server', why);
      const server = await startS3Server();
      cleanUp(t, () => server.close());
      const settings = await server.newBucket();
      await consume(t, language, s3Environment(settings), async (key, bytes) => {
        await server.client.send(new PutObjectCommand({ Bucket: settings.bucket, Key: key, Body: bytes }));
      });
      const { OBJECT_STORAGE_ACCESS_KEY, OBJECT_STORAGE_SECRET_KEY, ...others } = s3Environment(settings);
      const found = {
        AWS_ACCESS_KEY_ID: OBJECT_STORAGE_ACCESS_KEY ?? '',
        AWS_SECRET_ACCESS_KEY: OBJECT_STORAGE_SECRET_KEY ?? '',
      };
      await consume(t, language, { ...others, ...found, OBJECT_STORAGE_PREFIX: 'one/two' }, async (key, bytes) => {
        await server.client.send(new PutObjectCommand({ Bucket: settings.bucket, Key: `one/two/${key}`, Body: bytes }));
      });
    });

    it('killed three times in the middle of a document, the fourth finishes it', async (t) => {
      if (!(await canRun(t, language))) return;
      const redis = await startTestRedis(t);
      if (redis === null) return;
      const { pool, url } = await openTestPool(t);
      const dataDir = await temporaryFolder(t);
      let path = '';
      let file: Buffer = Buffer.alloc(0);
      const { id, orgId } = await storeDocument(
        pool,
        async (key, bytes) => {
          path = join(dataDir, 'objects', key);
          file = bytes;
          await mkdir(dirname(path), { recursive: true });
          await makePipe(path);
        },
        'acme',
      );
      const queue = openQueue(t, redis);
      await queue.add('extract_document', payloadOf(id, orgId), { jobId: id, ...jobOptions });
      const env = { DATA_DIR: dataDir, REDIS_URL: redis.url, DATABASE_URL: await consumerLogin(t, pool, url) };
      const halfAMinute = halfAMinuteOf(t, redis, queue);
      for (let time = 0; time < 6; time++) {
        const killed = await startConsumer(t, language, env);
        // By turns one that works on it, and one that only sees that it has no lock: the next gives it back to the queue.
        const key = time % 2 === 0 ? `${id}:lock` : 'stalled-check';
        await waitFor(() => halfAMinute.there(key), { timeoutMs: 30_000, what: `${key}, by consumer ${time}` });
        await killed.kill();
        await halfAMinute.pass(id);
      }
      await rm(path);
      await writeFile(path, file);
      const last = await startConsumer(t, language, env);
      await waitFor(() => last.told().length === 1, { timeoutMs: 30_000, what: 'the document' });
      const { rows } = await pool.query('SELECT status FROM document');
      assert.deepEqual(rows, [{ status: 'EXTRACTED' }]);
      assert.equal(await last.stop(), 0);
    });

    it('behind the product: what was mailed is EXTRACTED, also where a consumer is killed on it', async (t) => {
      await behindTheProduct(t, language);
    });
  });
}

/** Two documents of two organisations; a third job names a document under the wrong one. */
async function consume(t: TestContext, language: Language, store: Record<string, string>, put: Put): Promise<void> {
  if (!(await canRun(t, language))) return;
  const redis = await startTestRedis(t);
  if (redis === null) return;
  const { pool, url } = await openTestPool(t);
  const documents = [await storeDocument(pool, put, 'acme'), await storeDocument(pool, put, 'globex')];
  const stranger = await storeDocument(pool, put, 'initech');
  const log = pino({ level: 'silent' });
  const publisher = createBullmqPublisher({
    url: redis.url,
    queueName: 'extract_document',
    log,
    metrics: createMetrics(),
  });
  cleanUp(t, () => publisher.close());
  await publisher.ready(AbortSignal.timeout(10_000));
  const wrong = { ...stranger, orgId: documents[0]?.orgId ?? '' };
  await publisher.publish([...documents, wrong].map(({ id, orgId }) => ({ id, payload: payloadOf(id, orgId) })));

  const consumer = await startConsumer(t, language, {
    ...store,
    REDIS_URL: redis.url,
    DATABASE_URL: await consumerLogin(t, pool, url),
  });
  await waitFor(() => consumer.told().length === 2, { timeoutMs: 30_000, what: 'both documents' });
  const queue = openQueue(t, redis);
  await waitFor(async () => (await queue.getDelayedCount()) === 1, {
    what: 'the job of a stranger to wait for a retry',
  });

  assert.deepEqual(
    consumer
      .told()
      .map(({ documentId, sha256 }) => [documentId, sha256])
      .sort(),
    documents.map(({ id, sha256 }) => [id, sha256]).sort(),
  );
  const { rows } = await pool.query('SELECT id, status FROM document');
  assert.deepEqual(
    rows.map(({ id, status }) => `${id} ${status}`).sort(),
    [...documents.map(({ id }) => `${id} EXTRACTED`), `${stranger.id} STORED`].sort(),
  );
  assert.equal(await consumer.stop(), 0);
  assert.match(consumer.errors(), new RegExp(`^${stranger.id}: the document is not there$`, 'm'));
}

/** SMTP, PostgreSQL, Redis and the consumer, each a program of its own; the first document is stuck, the others are not. */
async function behindTheProduct(t: TestContext, language: Language): Promise<void> {
  if (!(await canRun(t, language))) return;
  const redis = await startTestRedis(t);
  if (redis === null) return;
  const { pool, url } = await openTestPool(t);
  const dataDir = await temporaryFolder(t);
  await addOrganisation(pool, 'acme');
  const product = await startProduct(t, { dataDir, env: { DATABASE_URL: url, REDIS_URL: redis.url } });
  const files = [1, 2, 3].map((n) => ({ fileName: `order-${n}.csv`, content: randomBytes(40_000).toString('hex') }));
  const sent = await sendRaw({
    port: product.smtpPort,
    from: 'buyer@customer.example',
    to: ['orders+acme@orderflow.example.com'],
    data: await composeMail({ attachments: files }),
  });
  assert.equal(sent.verdict.code, 250);
  const queue = openQueue(t, redis);
  await waitFor(async () => (await queue.getWaitingCount()) === 3, { what: 'three jobs in Redis', timeoutMs: 30_000 });

  const [first] = await queue.getWaiting(0, 0);
  const stuck = first?.id ?? '';
  const { rows } = await pool.query<{ key: string }>('SELECT storage_key AS key FROM document WHERE id = $1', [stuck]);
  const path = join(dataDir, 'objects', rows[0]?.key ?? '');
  const bytes = await readFile(path);
  await rm(path);
  await makePipe(path);
  const env = { DATA_DIR: dataDir, REDIS_URL: redis.url, DATABASE_URL: await consumerLogin(t, pool, url) };
  const killed = await startConsumer(t, language, env);
  await waitFor(() => killed.told().length === 2, { what: 'the two that are not stuck', timeoutMs: 30_000 });
  const halfAMinute = halfAMinuteOf(t, redis, queue);
  assert.ok(await halfAMinute.there(`${stuck}:lock`), 'it is in the middle of the other');
  await killed.kill();
  await halfAMinute.pass(stuck);
  await rm(path);
  await writeFile(path, bytes);

  const seesNoLock = await startConsumer(t, language, env);
  await waitFor(() => halfAMinute.there('stalled-check'), { what: 'a look at stalled jobs', timeoutMs: 30_000 });
  await seesNoLock.stop();
  await halfAMinute.pass(stuck);
  const last = await startConsumer(t, language, env);
  await waitFor(() => seesNoLock.told().length + last.told().length === 1, { what: 'the third', timeoutMs: 30_000 });
  assert.equal(await last.stop(), 0);
  const { rows: documents } = await pool.query<{ id: string; sha256: string; status: string }>(
    'SELECT id, sha256, status FROM document',
  );
  const told = [killed, seesNoLock, last].flatMap((each) => each.told());
  assert.deepEqual(
    told.map(({ documentId, sha256 }) => `${documentId} ${sha256} EXTRACTED`).sort(),
    documents.map(({ id, sha256, status }) => `${id} ${sha256} ${status}`).sort(),
    'each once, with the bytes that were mailed',
  );
  const mailed = files.map(({ content }) => createHash('sha256').update(content).digest('hex'));
  assert.deepEqual(documents.map(({ sha256 }) => sha256).sort(), mailed.sort());
  await product.stop();
}

/** Nobody writes to it: whoever reads it waits. */
const makePipe = async (path: string): Promise<void> => void (await promisify(execFile)('mkfifo', [path]));

function openQueue(t: TestContext, redis: TestRedis): Queue {
  const queue = new Queue('extract_document', { connection: redisClient(t, redis.url) });
  cleanUp(t, () => queue.close());
  return queue;
}

/** A lock, and the time between two looks at stalled jobs, are keys that go by themselves after half a minute. */
function halfAMinuteOf(t: TestContext, redis: TestRedis, queue: Queue) {
  const client = redisClient(t, redis.url);
  return {
    there: async (key: string): Promise<boolean> => (await client.exists(queue.toKey(key))) === 1,
    pass: async (jobId: string): Promise<void> =>
      void (await client.del(queue.toKey(`${jobId}:lock`), queue.toKey('stalled-check'))),
  };
}

const payloadOf = (id: string, orgId: string) => ({ document_id: id, org_id: orgId, trace_id: 'trace' });

interface StoredDocument {
  readonly id: string;
  readonly orgId: string;
  readonly sha256: string;
}

async function storeDocument(pool: pg.Pool, put: Put, slug: string): Promise<StoredDocument> {
  const orgId = await addOrganisation(pool, slug);
  const [id, bytes] = [randomUUID(), randomBytes(300_000)];
  const [key, sha256] = [`${orgId}/2026/03/${id}.pdf`, createHash('sha256').update(bytes).digest('hex')];
  await put(key, bytes);
  const message = newMessage(orgId);
  await createPostgresMessageStore({ pool }).record([[message]]);
  await pool.query(
    `INSERT INTO document (id, org_id, inbound_message_id, part_path, file_name, mime_type, size_bytes, sha256, storage_key,
       status) VALUES ($1, $2, $3, '1', 'order.pdf', 'application/pdf', $4, $5, $6, 'STORED')`,
    [id, orgId, message.id, bytes.length, sha256, key],
  );
  return { id, orgId, sha256 };
}
