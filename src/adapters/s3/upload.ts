/**
 * One object on its way into the store.
 *
 * S3 wants length and digest before the first byte of a body, and a stream has neither. What is at most one piece is
 * held in memory, anything longer waits in a spool file; both are then sent as one request with their digest signed
 * into it, so that the store refuses anything else than exactly these bytes. Multipart uploads would need no spool, but
 * 5 MiB of memory for each sender.
 */
import { createHash } from 'node:crypto';
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { gather } from '../../ports/gather.ts';
import type { encryptionOf } from './client.ts';
import type { SendOptions } from './operation.ts';
import type { Spool, SpoolFile } from './spool.ts';

/** Ordinary mails never touch the disk; 1,000 connections fill at most 256 MB, and an ordinary mail 16 KiB each. */
export const PIECE_BYTES = 256 * 1024;

export interface Received {
  readonly sizeBytes: number;
  /** Units: lower-case hex. */
  readonly sha256: string;
  readonly body: Uint8Array | SpoolFile;
  /** All of the body is on its way: from now on the store may have it, whether it answers or not. */
  sentWhole: boolean;
}

/** Drains the chunks. Owns: closes the spool file on any error; else the caller does. Errors: as `gather`, `StoreError`. */
export async function receive(
  chunks: AsyncIterable<Uint8Array>,
  spool: Spool,
  signal: AbortSignal | undefined,
): Promise<Received> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  let only: Uint8Array = new Uint8Array();
  let file: SpoolFile | null = null;
  try {
    for await (const piece of gather(chunks, PIECE_BYTES, signal)) {
      hash.update(piece);
      sizeBytes += piece.length;
      // A short piece is the last: its memory is ours.
      if (file === null && piece.length < PIECE_BYTES) only = piece;
      else {
        file ??= await spool.open();
        await file.write(piece);
      }
    }
    signal?.throwIfAborted();
  } catch (error) {
    await file?.close();
    throw error;
  }
  return { sizeBytes, sha256: hash.digest('hex'), body: file ?? only, sentWhole: false };
}

/** Bytes that are all there. Errors: the signal's reason. */
export function whole(bytes: Uint8Array, signal: AbortSignal | undefined): Received {
  signal?.throwIfAborted();
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { sizeBytes: bytes.length, sha256, body: bytes, sentWhole: false };
}

export interface UploadTarget {
  readonly bucket: string;
  /** With the prefix. */
  readonly key: string;
  readonly mediaType: string | undefined;
  readonly encryption: ReturnType<typeof encryptionOf>;
}

/** Sends what was received; the SDK may repeat it, each attempt from the first byte. Errors: those of the SDK. */
export async function upload(
  client: S3Client,
  target: UploadTarget,
  received: Received,
  send: SendOptions,
): Promise<void> {
  const { sizeBytes, sha256, body } = received;
  const inMemory = body instanceof Uint8Array;
  const command = new PutObjectCommand({
    Bucket: target.bucket,
    Key: target.key,
    ContentLength: sizeBytes,
    ContentType: target.mediaType ?? 'application/octet-stream',
    ...target.encryption,
    ...(inMemory && { Body: body }),
  });
  signDigest(command, sha256);
  if (inMemory) received.sentWhole = true;
  else attachBody(command, body, received);
  await client.send(command, send);
}

/**
 * The sender's signal, as a request with a body is to heed it: at once while the store lacks bytes, which it then throws
 * away. A body that was sent whole will be stored, and a removal would overtake it: then the answer is waited for, at
 * most `graceMs`.
 * Owns: `done` ends the listening.
 */
export function cutSignal(
  signal: AbortSignal | undefined,
  received: Received,
  graceMs: number,
): { readonly signal: AbortSignal; done(): void } {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = () => {
    const cut = () => controller.abort(signal?.reason);
    if (received.sentWhole) timer = setTimeout(cut, graceMs);
    else cut();
  };
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}

/** The signature covers this header: a store that speaks SigV4 compares it with what it received. */
function signDigest(command: PutObjectCommand, sha256: string): void {
  command.middlewareStack.add(
    (next) => (args) => {
      headersOf(args.request)['x-amz-content-sha256'] = sha256;
      return next(args);
    },
    { step: 'build', name: 'signDigest' },
  );
}

/** Below the SDK's retries, which repeat no request with a stream: each attempt gets a stream of its own here. */
function attachBody(command: PutObjectCommand, file: SpoolFile, received: Received): void {
  command.middlewareStack.add(
    (next) => async (args) => {
      const body = file.read();
      body.once('end', () => {
        received.sentWhole = true;
      });
      const broken = new Promise<never>((_, reject) => body.once('error', reject));
      try {
        return await Promise.race([
          next({ ...args, request: Object.assign(args.request as object, { body }) }),
          broken,
        ]);
      } finally {
        body.destroy();
      }
    },
    { step: 'deserialize', priority: 'low', name: 'attachBody' },
  );
}

function headersOf(request: unknown): Record<string, string> {
  return (request as { readonly headers: Record<string, string> }).headers;
}
