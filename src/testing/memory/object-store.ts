/** An object store on a mounted volume: a write is seen at once and durable after a second step, as with files. */
import { gather } from '../../ports/gather.ts';
import { isObjectKey, isObjectKeyPrefix } from '../../ports/keys.ts';
import {
  type ObjectFacts,
  type ObjectStore,
  PUT_AT_ONCE_BYTES,
  StoreError,
  type StorePlace,
} from '../../ports/object-store.ts';
import type { StoreMarks } from '../../ports/store-marks.ts';
import type { Gate } from './gate.ts';
import type { Mount, StoredBytes, Volume } from './volume.ts';

export function createMemoryObjectStore(o: { readonly mount: Mount; readonly gate: Gate }): ObjectStore & StorePlace {
  const { mount } = o;
  /** Objects are put into this one only: what lay there when it was opened, until another is trusted. */
  let trusted = placeNow(mount);
  const ask = <T>(operation: string, key: string, answer: () => T): Promise<T> =>
    o.gate
      .run('store', `${operation} ${key}`, () => {
        checkKey(key);
        return answer();
      })
      .catch(asStoreError);

  const place = (): Volume => {
    const volume = mount.mounted();
    if (volume !== trusted) throw unavailable('another store lies here now');
    return volume;
  };

  /** Errors: `StoreError`; then what was written is taken away again, as well as it goes. */
  async function publish(key: string, bytesFrom: (volume: Volume) => Buffer, fresh: boolean): Promise<void> {
    let made: { readonly volume: Volume; readonly stored: StoredBytes; readonly replaces: boolean } | undefined;
    try {
      await ask('write', key, () => {
        const volume = place();
        const before = volume.read(key);
        if (fresh && before !== null) throw unavailable('a key that was said to be new is taken');
        made = { volume, stored: volume.write(key, bytesFrom(volume)), replaces: before !== null };
      });
      await ask('sync', key, () => {
        if (made === undefined || place() !== made.volume) throw unavailable('synced another store');
        made.volume.sync(key);
      });
    } catch (error) {
      const left = made;
      if (left !== undefined && !left.replaces) {
        const undo = (): void => {
          if (left.volume.read(key) === left.stored) left.volume.remove(key);
        };
        await ask('undo', key, undo).catch(() => {});
      }
      throw error;
    }
  }

  const facts = (volume: Volume, key: string): ObjectFacts | null => {
    const stored = volume.read(key);
    return stored === null ? null : { key, sizeBytes: stored.bytes.length, modifiedAt: new Date(stored.modifiedAt) };
  };

  return {
    async put(key, content, { signal, fresh = false } = {}) {
      checkKey(key);
      signal?.throwIfAborted();
      const bytes = content instanceof Uint8Array ? Buffer.from(content) : await gathered(content, signal);
      signal?.throwIfAborted();
      await publish(key, () => bytes, fresh);
      return { sizeBytes: bytes.length };
    },

    async get(key, { signal } = {}) {
      signal?.throwIfAborted();
      const { bytes } = await ask('get', key, () => {
        const stored = mount.mounted().read(key);
        if (stored === null) throw new StoreError('object-missing', `no object ${key}`);
        return stored;
      });
      signal?.throwIfAborted();
      return pieces(bytes, signal);
    },

    head: (key) => ask('head', key, () => facts(mount.mounted(), key)),

    async copy(fromKey, toKey) {
      checkKey(fromKey);
      checkKey(toKey);
      const read = (volume: Volume): Buffer => {
        const stored = volume.read(fromKey);
        if (stored === null) throw new StoreError('object-missing', `no object ${fromKey}`);
        return stored.bytes;
      };
      await publish(toKey, read, false);
    },

    async remove(key) {
      await ask('remove', key, () => mount.mounted().remove(key));
    },

    async *list(prefix) {
      if (!isObjectKeyPrefix(prefix)) throw unavailable('not a prefix');
      const listed = await ask('list', 'a', () => {
        const volume = mount.mounted();
        return volume.keys().flatMap((key) => (key.startsWith(prefix) ? (facts(volume, key) ?? []) : []));
      });
      yield* listed;
    },

    async check(signal) {
      signal?.throwIfAborted();
      await ask('check', 'a', place);
    },

    async trustIf(isOurs) {
      const before = placeNow(mount);
      if (!(await isOurs())) return;
      if (before !== null && before === placeNow(mount)) trusted = before;
    },
  };
}

/** Marks beside the objects of whatever is mounted. */
export function createMemoryStoreMarks(o: { readonly mount: Mount; readonly gate: Gate }): StoreMarks {
  const ask = <T>(operation: string, answer: () => T): Promise<T> =>
    o.gate.run('store', operation, answer).catch(asStoreError);
  let readIn: Volume | null = null;
  return {
    read: () =>
      ask('read marks', () => {
        const volume = placeNow(o.mount);
        readIn = volume !== null && volume.marks.size > 0 ? volume : null;
        return [...(volume?.marks.keys() ?? [])].sort();
      }),
    leave: (id, { beside, inPlaceOf }) =>
      ask('leave mark', () => {
        const volume = o.mount.mounted();
        const { marks, now } = volume;
        const wereRead = beside.length + inPlaceOf.length > 0;
        if (wereRead && marks.size === 0) throw unavailable('the marks are gone');
        if (wereRead && readIn !== null && volume !== readIn) throw unavailable('another store lies here now');
        const at = now();
        marks.set(id, at);
        for (const other of inPlaceOf) marks.delete(other);
        return new Date(at);
      }),
  };
}

function placeNow(mount: Mount): Volume | null {
  try {
    return mount.mounted();
  } catch {
    return null;
  }
}

const unavailable = (message: string): StoreError => new StoreError('store-unavailable', message);

function asStoreError(error: unknown): never {
  throw error instanceof StoreError ? error : unavailable(String(error));
}

function checkKey(key: string): void {
  if (!isObjectKey(key)) throw unavailable(`not a key: ${JSON.stringify(key)}`);
}

async function gathered(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of gather(chunks, PUT_AT_ONCE_BYTES, signal)) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

async function* pieces(bytes: Buffer, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PUT_AT_ONCE_BYTES) {
    signal?.throwIfAborted();
    yield bytes.subarray(at, at + PUT_AT_ONCE_BYTES);
  }
  signal?.throwIfAborted();
}
