/** Which of the rights that the server needs the store denies us: each is tried with a probe object, which goes again. */
import { createHash, randomBytes } from 'node:crypto';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import { StoreError } from '../../ports/object-store.ts';
import type { S3Settings } from './client.ts';
import { identityInWords } from './credentials.ts';
import { isDenied, isNoSuchKey, isNotFound, saidOfIdentity } from './errors.ts';
import type { RunOperation, SendOptions } from './operation.ts';
import { type UploadTarget, upload } from './upload.ts';

/** Large enough to come in pieces. */
const PROBE_BYTES = 100_000;

export interface DeniedRight {
  readonly right: string;
  /** What the store said. */
  readonly message: string;
}

/**
 * Shape: those denied; none when objects can be written, read, listed and removed.
 * Errors: `StoreError` of anything else that is wrong.
 */
export async function tryRights(
  client: S3Client,
  run: RunOperation,
  settings: S3Settings,
  at: UploadTarget,
): Promise<readonly DeniedRight[]> {
  const denied: DeniedRight[] = [];
  const body = randomBytes(PROBE_BYTES);
  const sha256 = createHash('sha256').update(body).digest('hex');
  const named = { Bucket: at.bucket, Key: at.key };
  const { prefix = '' } = settings;
  /** Shape: whether it was granted. */
  const attempt = async (right: string, action: string, step: (send: SendOptions) => Promise<unknown>) => {
    try {
      await run({ action }, step);
      return true;
    } catch (error) {
      const { cause } = error as Error;
      if (!isDenied(cause)) throw error;
      denied.push({ right: namedIn(cause) ?? right, message: cause instanceof Error ? cause.message : '' });
      return false;
    }
  };
  const lists = await attempt('s3:ListBucket', 'list', (send) =>
    client.send(new ListObjectsV2Command({ Bucket: at.bucket, Prefix: prefix, MaxKeys: 1 }), send),
  );
  const puts = await attempt('s3:PutObject', 'put', (send) =>
    upload(client, at, { sizeBytes: body.length, sha256, body, sentWhole: false }, send),
  );
  // Whoever may not list is answered "denied" where an object is missing.
  if (puts || lists) {
    await attempt('s3:GetObject', 'get', (send) => readBack(client, named, puts ? body : null, at, send));
  }
  const removes = await attempt('s3:DeleteObject', 'remove', (send) =>
    client.send(new DeleteObjectCommand(named), send),
  );
  if (removes && lists) await run({ action: 'head' }, (send) => assertGone(client, named, send));
  return denied;
}

export async function inWords(denied: readonly DeniedRight[], client: S3Client, settings: S3Settings): Promise<string> {
  const { bucket, prefix = '' } = settings;
  const lacks = denied.map(({ right }) => {
    if (right.startsWith('kms:')) return `${right} on the key in OBJECT_STORAGE_KMS_KEY_ID`;
    return right === 's3:ListBucket'
      ? `${right} on arn:aws:s3:::${bucket}`
      : `${right} on arn:aws:s3:::${bucket}/${prefix}*`;
  });
  const who = await identityInWords(client, settings);
  return `access denied: ${who} lacks ${[...new Set(lacks)].join(', ')}${saidOfIdentity(denied[0]?.message ?? '')}`;
}

/** Amazon names the right, which may be one of the KMS. */
const namedIn = (error: unknown): string | undefined =>
  error instanceof Error ? /not authorized to perform: ((?:s3|kms):\w+)/.exec(error.message)?.[1] : undefined;

type Named = { readonly Bucket: string; readonly Key: string };

/** `written` null: nothing was put, and nothing is there. */
async function readBack(
  client: S3Client,
  named: Named,
  written: Uint8Array | null,
  { encryption }: UploadTarget,
  send: SendOptions,
): Promise<void> {
  const answer = await client.send(new GetObjectCommand(named), send).catch((error: unknown) => {
    if (written === null && isNoSuchKey(error)) return null;
    throw error;
  });
  if (answer === null || written === null) return;
  const read = (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
  if (!Buffer.from(read).equals(written)) {
    const message = `what was written (${written.length} bytes) is not what is read back (${read.length} bytes)`;
    throw new StoreError('store-unavailable', message);
  }
  if (encryption.ServerSideEncryption !== undefined && answer.ServerSideEncryption !== 'aws:kms') {
    const message = 'OBJECT_STORAGE_KMS_KEY_ID: the store took an object and did not encrypt it with this key';
    throw new StoreError('store-unavailable', message);
  }
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
