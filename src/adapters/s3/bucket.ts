/** For the operator's commands: is the object storage as it has to be, and making the bucket when asked to. */
import { createHash, randomBytes } from 'node:crypto';
import { CreateBucketCommand, DeleteObjectCommand, HeadBucketCommand, type S3Client } from '@aws-sdk/client-s3';
import { StoreError } from '../../ports/object-store.ts';
import { createS3Client, defaultLimits, encryptionOf, type S3Limits, type S3Settings } from './client.ts';
import { identityInWords } from './credentials.ts';
import { createRunOperation } from './operation.ts';
import { inWords, tryRights } from './rights.ts';
import { type UploadTarget, upload } from './upload.ts';

/** Somebody waits at a terminal: shorter than the limits of the server. */
const PROBE_LIMITS: S3Limits = { ...defaultLimits, answerTimeoutMs: 4_000, operationTimeoutMs: 8_000 };

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
    const at = probeTarget(settings);
    const named = { Bucket: at.bucket, Key: at.key };
    try {
      const denied = await tryRights(client, run, settings, at);
      if (denied.length > 0) return { problem: await inWords(denied, client, settings), warnings: [] };
      const checks = await refusesOtherBytes(client, at, run);
      return { problem: null, warnings: checks ? [] : [NO_DIGEST_CHECK] };
    } catch (error) {
      // What was put is taken back as well as it goes; without the right to remove, it stays and the problem says so.
      await run({ action: 'remove' }, (send) => client.send(new DeleteObjectCommand(named), send)).catch(() => {});
      return { problem: error instanceof Error ? error.message : String(error), warnings: [] };
    }
  });
}

/** Who we are to the store. Errors: `StoreError` when there are no credentials. */
export async function identifyToStore(settings: S3Settings): Promise<string> {
  return withClient(settings, {}, (client, run) =>
    run({ action: 'identify' }, () => identityInWords(client, settings)),
  );
}

const probeTarget = (settings: S3Settings): UploadTarget => ({
  bucket: settings.bucket,
  key: `${settings.prefix ?? ''}~probe-${randomBytes(6).toString('hex')}`,
  mediaType: undefined,
  encryption: encryptionOf(settings),
});

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
    return await work(client, createRunOperation({ client, settings, limits: all }));
  } finally {
    client.destroy();
  }
}

/** Whether the store compares the signed digest with what it received. */
async function refusesOtherBytes(
  client: S3Client,
  at: UploadTarget,
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
