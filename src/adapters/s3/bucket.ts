/** For the operator's commands: is the object storage as it has to be, and making the bucket when asked to. */
import { createHash, randomBytes } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import { StoreError } from '../../ports/object-store.ts';
import { createS3Client, defaultLimits, type S3Limits, type S3Settings } from './client.ts';
import { isNotFound } from './errors.ts';
import { createRunOperation, type SendOptions } from './operation.ts';
import { upload } from './upload.ts';

/** Somebody waits at a terminal: shorter than the limits of the server. */
const PROBE_LIMITS: S3Limits = { ...defaultLimits, answerTimeoutMs: 4_000, operationTimeoutMs: 8_000 };

/** Large enough to come in pieces. */
const PROBE_BYTES = 100_000;

export interface ObjectStorageProbe {
  /** One line that names the setting to mend; null when objects can be written, read, listed and removed. */
  readonly problem: string | null;
  /** It works, but not as well as it should. One line each. */
  readonly warnings: readonly string[];
}

/** Puts an object, reads it back, lists and removes it. Errors: none; what fails is the problem. */
export async function probeObjectStorage(
  settings: S3Settings,
  limits?: Partial<S3Limits>,
): Promise<ObjectStorageProbe> {
  return withClient(settings, limits, async (client, run) => {
    const at = { bucket: settings.bucket, key: `~probe-${randomBytes(6).toString('hex')}`, mediaType: undefined };
    const body = randomBytes(PROBE_BYTES);
    const received = { sizeBytes: body.length, sha256: sha256(body), body, sentWhole: false };
    const named = { Bucket: at.bucket, Key: at.key };
    const steps: readonly (readonly [string, (send: SendOptions) => Promise<unknown>])[] = [
      ['list', (send) => client.send(new ListObjectsV2Command({ Bucket: at.bucket, MaxKeys: 1 }), send)],
      ['put', (send) => upload(client, at, received, send)],
      ['get', async (send) => assertSame(await readBack(client, named, send), body)],
      ['remove', (send) => client.send(new DeleteObjectCommand(named), send)],
      ['head', (send) => assertGone(client, named, send)],
    ];
    try {
      for (const [action, step] of steps) await run({ action }, step);
      const checks = await refusesOtherBytes(client, at, run);
      return { problem: null, warnings: checks ? [] : [NO_DIGEST_CHECK] };
    } catch (error) {
      // What was put is taken back as well as it goes; without the right to remove, it stays and the problem says so.
      await run({ action: 'remove' }, (send) => client.send(new DeleteObjectCommand(named), send)).catch(() => {});
      return { problem: error instanceof Error ? error.message : String(error), warnings: [] };
    }
  });
}

const NO_DIGEST_CHECK =
  'the store accepts an object whose bytes are not those of its signed sha256: it would not notice bytes that change on their way to it; use https://';

/**
 * Makes the bucket, unless it is there: `false` then.
 * Errors: `StoreError` in words, also when it belongs to somebody else.
 */
export async function createBucket(settings: S3Settings, limits?: Partial<S3Limits>): Promise<boolean> {
  const { bucket, endpoint } = settings;
  return withClient(settings, limits, (client, run) =>
    run({ action: 'create bucket' }, async (send) => {
      const there = await client.send(new HeadBucketCommand({ Bucket: bucket }), send).then(
        () => true,
        () => false, // The next request says why.
      );
      if (there) return false;
      return client.send(new CreateBucketCommand({ Bucket: bucket }), send).then(
        () => true,
        (error: unknown) => {
          const name = error instanceof Error ? error.name : '';
          if (name === 'BucketAlreadyOwnedByYou') return false;
          if (name !== 'BucketAlreadyExists') throw error;
          const message = `OBJECT_STORAGE_BUCKET: the name ${bucket} is taken by somebody else at ${endpoint}`;
          throw new StoreError('store-unavailable', message, { cause: error });
        },
      );
    }),
  );
}

async function withClient<T>(
  settings: S3Settings,
  limits: Partial<S3Limits> = {},
  work: (client: S3Client, run: ReturnType<typeof createRunOperation>) => Promise<T>,
): Promise<T> {
  const all = { ...PROBE_LIMITS, ...limits };
  const client = createS3Client(settings, all);
  try {
    return await work(client, createRunOperation({ settings, limits: all }));
  } finally {
    client.destroy();
  }
}

type Named = { readonly Bucket: string; readonly Key: string };

async function readBack(client: S3Client, named: Named, send: SendOptions): Promise<Uint8Array> {
  const answer = await client.send(new GetObjectCommand(named), send);
  return (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
}

function assertSame(read: Uint8Array, written: Uint8Array): void {
  if (Buffer.from(read).equals(written)) return;
  const message = `what was written (${written.length} bytes) is not what is read back (${read.length} bytes)`;
  throw new StoreError('store-unavailable', message);
}

async function assertGone(client: S3Client, named: Named, send: SendOptions): Promise<void> {
  const there = await client.send(new HeadObjectCommand(named), send).then(
    () => true,
    (error: unknown) => {
      if (isNotFound(error)) return false;
      throw error;
    },
  );
  if (there) throw new StoreError('store-unavailable', 'an object that was removed is still there');
}

/** Whether the store compares the signed digest with what it received. */
async function refusesOtherBytes(
  client: S3Client,
  at: Parameters<typeof upload>[1],
  run: ReturnType<typeof createRunOperation>,
): Promise<boolean> {
  const other = { sizeBytes: 5, sha256: sha256(Buffer.from('right')), body: Buffer.from('wrong'), sentWhole: false };
  const refused = await run({ action: 'put' }, (send) => upload(client, at, other, send)).then(
    () => false,
    () => true,
  );
  if (!refused) {
    await run({ action: 'remove' }, (send) =>
      client.send(new DeleteObjectCommand({ Bucket: at.bucket, Key: at.key }), send),
    );
  }
  return refused;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
