/** Keeps the database and the object store acquainted: see `StoreMarks`. */
import { randomUUID } from 'node:crypto';
import type { ObjectStore } from '../ports/object-store.ts';
import type { MarkMemory, StoreMarks } from '../ports/store-marks.ts';
import type { Log } from '../telemetry/log.ts';

/**
 * `known`: the database made the mark that is there. `new`: no mark and no object. `strange`: a mark the database does not
 * know, or objects without a mark: it was restored from a backup, or the objects are another's, or older than marks are.
 */
export type Acquaintance = 'known' | 'new' | 'strange';

export interface StoreWatch {
  /** Changes nothing. */
  look(): Promise<Acquaintance>;
  /** Writes a gap down where the store is strange, and leaves a new mark. Resolves with the store's time of it. */
  visit(): Promise<{ readonly found: Acquaintance; readonly storeNow: Date }>;
}

export interface StoreWatchOptions {
  readonly marks: StoreMarks;
  readonly memory: MarkMemory;
  readonly objects: Pick<ObjectStore, 'list'>;
  readonly log: Log;
}

export function createStoreWatch({ marks, memory, objects, log }: StoreWatchOptions): StoreWatch {
  const judge = async (left: readonly string[]): Promise<Acquaintance> => {
    if (left.length > 0) return (await memory.knowsAll(left)) ? 'known' : 'strange';
    return (await isEmpty(objects)) ? 'new' : 'strange';
  };
  return {
    look: async () => judge(await marks.read()),
    async visit() {
      const left = await marks.read();
      const found = await judge(left);
      if (found === 'strange') {
        const gap = await memory.openGap();
        await memory.rememberGap();
        log.warn({ since: gap.begins, until: gap.ends }, STRANGE);
      }
      const id = randomUUID();
      // In this order: a mark that is found without being known would look like a restore.
      await memory.remember(id);
      return { found, storeNow: await marks.leave(id, left) };
    },
  };
}

const STRANGE =
  'the object store was last used with another state of the database (restored from a backup?): objects of that time without a row are kept';

async function isEmpty(objects: Pick<ObjectStore, 'list'>): Promise<boolean> {
  for await (const _ of objects.list('')) return false;
  return true;
}

/** A restore that is over within this of its backup goes unnoticed; nobody is that quick. */
const VISIT_INTERVAL_MS = 30_000;

/**
 * Visits now and then until it is stopped. A store that has no mark gets its first one after `firstMarkAfterMs` only.
 * Errors: none; a visit that fails is tried again at the next turn. The first one has ended when it resolves.
 */
export async function keepWatch(
  o: StoreWatchOptions & { readonly firstMarkAfterMs?: number; readonly intervalMs?: number },
): Promise<{ stop(): Promise<void> }> {
  const watch = createStoreWatch(o);
  const startedAt = performance.now();
  let visiting = Promise.resolve();
  const visit = async (): Promise<void> => {
    try {
      const early = performance.now() - startedAt < (o.firstMarkAfterMs ?? 0);
      if (early && (await o.marks.read()).length === 0) return;
      await watch.visit();
    } catch (error) {
      o.log.debug({ err: error }, 'the object store could not be marked, trying again');
    }
  };
  const visitInTurn = (): Promise<void> => {
    visiting = visiting.then(visit);
    return visiting;
  };
  await visitInTurn();
  const timer = setInterval(visitInTurn, o.intervalMs ?? VISIT_INTERVAL_MS);
  return {
    stop() {
      clearInterval(timer);
      return visiting;
    },
  };
}
