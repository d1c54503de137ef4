/** Keeps the database and the object store acquainted: see `StoreMarks`. */
import { randomUUID } from 'node:crypto';
import type { ObjectStore } from '../ports/object-store.ts';
import type { StoreObjectionCode } from '../ports/store-guard.ts';
import type { MarkMemory, RecalledMark, StoreMarks } from '../ports/store-marks.ts';
import type { Log } from '../telemetry/log.ts';

/**
 * `known`: the last mark of this database is there. `new`: no mark and no object, and this database never left one.
 * `strange`: marks the database does not know beside those it does, so that it was restored from a backup; or objects that
 * are older than its marks. The others are no store to take mail into or to believe: `store-unmarked`, no mark is there though
 * this database has left some; `store-foreign`, only marks it does not know; `store-outdated`, only old ones that it knows,
 * a copy or another disk. Where this database has left no mark yet, its newest mails bear witness instead.
 */
export type Acquaintance = 'known' | 'new' | 'strange' | Exclude<StoreObjectionCode, 'store-unasked'>;

export const isObjection = (found: Acquaintance): found is Exclude<StoreObjectionCode, 'store-unasked'> =>
  found.startsWith('store-');

export interface StoreWatch {
  /** Changes nothing. */
  look(): Promise<Acquaintance>;
  /**
   * Writes a gap down where the store is strange, and leaves a new mark. Resolves with the store's time of it; null where
   * the store is not ours, and nothing was changed.
   */
  visit(): Promise<{ readonly found: Acquaintance; readonly storeNow: Date | null }>;
  /** Whatever lies there is this database's store from now on. Objects without a row are kept, as after a restore. */
  adopt(): Promise<Acquaintance>;
}

export interface StoreWatchOptions {
  readonly marks: StoreMarks;
  readonly memory: MarkMemory;
  readonly objects: Pick<ObjectStore, 'list' | 'head'>;
  readonly log: Log;
}

interface Judgement {
  readonly found: Acquaintance;
  readonly left: readonly string[];
  readonly known: readonly RecalledMark[];
}

export function createStoreWatch({ marks, memory, objects, log }: StoreWatchOptions): StoreWatch {
  async function judge(): Promise<Judgement> {
    const left = await marks.read();
    const { known, confirmed } = await memory.recall(left);
    return { found: await acquaintance(left, known, confirmed), left, known };
  }

  /** Of two servers that start together on a new store, one may see mails of the other and not yet its mark. */
  async function judgeTwice(): Promise<Judgement> {
    const first = await judge();
    return first.found === 'strange' && first.known.length === 0 ? judge() : first;
  }

  async function acquaintance(
    left: readonly string[],
    known: readonly RecalledMark[],
    confirmed: boolean,
  ): Promise<Acquaintance> {
    if (known.length > 0) {
      if (known.length < new Set(left).size) return 'strange';
      return known.some(({ fresh }) => fresh) ? 'known' : 'store-outdated';
    }
    if (confirmed || (await noneOf(await memory.witnesses()))) {
      return left.length === 0 ? 'store-unmarked' : 'store-foreign';
    }
    return left.length === 0 && (await isEmpty(objects)) ? 'new' : 'strange';
  }

  /** There should be some, and none is there. */
  async function noneOf(keys: readonly string[]): Promise<boolean> {
    for (const key of keys) if ((await objects.head(key)) !== null) return false;
    return keys.length > 0;
  }

  async function noteGap(): Promise<void> {
    const gap = await memory.openGap();
    await memory.rememberGap();
    log.warn({ since: gap.begins, until: gap.ends }, STRANGE);
  }

  /** In this order: a mark that is found without being known would look like a restore. */
  async function leave(o: { beside: readonly string[]; inPlaceOf: readonly string[]; only?: boolean }): Promise<Date> {
    const id = randomUUID();
    await memory.remember(id);
    const storeNow = await marks.leave(id, o);
    await memory.confirm(id, o);
    return storeNow;
  }

  return {
    look: async () => (await judge()).found,
    async visit() {
      const { found, left, known } = await judgeTwice();
      if (isObjection(found)) return { found, storeNow: null };
      if (found === 'strange') await noteGap();
      const home = known[0]?.id;
      // Where none is known, somebody else may be at work with this store: theirs stay, and they go first.
      const beside = home === undefined ? left : [home];
      return { found, storeNow: await leave({ beside, inPlaceOf: left.filter((id) => !beside.includes(id)) }) };
    },
    async adopt() {
      const { found, left } = await judge();
      if (!isObjection(found)) return found;
      await noteGap();
      await leave({ beside: [], inPlaceOf: left, only: true });
      return found;
    },
  };
}

const STRANGE =
  'the object store was last used with another state of the database (restored from a backup?): objects of that time without a row are kept';

async function isEmpty(objects: Pick<ObjectStore, 'list'>): Promise<boolean> {
  for await (const _ of objects.list('')) return false;
  return true;
}
