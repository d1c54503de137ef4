import { createHash } from 'node:crypto';
import { freeMemory, gather } from '../ports/gather.ts';
import { type ObjectStore, type StoredObject, StoreError } from '../ports/object-store.ts';
import type { Log } from '../telemetry/log.ts';
import { createHeaderBlock } from './header-block.ts';

/** A mail below this size is stored at once; 1,000 connections fill at most 256 MB, and an ordinary mail 16 KiB each. */
const PIECE_BYTES = 256 * 1024;

/** Honest headers have a few KiB, and memory is taken as they come; the rest of a longer one is stored, not held. */
export const MAX_HEADER_BLOCK_BYTES = 1024 * 1024;

export interface RawStore {
  /**
   * Streams a mail into the object store, counted and hashed on the way. Durable under every key when it resolves.
   * When it rejects, nothing is left under any of them.
   * Owns: drains `chunks`; holds the header block and what the object store holds.
   * Errors: `StoreError`, what `chunks` threw, or the signal's reason. Copies under way are waited for before that.
   */
  store(mail: {
    /** At least one, none twice, none ever used before: the first is written, the others are copies of it. */
    readonly keys: readonly string[];
    readonly chunks: AsyncIterable<Uint8Array>;
    readonly signal?: AbortSignal;
  }): Promise<StoredRawMail>;

  /** Removes, as well as it goes: a failure is logged, and what stays is an object without a row. Never rejects. */
  discard(keys: readonly string[]): Promise<void>;
}

export interface StoredRawMail {
  readonly sizeBytes: number;
  /** Units: lower-case hex. */
  readonly rawSha256: string;
  /** Digest of everything after the empty line that ends the header block. Units: lower-case hex. */
  readonly contentSha256: string;
  /** Line ends as sent, without the empty line; at most `MAX_HEADER_BLOCK_BYTES`. */
  readonly headerBlock: Uint8Array;
  readonly headerTruncated: boolean;
}

export function createRawStore(options: { readonly objects: ObjectStore; readonly log?: Log }): RawStore {
  const { objects, log } = options;

  async function discard(keys: readonly string[]): Promise<void> {
    await Promise.all(
      keys.map((key) =>
        objects
          .remove(key)
          .catch((err: unknown) => log?.error({ err, key }, 'an unneeded raw mail could not be removed')),
      ),
    );
  }

  /** Waits for all, also after one failed: a copy that ends later would be left behind. */
  async function copyToAll(fromKey: string, toKeys: readonly string[]): Promise<void> {
    const outcomes = await Promise.allSettled(toKeys.map((key) => objects.copy(fromKey, key)));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  return {
    async store({ keys, chunks, signal }) {
      const [firstKey, ...otherKeys] = keys;
      if (firstKey === undefined) throw new TypeError('a mail is stored under at least one key');
      const put: Put = (content) =>
        objects.put(firstKey, content, { mediaType: 'message/rfc822', fresh: true, ...(signal && { signal }) });
      const facts = createMailFacts();
      const stored = await storeFirst(put, chunks, facts, signal);
      try {
        const mail = facts.finish();
        if (stored.sizeBytes !== mail.sizeBytes) {
          throw new StoreError('store-unavailable', `the store took ${stored.sizeBytes} of ${mail.sizeBytes} bytes`);
        }
        await copyToAll(firstKey, otherKeys);
        signal?.throwIfAborted();
        return mail;
      } catch (error) {
        await discard(keys);
        throw error;
      }
    },
    discard,
  };
}

/** A mail of less than a piece goes to the store in one call; of a larger one no more than a piece is held. */
async function storeFirst(
  put: Put,
  chunks: AsyncIterable<Uint8Array>,
  facts: MailFacts,
  signal: AbortSignal | undefined,
): Promise<StoredObject> {
  const pieces = gather(chunks, PIECE_BYTES, signal);
  const first = await pieces.next();
  if (first.done === true) return put(new Uint8Array());
  facts.add(first.value);
  if (first.value.length >= PIECE_BYTES) return put(observed(first.value, pieces, facts));
  const stored = await put(first.value);
  // Sent and answered: nobody reads it any more.
  freeMemory(first.value);
  return stored;
}

async function* observed(first: Uint8Array, others: AsyncIterable<Uint8Array>, facts: MailFacts) {
  yield first;
  for await (const piece of others) {
    facts.add(piece);
    yield piece;
  }
}

type Put = (content: Uint8Array | AsyncIterable<Uint8Array>) => Promise<StoredObject>;

type MailFacts = ReturnType<typeof createMailFacts>;

/** Everything worth knowing of a mail's bytes, learned while they pass. */
function createMailFacts() {
  const raw = createHash('sha256');
  const content = createHash('sha256');
  const header = createHeaderBlock({ maxBytes: MAX_HEADER_BLOCK_BYTES });
  let sizeBytes = 0;
  return {
    add(piece: Uint8Array): void {
      sizeBytes += piece.length;
      raw.update(piece);
      const contentFrom = header.add(piece);
      if (contentFrom < piece.length) content.update(contentFrom === 0 ? piece : piece.subarray(contentFrom));
    },
    finish(): StoredRawMail {
      return { sizeBytes, rawSha256: raw.digest('hex'), contentSha256: content.digest('hex'), ...header.finish() };
    },
  };
}
