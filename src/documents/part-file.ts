/**
 * One part on its way into the object store: counted, hashed and looked at while it flows.
 *
 * Its key depends on its type, and its type may depend on its first bytes; so the first PUT_AT_ONCE_BYTES are held back. A
 * part that ends within them, as most do, goes to the store in one call. Of a larger one bytes then go straight to the
 * store, whose pace holds up `write`.
 */
import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { type ObjectStore, PUT_AT_ONCE_BYTES } from '../ports/object-store.ts';
import { SNIFF_BYTES } from './media-type.ts';

/**
 * What may wait between the parser and the store of a part that flows, beside what was held back. A job has as many parts
 * open as messages are nested (20 at most), hence some 6 MB at the worst.
 */
const BUFFERED_BYTES = 64 * 1024;

export interface StoredPart {
  readonly storageKey: string;
  readonly mimeType: string;
  readonly sizeBytes: number;
  /** Units: lower-case hex. */
  readonly sha256: string;
}

export interface PartFile {
  /**
   * Resolves when more may be written; a store that fails is heard of in `finish`.
   * Owns: copies what it keeps; `bytes` are the caller's again when it resolves.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** All bytes are written. Errors: `StoreError`; then nothing is stored. */
  finish(): Promise<StoredPart>;
  /** The part will not end: nothing stays in the store. */
  abandon(): Promise<void>;
}

/** Where the bytes go, once it is known what they are. */
export interface Destination {
  readonly storageKey: string;
  readonly mimeType: string;
}

export function openPartFile(o: {
  readonly objects: ObjectStore;
  readonly destination: (firstBytes: Uint8Array) => Promise<Destination>;
  readonly signal: AbortSignal;
}): PartFile {
  const hash = createHash('sha256');
  const held: Uint8Array[] = [];
  let heldBytes = 0;
  let sizeBytes = 0;
  let flowing: Flow | undefined;

  const begin = async (): Promise<Flow> => {
    const firstBytes = takeHeld();
    const flow = openFlow(o.objects, await o.destination(firstBytes.subarray(0, SNIFF_BYTES)), o.signal);
    await flow.write(firstBytes);
    return flow;
  };

  const storeAtOnce = async (): Promise<Destination> => {
    const bytes = takeHeld();
    const destination = await o.destination(bytes.subarray(0, SNIFF_BYTES));
    await o.objects.put(destination.storageKey, bytes, { mediaType: destination.mimeType, signal: o.signal });
    return destination;
  };

  const takeHeld = (): Buffer => Buffer.concat(held.splice(0));

  const endFlow = async (flow: Flow): Promise<Destination> => {
    await flow.end();
    return flow.destination;
  };

  return {
    async write(bytes) {
      hash.update(bytes);
      sizeBytes += bytes.length;
      const kept = Buffer.from(bytes);
      if (flowing !== undefined) return flowing.write(kept);
      held.push(kept);
      heldBytes += kept.length;
      if (heldBytes >= PUT_AT_ONCE_BYTES) flowing = await begin();
    },
    async finish() {
      const destination = await (flowing === undefined ? storeAtOnce() : endFlow(flowing));
      return { ...destination, sizeBytes, sha256: hash.digest('hex') };
    },
    async abandon() {
      await flowing?.abandon();
    },
  };
}

interface Flow {
  readonly destination: Destination;
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
  abandon(): Promise<void>;
}

function openFlow(objects: ObjectStore, destination: Destination, signal: AbortSignal): Flow {
  const pipe = new PassThrough({ highWaterMark: BUFFERED_BYTES });
  pipe.on('error', () => {}); // the store is told by the iteration, which throws
  let over = false;
  const stored = objects.put(destination.storageKey, pipe, { mediaType: destination.mimeType, signal });
  const settled = stored.then(
    () => {},
    () => {},
  );
  void settled.then(() => {
    over = true;
  });
  return {
    destination,
    async write(bytes) {
      if (over || pipe.destroyed || pipe.write(bytes)) return;
      const room = new Promise<void>((resolve) => pipe.once('drain', resolve));
      await Promise.race([room, settled]);
    },
    async end() {
      pipe.end();
      await stored;
    },
    async abandon() {
      pipe.destroy(new Error('the part was given up'));
      await settled;
    },
  };
}
