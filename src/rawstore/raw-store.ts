import type { ScannedHeader } from '../mime/index.ts';
import { type ByteReader, gather, type Rooms } from '../ports/gather.ts';
import { type ObjectStore, PUT_AT_ONCE_BYTES, type StoredObject, StoreError } from '../ports/object-store.ts';
import type { Log } from '../telemetry/log.ts';
import { createHashThread, digestsOf, type MailHasher } from './digests.ts';
import { createHeaderWatch, type HeaderWatch } from './header-watch.ts';
import { createRooms } from './rooms.ts';

/** 1,000 connections fill at most 256 MB, and an ordinary mail 16 KiB each. */
const PIECE_BYTES = PUT_AT_ONCE_BYTES;

export interface RawStore {
  /**
   * Streams a mail into the object store, counted and hashed on the way. Durable under every key when it resolves.
   * When it rejects, nothing is left under any of them.
   * Owns: drains `body`; holds what `createHeaderScan` and the object store hold.
   * Errors: `StoreError`, what `body` threw, or the signal's reason. Copies under way are waited for before that.
   */
  store(mail: {
    /** At least one, none twice, none ever used before: the first is written, the others are copies of it. */
    readonly keys: readonly string[];
    readonly body: AsyncIterable<Uint8Array> | ByteReader;
    /** Called once, as soon as the end of the header is known. */
    readonly onHeader?: (header: ScannedHeader) => void;
    readonly signal?: AbortSignal;
  }): Promise<StoredRawMail>;

  /** Removes, as well as it goes: a failure is logged, and what stays is an object without a row. Never rejects. */
  discard(keys: readonly string[]): Promise<void>;
}

export interface StoredRawMail {
  readonly sizeBytes: number;
  /** Units: lower-case hex. */
  readonly rawSha256: string;
  /** Digest of everything after the empty line that ends the header block; says nothing where the header is not plain. */
  readonly contentSha256: string;
  readonly header: ScannedHeader;
}

export function createRawStore(options: { readonly objects: ObjectStore; readonly log?: Log }): RawStore {
  const { objects, log } = options;
  const rooms = createRooms(PIECE_BYTES);
  const digests = createHashThread();

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
    async store({ keys, body, onHeader, signal }) {
      const [firstKey, ...otherKeys] = keys;
      if (firstKey === undefined) throw new TypeError('a mail is stored under at least one key');
      const put: Put = (content) =>
        objects.put(firstKey, content, { mediaType: 'message/rfc822', fresh: true, ...(signal && { signal }) });
      const { stored, facts } = await storeFirst(put, body, createHeaderWatch(onHeader), signal);
      try {
        const mail = await facts();
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

  /** A mail of less than a piece goes to the store in one call; of a larger one no more than a piece is held. */
  async function storeFirst(
    put: Put,
    body: AsyncIterable<Uint8Array> | ByteReader,
    header: HeaderWatch,
    signal: AbortSignal | undefined,
  ): Promise<Stored> {
    // Given back when the store is done, not when the mail is read: where it failed, a piece may still be on its way.
    const shared: Buffer[] = [];
    const lent: Rooms = {
      take(bytes) {
        const room = rooms.take(bytes);
        if (isShared(room)) shared.push(room);
        return room;
      },
      giveBack(room) {
        if (!isShared(room)) rooms.giveBack(room);
      },
    };
    try {
      const pieces = gather(body, PIECE_BYTES, signal, lent);
      const first = await pieces.next();
      if (first.done === true) return await storeSmall(put, new Uint8Array(), header);
      if (first.value.length < PIECE_BYTES) return await storeSmall(put, first.value, header);
      return await storeLarge(put, startingWith(first.value, pieces), header, digests.begin());
    } finally {
      for (const room of shared) rooms.giveBack(room);
    }
  }

  async function storeSmall(put: Put, bytes: Uint8Array, header: HeaderWatch): Promise<Stored> {
    const contentFrom = await header.push(bytes);
    const mail = { sizeBytes: bytes.length, ...digestsOf(bytes, contentFrom), header: header.finish() };
    const stored = await put(bytes);
    // Not where that failed: the store may still be sending it, and another mail would be written over it.
    rooms.giveBack(bytes);
    return { stored, facts: async () => mail };
  }

  /** Each piece is hashed by another thread while the store writes it. */
  async function storeLarge(
    put: Put,
    pieces: AsyncIterable<Uint8Array>,
    header: HeaderWatch,
    hasher: MailHasher,
  ): Promise<Stored> {
    let sizeBytes = 0;
    let hashed = Promise.resolve();
    async function* observed() {
      for await (const piece of pieces) {
        sizeBytes += piece.length;
        hashed = hasher.update(piece, await header.push(piece));
        // Awaited below, also when the store has failed meanwhile.
        hashed.catch(() => {});
        yield piece;
        await hashed;
      }
    }
    try {
      const stored = await put(observed());
      return { stored, facts: async () => ({ sizeBytes, ...(await hasher.finish()), header: header.finish() }) };
    } catch (error) {
      hasher.abandon();
      throw error;
    } finally {
      await hashed.catch(() => {});
    }
  }
}

const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer;

type Put = (content: Uint8Array | AsyncIterable<Uint8Array>) => Promise<StoredObject>;

/** In the store under its first key; what is still to be learned of it may fail. */
interface Stored {
  readonly stored: StoredObject;
  facts(): Promise<StoredRawMail>;
}

async function* startingWith<T>(first: T, others: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  yield first;
  yield* others;
}
