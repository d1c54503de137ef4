/**
 * The consumers in `examples/` work: the one in JavaScript is run outside of this repository, on the oldest Node at hand, also killed
 * in the middle; the one in Python at least compiled.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
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
import { bareEnvironment } from '../../src/testing/environment.ts';
import { missing } from '../../src/testing/missing.ts';
import { addOrganisation, newMessage, openTestPool } from '../../src/testing/postgres-fixtures.ts';
import { redisClient, startTestRedis } from '../../src/testing/redis.ts';
import { noS3Server, s3Environment, startS3Server } from '../../src/testing/s3-server.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');
const MODULES = join(import.meta.dirname, '../../node_modules');

type Put = (key: string, bytes: Buffer) => Promise<void>;

describe('the example consumers', { concurrency: true, timeout: 180_000 }, () => {
  it('in JavaScript: reads documents from the folder of the file store', async (t) => {
    const dataDir = await temporaryFolder(t);
    await consume(t, { DATA_DIR: dataDir }, async (key, bytes) => {
      const path = join(dataDir, 'objects', key);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, bytes);
    });
  });

  it('in JavaScript: reads documents from a bucket', async (t) => {
    const why = noS3Server();
    if (why !== null) return missing(t, 's3-server', why);
    const server = await startS3Server();
    cleanUp(t, () => server.close());
    const settings = await server.newBucket();
    await consume(t, s3Environment(settings), async (key, bytes) => {
      await server.client.send(new PutObjectCommand({ Bucket: settings.bucket, Key: key, Body: bytes }));
    });
    const { OBJECT_STORAGE_ACCESS_KEY, OBJECT_STORAGE_SECRET_KEY, ...others } = s3Environment(settings);
    const found = {
      AWS_ACCESS_KEY_ID: OBJECT_STORAGE_ACCESS_KEY ?? '',
      AWS_SECRET_ACCESS_KEY: OBJECT_STORAGE_SECRET_KEY ?? '',
    };
    await consume(t, { ...others, ...found, OBJECT_STORAGE_PREFIX: 'one/two' }, async (key, bytes) => {
      await server.client.send(new PutObjectCommand({ Bucket: settings.bucket, Key: `one/two/${key}`, Body: bytes }));
    });
  });

  it('in JavaScript: killed three times in the middle of a document, the fourth finishes it', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const { pool, url } = await openTestPool(t);
    const dataDir = await temporaryFolder(t);
    let path = '';
    let file: Buffer = Buffer.alloc(0);
    // A pipe that nobody writes to: whoever reads the document waits.
    const { id, orgId } = await storeDocument(
      pool,
      async (key, bytes) => {
        path = join(dataDir, 'objects', key);
        file = bytes;
        await mkdir(dirname(path), { recursive: true });
        await promisify(execFile)('mkfifo', [path]);
      },
      'acme',
    );
    const queue = new Queue('extract_document', { connection: redisClient(t, redis.url) });
    cleanUp(t, () => queue.close());
    await queue.add('extract_document', payloadOf(id, orgId), { jobId: id, ...jobOptions });
    const env = { DATA_DIR: dataDir, REDIS_URL: redis.url, DATABASE_URL: await consumerLogin(t, pool, url) };
    const redisNow = redisClient(t, redis.url);
    const there = async (key: string): Promise<boolean> => (await redisNow.exists(queue.toKey(key))) === 1;
    for (let time = 0; time < 6; time++) {
      const killed = await runConsumer(t, env);
      // By turns one that works on it, and one that only sees that it has no lock: the next gives it back to the queue.
      const key = time % 2 === 0 ? `${id}:lock` : 'stalled-check';
      await waitFor(() => there(key), { timeoutMs: 30_000, what: `${key}, by consumer ${time}` });
      await killed.kill();
      // What half a minute would bring.
      await redisNow.del(queue.toKey(`${id}:lock`), queue.toKey('stalled-check'));
    }
    await rm(path);
    await writeFile(path, file);
    const last = await runConsumer(t, env);
    await waitFor(() => last.lines.length === 1, { timeoutMs: 30_000, what: 'the document' });
    const { rows } = await pool.query('SELECT status FROM document');
    assert.deepEqual(rows, [{ status: 'EXTRACTED' }]);
    assert.equal(await last.stop(), 0);
  });

  it('in Python: compiles', async () => {
    const program = 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")';
    await promisify(execFile)('python3', ['-c', program, join(EXAMPLES, 'extract_document.py')]);
  });
});

/** Two documents of two organisations; a third job names a document under the wrong one. */
async function consume(t: TestContext, store: Record<string, string>, put: Put): Promise<void> {
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

  const consumer = await runConsumer(t, {
    ...store,
    REDIS_URL: redis.url,
    DATABASE_URL: await consumerLogin(t, pool, url),
  });
  await waitFor(() => consumer.lines.length === 2, { timeoutMs: 30_000, what: 'both documents' });
  const queue = new Queue('extract_document', { connection: redisClient(t, redis.url) });
  await waitFor(async () => (await queue.getDelayedCount()) === 1, {
    what: 'the job of a stranger to wait for a retry',
  });

  const told = consumer.lines.map((line) => JSON.parse(line) as { document_id: string; sha256: string });
  assert.deepEqual(
    told.map(({ document_id, sha256 }) => [document_id, sha256]).sort(),
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

/** A login that has the role of the next stage and nothing else, as docs/next-stage.md has an operator make it. */
async function consumerLogin(t: TestContext, pool: pg.Pool, url: string): Promise<string> {
  const login = `consumer_${randomBytes(4).toString('hex')}`;
  await pool.query(`CREATE ROLE ${login} LOGIN PASSWORD 'p'`);
  cleanUp(t, async () => void (await pool.query(`DROP ROLE ${login}`)));
  await pool.query(`GRANT orderflow_next_stage TO ${login}`);
  return Object.assign(new URL(url), { username: login, password: 'p' }).href;
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

/** A folder of its own, with the packages that its head names and nothing else of ours. */
async function installExample(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  const text = await readFile(join(EXAMPLES, 'extract-document.mjs'), 'utf8');
  const named = /^ \*\s+npm install (.*)$/m.exec(text)?.[1]?.split(' ') ?? [];
  assert.ok(named.length > 0, 'its head names packages');
  for (const name of named) {
    const [, packageName = '', version = ''] = /^(@?[^@]+)@(.+)$/.exec(name) ?? [];
    const at = join(MODULES, packageName);
    assert.equal(
      JSON.parse(await readFile(join(at, 'package.json'), 'utf8')).version,
      version,
      `${name} is the one of ours`,
    );
    await mkdir(dirname(join(folder, 'node_modules', packageName)), { recursive: true });
    await symlink(at, join(folder, 'node_modules', packageName));
  }
  await copyFile(join(EXAMPLES, 'extract-document.mjs'), join(folder, 'extract-document.mjs'));
  return folder;
}

/** That of the machine, where it is one that the README takes; the tests themselves run on a newer one. */
async function oldestNode(): Promise<string> {
  const path = '/usr/bin/node';
  const version = await promisify(execFile)(path, ['--version']).catch(() => ({ stdout: 'v0' }));
  return Number(/^v(\d+)/.exec(version.stdout)?.[1]) >= 20 ? path : process.execPath;
}

async function runConsumer(t: TestContext, env: Record<string, string>) {
  const folder = await installExample(t);
  const child = spawn(await oldestNode(), ['extract-document.mjs'], {
    cwd: folder,
    env: { ...bareEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = once(child, 'exit');
  cleanUp(t, async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  return {
    async kill(): Promise<void> {
      child.kill('SIGKILL');
      await exit;
    },
    lines: lines as readonly string[],
    errors: () => errors,
    async stop(): Promise<number | null> {
      child.kill('SIGTERM');
      const [code] = await exit;
      return code;
    },
  };
}
