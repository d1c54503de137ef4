import type { Readable } from 'node:stream';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
} from '@aws-sdk/client-s3';
import { isObjectKey, isObjectKeyPrefix } from '../../ports/keys.ts';
import { type ObjectFacts, type ObjectStore, type PutOptions, StoreError } from '../../ports/object-store.ts';
import type { Log } from '../../telemetry/log.ts';
import { createS3Client, defaultLimits, encryptionOf, type S3Limits, type S3Settings } from './client.ts';
import { isNoSuchKey, isNotFound, isNotImplemented, objectMissing, storeFault } from './errors.ts';
import { createRunOperation, type Operation, type SendOptions } from './operation.ts';
import { readBody } from './read.ts';
import { createSlots } from './slots.ts';
import { openSpool } from './spool.ts';
import { cutSignal, receive, upload, whole } from './upload.ts';

/** More at the same time make no store faster, and each holds a connection and some buffers. */
const MAX_REQUESTS = 64;
/** Of large bodies, so that a small mail waits for none of them. They take some 200 KiB each while they are sent. */
const MAX_LARGE_UPLOADS = 16;

/** Behind the prefix; no key can begin with `~`, so no list shows it. One name for all processes: put and removed, in whatever order. */
export const CHECK_KEY = '~check';

export interface S3ObjectStore extends ObjectStore {
  /** Closes idle connections. */
  close(): void;
}

export interface S3ObjectStoreOptions {
  readonly settings: S3Settings;
  /** On a disk, for bodies over PIECE_BYTES on their way. Made when missing; processes may share it. */
  readonly spoolDir: string;
  readonly log?: Log;
  readonly limits?: Partial<S3Limits>;
}

/**
 * Objects in a bucket of an S3-compatible store, shared by any number of processes.
 *
 * It asks the store nothing before it is used (`check` does): a bucket is never made here.
 * A put is one request with length and signed digest, so an object is there whole or not at all. One whose answer never
 * came may have been stored all the same: under a key that was never used it is removed again, as well as it goes.
 */
export async function createS3ObjectStore(options: S3ObjectStoreOptions): Promise<S3ObjectStore> {
  const { settings, log } = options;
  const { bucket, prefix = '' } = settings;
  const encryption = encryptionOf(settings);
  const limits = { ...defaultLimits, ...options.limits };
  const spool = await openSpool({ folder: options.spoolDir, ...(log && { log }) });
  const client = createS3Client(settings, limits);
  const run = createRunOperation({ client, settings, limits, log });
  const requestSlots = createSlots(MAX_REQUESTS);
  const largeSlots = createSlots(MAX_LARGE_UPLOADS);

  const inTurn = <T>(operation: Operation, work: (send: SendOptions) => Promise<T>): Promise<T> =>
    requestSlots(() => run(operation, work), operation.signal);

  /** The key as the bucket has it. */
  function checked(key: string): string {
    if (!isObjectKey(key)) throw new StoreError('store-unavailable', `not an object key: ${JSON.stringify(key)}`);
    return prefix + key;
  }

  async function put(key: string, content: Uint8Array | AsyncIterable<Uint8Array>, o: PutOptions = {}) {
    const { signal, mediaType, fresh = false } = o;
    const target = { bucket, key: checked(key), mediaType, encryption };
    const received = content instanceof Uint8Array ? whole(content, signal) : await receive(content, spool, signal);
    const { sizeBytes, body } = received;
    const inMemory = body instanceof Uint8Array;
    const cut = cutSignal(signal, received, limits.undoTimeoutMs);
    let begun = false;
    const send = () =>
      inTurn({ action: 'put', signal: cut.signal, bodyBytes: sizeBytes }, (how) => {
        begun = true;
        return upload(client, target, received, how);
      });
    try {
      await (inMemory ? send() : largeSlots(send, cut.signal));
      signal?.throwIfAborted();
    } catch (error) {
      if (fresh && begun) await undo(key);
      throw error;
    } finally {
      cut.done();
      if (!inMemory) await body.close();
    }
    return { sizeBytes };
  }

  /** No answer is no "no". Under a used key the same could be somebody's only copy, and stays. */
  async function undo(key: string): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: bucket, Key: checked(key) });
    const signal = AbortSignal.timeout(limits.undoTimeoutMs);
    await run({ action: 'remove', signal }, (how) => client.send(command, how)).catch((err: unknown) =>
      log?.debug({ err, key }, 'what a failed put may have stored could not be removed'),
    );
  }

  async function get(key: string, { signal }: { readonly signal?: AbortSignal } = {}) {
    const command = new GetObjectCommand({ Bucket: bucket, Key: checked(key) });
    const answer = await inTurn({ action: 'get', signal }, (how) =>
      client.send(command, how).catch((error: unknown) => {
        throw isNoSuchKey(error) ? objectMissing(key, error) : error;
      }),
    );
    return readBody({
      body: answer.Body as Readable,
      sizeBytes: answer.ContentLength,
      stallTimeoutMs: limits.stallTimeoutMs,
      signal,
      fault: (cause) => storeFault('read', cause, settings),
    });
  }

  async function head(key: string): Promise<ObjectFacts | null> {
    const command = new HeadObjectCommand({ Bucket: bucket, Key: checked(key) });
    return inTurn({ action: 'head' }, async (how) => {
      const answer = await client.send(command, how).catch(async (error: unknown) => {
        if (!isNotFound(error)) throw error;
        await assertBucketIsThere(how);
        return null;
      });
      if (answer === null) return null;
      return { key, sizeBytes: answer.ContentLength ?? 0, modifiedAt: answer.LastModified ?? new Date(0) };
    });
  }

  /** "Missing" is a verdict; a bucket that is gone is a fault, and must not look like a thousand lost mails. */
  async function assertBucketIsThere(how: SendOptions): Promise<void> {
    // With a prefix, the right to list may be for what lies under it alone.
    const asked =
      prefix === ''
        ? client.send(new HeadBucketCommand({ Bucket: bucket }), how)
        : client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 }), how);
    await asked.catch((error: unknown) => {
      throw isNotFound(error)
        ? Object.assign(new Error('no such bucket', { cause: error }), { name: 'NoSuchBucket' })
        : error;
    });
  }

  async function copy(fromKey: string, toKey: string): Promise<void> {
    const [source, target] = [checked(fromKey), checked(toKey)];
    if (fromKey === toKey) {
      // S3 refuses to copy an object to itself.
      if ((await head(fromKey)) === null) throw objectMissing(fromKey);
      return;
    }
    const command = new CopyObjectCommand({
      Bucket: bucket,
      CopySource: `${bucket}/${source}`,
      Key: target,
      ...encryption,
    });
    const copied = await inTurn({ action: 'copy' }, (how) =>
      client.send(command, how).then(
        () => true,
        (error: unknown) => {
          if (isNotImplemented(error)) return false;
          throw isNoSuchKey(error) ? objectMissing(fromKey, error) : error;
        },
      ),
    );
    if (!copied) await copyThroughHere(fromKey, toKey);
  }

  /** QUIRK: Ceph 16 copies no object that is encrypted, and answers 501. */
  async function copyThroughHere(fromKey: string, toKey: string): Promise<void> {
    const command = new HeadObjectCommand({ Bucket: bucket, Key: checked(fromKey) });
    const { ContentType: mediaType } = await inTurn({ action: 'copy' }, (how) => client.send(command, how));
    await put(toKey, await get(fromKey), mediaType === undefined ? {} : { mediaType });
  }

  async function remove(key: string): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: bucket, Key: checked(key) });
    await inTurn({ action: 'remove' }, (how) => client.send(command, how));
  }

  async function* list(begins: string): AsyncGenerator<ObjectFacts, void, undefined> {
    if (!isObjectKeyPrefix(begins))
      throw new StoreError('store-unavailable', `not a prefix: ${JSON.stringify(begins)}`);
    let token: string | undefined;
    do {
      const page = await inTurn({ action: 'list' }, (how) => listPage(prefix + begins, token, how));
      for (const { Key = '', Size: sizeBytes = 0, LastModified: modifiedAt = new Date(0) } of page.Contents ?? []) {
        const key = Key.slice(prefix.length);
        if (Key.startsWith(prefix) && isObjectKey(key)) yield { key, sizeBytes, modifiedAt };
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  function listPage(begins: string, token: string | undefined, how: SendOptions) {
    return client.send(
      new ListObjectsV2Command({ Bucket: bucket, Prefix: begins, ContinuationToken: token, MaxKeys: limits.pageKeys }),
      how,
    );
  }

  /** Past the queue: whether the store answers, not whether it is busy with our mails. */
  async function check(signal?: AbortSignal): Promise<void> {
    const target = { bucket, key: `${prefix}${CHECK_KEY}`, mediaType: 'text/plain', encryption };
    const content = await receive(singleByte(), spool, signal);
    await run({ action: 'check', signal }, async (how) => {
      await upload(client, target, content, how);
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: target.key }), how);
    });
  }

  return { put, get, head, copy, remove, list, check, close: () => client.destroy() };
}

async function* singleByte(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('.');
}
