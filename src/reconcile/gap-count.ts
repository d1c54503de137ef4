/** Counts what a restore has made rowless, so that somebody hears of it before `reconcile` is run. Changes nothing else. */
import type { GapMemory } from '../ports/gap-memory.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import type { MarkMemory } from '../ports/store-marks.ts';
import { gapsOf } from './gap.ts';
import { collectOrphans, undecided } from './orphans.ts';

/** Lists the whole store. Errors: those of store and database; the signal's reason. */
export async function rememberGapObjects(o: {
  readonly objects: Pick<ObjectStore, 'list' | 'head' | 'remove'>;
  readonly rows: Pick<Reconciliation, 'notNamedById' | 'named' | 'slugs' | 'extracting' | 'now'>;
  readonly memory: Pick<MarkMemory, 'gaps'>;
  readonly gapMemory: Pick<GapMemory, 'remember'>;
  readonly signal: AbortSignal;
}): Promise<void> {
  const now = await o.rows.now();
  const gaps = gapsOf({ gaps: await o.memory.gaps(), storeNow: now, databaseNow: now });
  const onlyOfGaps = new Date(0);
  const counted = await collectOrphans({
    ...o,
    objects: {
      list: (prefix) => untilAborted(o.objects.list(prefix), o.signal),
      head: (key) => o.objects.head(key),
      remove: (key) => o.objects.remove(key),
    },
    olderThan: onlyOfGaps,
    gaps,
    evenAfterRestore: false,
    dryRun: true,
    beforeRemoval: async () => {},
  });
  await o.gapMemory.remember(undecided(counted), gaps.lastEnd);
}

async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  for await (const item of items) {
    signal.throwIfAborted();
    yield item;
  }
}
