/** What is there: rows, objects, jobs, read from tables, files, the bucket and Redis through none of the product's code. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, paginateListObjectsV2, type S3Client } from '@aws-sdk/client-s3';
import { Redis } from 'ioredis';
import pg from 'pg';
import { sha256 } from './order-mail.ts';

export type AuditedPlaces = {
  readonly databaseUrl: string;
  /** Where the jobs of the next stage go from the database; without it they stay there. */
  readonly redisUrl?: string | undefined;
  /** How long the extraction, and the way to Redis, may take to come to rest. */
  readonly restTimeoutMs?: number;
} & (
  | {
      /** Where the object store keeps its files. */
      readonly objectsDir: string;
    }
  | { readonly bucket: AuditedBucket }
);

export interface AuditedBucket {
  /** Straight to the store, not by a way that is in trouble. */
  readonly client: S3Client;
  readonly name: string;
}

/** Waits for rest. Shape: `waiting`, in words, are jobs that did not come to their end in time. */
export async function readFacts(o: AuditedPlaces): Promise<{ facts: Facts; waiting: readonly string[] }> {
  const client = new pg.Client({ connectionString: o.databaseUrl, application_name: 'audit' });
  client.on('error', () => {});
  await client.connect();
  const redis = o.redisUrl === undefined ? null : new Redis(o.redisUrl, { lazyConnect: true });
  try {
    await redis?.connect();
    const tasks = ['extract_attachments', ...(redis === null ? [] : ['extract_document'])];
    const waiting = await restOf(client, tasks, o.restTimeoutMs ?? 120_000);
    const rows = await readRows(client);
    const published = redis === null ? [] : await readPublishedJobs(redis);
    const objects = 'bucket' in o ? await readBucket(o.bucket) : await readFiles(o.objectsDir);
    return { facts: { ...rows, jobs: [...rows.jobs, ...published], ...objects }, waiting };
  } finally {
    redis?.disconnect();
    await client.end();
  }
}

/** Resolves when no job of these is left, or says what kept waiting. */
async function restOf(client: pg.Client, tasks: readonly string[], timeoutMs: number): Promise<readonly string[]> {
  const deadline = performance.now() + timeoutMs;
  for (let quiet = 0; ; ) {
    const { rows } = await client.query<{ told: string }>(
      `SELECT concat_ws(' ', task_identifier, 'attempts', attempts, 'locked by', locked_by, 'error', last_error) AS told
       FROM graphile_worker.jobs WHERE task_identifier = ANY ($1)`,
      [tasks],
    );
    quiet = rows.length === 0 ? quiet + 1 : 0;
    if (quiet === 2) return [];
    if (performance.now() > deadline) return rows.map(({ told }) => told);
    await sleep(200);
  }
}

interface MessageRow {
  readonly id: string;
  readonly slug: string;
  readonly org_id: string;
  readonly source_message_id: string;
  readonly status: string;
  /** Why it is FAILED; null otherwise. */
  readonly reason: string | null;
  readonly raw_storage_key: string;
  readonly raw_sha256: string;
  readonly size_bytes: string;
  readonly trace_id: string;
}

interface ConflictRow extends Omit<MessageRow, 'status' | 'reason'> {
  readonly inbound_message_id: string;
}

interface DocumentRow {
  readonly id: string;
  readonly org_id: string;
  readonly inbound_message_id: string;
  readonly file_name: string;
  readonly size_bytes: string;
  readonly sha256: string;
  readonly storage_key: string;
  readonly status: string;
}

interface JobRow {
  readonly document_id: string;
  readonly org_id: string;
  readonly trace_id: string;
}

export interface StoredFile {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Of a raw mail. */
  readonly messageId: string | null;
}

export interface Facts {
  readonly messages: readonly MessageRow[];
  readonly conflicts: readonly ConflictRow[];
  readonly documents: readonly DocumentRow[];
  readonly jobs: readonly JobRow[];
  readonly files: ReadonlyMap<string, StoredFile>;
  readonly leftovers: readonly string[];
}

async function readRows(client: pg.Client): Promise<Omit<Facts, 'files' | 'leftovers'>> {
  const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> => (await client.query<T>(sql)).rows;
  // One snapshot: four looks at a moving target would find what is not there.
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  const messages = await rows<MessageRow>(
    `SELECT message.id, slug, org_id, source_message_id, status, message.error_json->>'code' AS reason, raw_storage_key,
       raw_sha256, size_bytes, trace_id
     FROM inbound_message AS message JOIN org ON org.id = org_id`,
  );
  const conflicts = await rows<ConflictRow>(
    `SELECT conflict.id, slug, conflict.org_id, conflict.inbound_message_id, message.source_message_id,
       conflict.raw_storage_key, conflict.raw_sha256, conflict.size_bytes, conflict.trace_id
     FROM inbound_conflict AS conflict JOIN org ON org.id = conflict.org_id
     JOIN inbound_message AS message ON message.id = conflict.inbound_message_id`,
  );
  const documents = await rows<DocumentRow>('SELECT * FROM document');
  const jobs = await rows<JobRow>(
    `SELECT payload->>'document_id' AS document_id, payload->>'org_id' AS org_id, payload->>'trace_id' AS trace_id
     FROM graphile_worker._private_jobs AS job JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
     WHERE task.identifier = 'extract_document'`,
  );
  await client.query('COMMIT');
  return { messages, conflicts, documents, jobs };
}

/** Of the next stage, in its queue, whatever their ids there. Shape: as they were written in our database. */
async function readPublishedJobs(redis: Redis): Promise<readonly JobRow[]> {
  const keys = new Set<string>();
  for await (const found of redis.scanStream({ match: 'bull:extract_document:*', count: 1_000 }))
    for (const key of found as string[]) if (/:(?:\d+|[0-9a-f]{8}-[0-9a-f-]{27})$/.test(key)) keys.add(key);
  return Promise.all([...keys].map(async (key) => JSON.parse((await redis.hget(key, 'data')) ?? '{}') as JobRow));
}

async function readFiles(objectsDir: string): Promise<Pick<Facts, 'files' | 'leftovers'>> {
  const files = new Map<string, StoredFile>();
  const leftovers: string[] = [];
  for (const entry of await readdir(objectsDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const key = relative(objectsDir, path);
    if (key.startsWith('+incoming/')) {
      leftovers.push(key);
      continue;
    }
    files.set(key, describe(key, await readFile(path)));
  }
  return { files, leftovers };
}

/** By which the database knows the bucket; none of anybody's. */
const MARKS = '~seen';

async function readBucket({ client, name }: AuditedBucket): Promise<Pick<Facts, 'files' | 'leftovers'>> {
  const keys: string[] = [];
  for await (const page of paginateListObjectsV2({ client }, { Bucket: name }))
    keys.push(...(page.Contents ?? []).flatMap(({ Key }) => (Key === undefined || Key === MARKS ? [] : [Key])));
  const files = new Map<string, StoredFile>();
  const next = keys[Symbol.iterator]();
  const reader = async (): Promise<void> => {
    for (const key of next) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: name, Key: key }));
      files.set(key, describe(key, Buffer.from((await Body?.transformToByteArray()) ?? [])));
    }
  };
  await Promise.all(Array.from({ length: 8 }, reader));
  return { files, leftovers: [] };
}

function describe(key: string, bytes: Buffer): StoredFile {
  const messageId = key.endsWith('.eml') ? (/^Message-ID: *(<.*>)/im.exec(bytes.toString('latin1'))?.[1] ?? '') : null;
  return { sizeBytes: bytes.length, sha256: sha256(bytes), messageId };
}
