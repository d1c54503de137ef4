/**
 * A disk with objects and marks, and the place it is mounted in. What was written and not synced is seen by everybody and
 * lost when the power fails, as with files; a name that was taken away and not synced may be back then.
 */
import { StoreError } from '../../ports/object-store.ts';

export interface StoredBytes {
  readonly bytes: Buffer;
  /** Units: milliseconds since 1970. */
  readonly modifiedAt: number;
}

interface Entry {
  /** null: taken away. */
  readonly seen: StoredBytes | null;
  /** What the disk has; null: nothing. */
  readonly synced: StoredBytes | null;
}

export interface Volume {
  read(key: string): StoredBytes | null;
  /** What a power failure leaves. */
  readSynced(key: string): StoredBytes | null;
  write(key: string, bytes: Buffer): StoredBytes;
  sync(key: string): void;
  remove(key: string): void;
  /** In order. */
  keys(): readonly string[];
  /** Grows with each change of an object. */
  readonly changes: number;
  /** By id, when each was left. */
  readonly marks: Map<string, number>;
  /** Units: milliseconds since 1970. */
  now(): number;
  powerFails(): void;
  /** The system has had the time to write what nobody synced. */
  writeBack(): void;
  /** As a backup or another disk has it. */
  copy(): Volume;
}

export function createVolume(o: { readonly clock: () => number }): Volume {
  return volumeOf(o.clock, new Map(), new Map());
}

function volumeOf(clock: () => number, entries: Map<string, Entry>, marks: Map<string, number>): Volume {
  const entryOf = (key: string): Entry => entries.get(key) ?? { seen: null, synced: null };
  let changes = 0;
  const settle = (key: string, stored: StoredBytes | null): void => {
    if (stored === null) entries.delete(key);
    else entries.set(key, { seen: stored, synced: stored });
  };
  return {
    marks,
    now: clock,
    get changes() {
      return changes;
    },
    read: (key) => entryOf(key).seen,
    readSynced: (key) => entryOf(key).synced,
    write(key, bytes) {
      changes++;
      const seen = { bytes, modifiedAt: clock() };
      entries.set(key, { seen, synced: entryOf(key).synced });
      return seen;
    },
    sync(key) {
      changes++;
      settle(key, entryOf(key).seen);
    },
    remove(key) {
      changes++;
      const { synced } = entryOf(key);
      if (synced === null) entries.delete(key);
      else entries.set(key, { seen: null, synced });
    },
    keys: () => [...entries.keys()].filter((key) => entryOf(key).seen !== null).sort(),
    powerFails() {
      changes++;
      for (const key of [...entries.keys()]) settle(key, entryOf(key).synced);
    },
    writeBack() {
      changes++;
      for (const key of [...entries.keys()]) settle(key, entryOf(key).seen);
    },
    copy: () => volumeOf(clock, new Map(entries), new Map(marks)),
  };
}

/** Where a store is looked for. */
export interface Mount {
  /** null: nothing is mounted. Errors: `StoreError`. */
  mounted(): Volume;
  mount(volume: Volume | null): void;
}

export function createMount(first: Volume | null): Mount {
  let volume = first;
  return {
    mounted() {
      if (volume === null) throw new StoreError('store-unavailable', 'nothing is mounted');
      return volume;
    },
    mount(other) {
      volume = other;
    },
  };
}
