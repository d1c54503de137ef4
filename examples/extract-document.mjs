/**
 * A consumer of `extract_document` jobs to start your own from: takes a job from BullMQ, reads the document's row as its
 * organisation, streams its bytes from the object store, and writes that it is done. docs/next-stage.md is the contract.
 *
 *   npm install bullmq@6.7.0 ioredis@6.0.0 pg@8.23.1 @aws-sdk/client-s3@3.1169.0
 *   REDIS_URL=… DATABASE_URL=… DATA_DIR=… node extract-document.mjs
 *
 * Node 20 or newer. The login in DATABASE_URL is one that was granted the role orderflow_next_stage. Where the objects are in a
 * bucket: OBJECT_STORAGE_ENDPOINT, _REGION, _BUCKET, _PREFIX, _ACCESS_KEY and _SECRET_KEY as the server has them, instead of DATA_DIR.
 * A job may come twice (we died before we could say it was done; Redis lost its data and was fed again), so whether there is
 * something to do is asked of the document's row, by its id.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';

/**
 * @typedef {object} Payload
 * @property {string} document_id
 * @property {string} org_id
 * @property {string} trace_id
 * @property {string} [traceparent] W3C Trace Context, while the product traces: what you trace goes on from there
 */

const CONCURRENCY = 4;
const { env } = process;
const connection = new Redis(required('REDIS_URL'), { maxRetriesPerRequest: null });
const pool = new pg.Pool({ connectionString: required('DATABASE_URL'), max: CONCURRENCY });
const open = env.OBJECT_STORAGE_ENDPOINT ? fromBucket(env.OBJECT_STORAGE_ENDPOINT) : fromFolder(required('DATA_DIR'));
// As many as a job has attempts. With BullMQ's default of 1, a job whose consumer is killed a second time has failed.
const MAX_STALLED_COUNT = 12;
const worker = new Worker('extract_document', extractDocument, {
  connection,
  concurrency: CONCURRENCY,
  maxStalledCount: MAX_STALLED_COUNT,
});

// Each may lose its connection; all of them come back by themselves.
for (const part of [connection, pool, worker]) {
  part.on('error', (error) => console.error(error.message));
}
worker.on('failed', (job, error) => console.error(`${job?.id}: ${error.message}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void stop());

/** @param {import('bullmq').Job<Payload>} job */
async function extractDocument({ data }) {
  const document = await readDocument(data);
  // It fails and is tried again: after a crash of the database a row may be back a moment later than its job.
  if (document === undefined) throw new Error('the document is not there');
  // Done before; or there is nothing to read: its bytes were never stored, or it was erased.
  if (document.status === 'EXTRACTED' || document.storage_key === null) return;

  const sha256 = createHash('sha256');
  // Here your extraction reads the bytes.
  for await (const chunk of await open(document.storage_key)) sha256.update(chunk);
  if (sha256.digest('hex') !== document.sha256) throw new Error('the object is not what was stored');

  await writeExtracted(data);
  const { file_name, mime_type } = document;
  console.log(JSON.stringify({ ...data, file_name, mime_type, sha256: document.sha256 }));
}

function readDocument({ document_id, org_id }) {
  return asOrganisation(org_id, async (client) => {
    const columns = 'file_name, mime_type, sha256, storage_key, status';
    const found = await client.query(`SELECT ${columns} FROM document WHERE id = $1`, [document_id]);
    return found.rows[0];
  });
}

/** What you extracted belongs into this transaction: then it is there once, however often the job comes. */
async function writeExtracted({ document_id, org_id }) {
  await asOrganisation(org_id, (client) =>
    client.query(`UPDATE document SET status = 'EXTRACTED' WHERE id = $1`, [document_id]),
  );
}

/** Row-level security: this transaction sees and writes the rows of one organisation only. */
async function asOrganisation(orgId, work) {
  const client = await pool.connect();
  let broken = true;
  try {
    await client.query('BEGIN');
    await client.query(`SELECT set_config('app.org_id', $1, true), set_config('role', 'orderflow_next_stage', true)`, [
      orgId,
    ]);
    const result = await work(client);
    await client.query('COMMIT');
    broken = false;
    return result;
  } finally {
    // A connection in doubt is closed, which also ends its transaction.
    client.release(broken);
  }
}

function fromFolder(dataDir) {
  return async (key) => createReadStream(join(dataDir, 'objects', key));
}

function fromBucket(endpoint) {
  const client = new S3Client({
    endpoint,
    region: env.OBJECT_STORAGE_REGION ?? 'us-east-1',
    forcePathStyle: true,
    // Without keys, the SDK finds credentials where it runs, as the server does.
    ...(env.OBJECT_STORAGE_ACCESS_KEY && {
      credentials: {
        accessKeyId: env.OBJECT_STORAGE_ACCESS_KEY,
        secretAccessKey: required('OBJECT_STORAGE_SECRET_KEY'),
        sessionToken: env.OBJECT_STORAGE_SESSION_TOKEN,
      },
    }),
  });
  const bucket = required('OBJECT_STORAGE_BUCKET');
  const prefix = (env.OBJECT_STORAGE_PREFIX ?? '').replace(/([^/])$/, '$1/');
  return async (key) => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: prefix + key }));
    return Body;
  };
}

function required(name) {
  const value = env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(2);
}

/** Jobs under way come to their end. */
async function stop() {
  await worker.close();
  await Promise.all([connection.quit(), pool.end()]);
}
