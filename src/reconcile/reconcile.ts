/**
 * Finds and mends what a crash can leave, beside running servers and in constant memory.
 *
 * In this order: rows whose object is gone (when they are too many to be believed, nothing at all is changed: this is the
 * wrong store, and everything in it would look like nobody's), objects without a row, unfinished files, messages without
 * a job. Each step looks once more before it changes anything, so that a server at work is not disturbed.
 */
import type { ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import type { MarkMemory } from '../ports/store-marks.ts';
import { believable, failMissing, findMissing, type MissingObject, openMessages } from './missing-objects.ts';
import { collectOrphans, emptyReport, type Orphans } from './orphans.ts';
import type { StoreWatch } from './store-watch.ts';

const DAY_MS = 24 * 60 * 60_000;
/** Age is measured by the store's clock, and restores by the database's. */
const CLOCKS_MAY_DIFFER_MS = 60 * 60_000;
const JOBS_AT_ONCE = 1_000;

export interface ReconcileOptions {
  readonly objects: ObjectStore;
  readonly rows: Reconciliation;
  readonly watch: StoreWatch;
  readonly memory: Pick<MarkMemory, 'gaps' | 'openGap'>;
  /** Removes, or with `dryRun` counts, what was begun and never finished. */
  readonly leftovers: (o: { readonly dryRun: boolean }) => Promise<number>;
  readonly dryRun: boolean;
  /** However many objects are missing. */
  readonly acceptMissing: boolean;
  readonly evenAfterRestore: boolean;
}

export interface ReconcileReport {
  readonly dryRun: boolean;
  /** Why nothing was mended; null when all was. */
  readonly stopped: string | null;
  readonly rows: { readonly looked: number; readonly missing: number };
  /** The first 10,000. */
  readonly missing: readonly MissingObject[];
  /** Ids of messages that are FAILED now (or would be). */
  readonly failed: readonly string[];
  readonly orphans: Orphans;
  readonly leftovers: number;
  readonly jobs: number;
}

/** Errors: `StoreError` and those of the database; what was mended until then stays mended. */
export async function reconcile(o: ReconcileOptions): Promise<ReconcileReport> {
  const found = await o.watch.look();
  const failed: string[] = [];
  const mend = async (missing: readonly MissingObject[]): Promise<void> => {
    failed.push(...(o.dryRun ? openMessages(missing) : await failMissing({ ...o, missing })));
  };
  const missing = await findMissing(o.acceptMissing ? { ...o, mend } : o);
  const looked = {
    dryRun: o.dryRun,
    rows: { looked: missing.looked, missing: missing.count },
    missing: missing.missing,
  };
  const doubt = o.acceptMissing ? null : doubtIn(missing.count > 0 && found === 'strange', believable(missing));
  if (doubt !== null) return { ...looked, stopped: doubt, failed, orphans: emptyReport(), leftovers: 0, jobs: 0 };

  if (!o.acceptMissing) await mend(missing.missing);
  const { storeNow, gaps } = o.dryRun ? await withoutVisit(o, found) : await withVisit(o);
  const orphans = await collectOrphans({ ...o, olderThan: new Date(storeNow.getTime() - DAY_MS), gaps });
  const leftovers = await o.leftovers({ dryRun: o.dryRun });
  const jobs = o.dryRun ? await o.rows.countMissingJobs() : await addJobs(o.rows);
  return { ...looked, stopped: null, failed, orphans, leftovers, jobs };
}

function doubtIn(strange: boolean, areBelievable: boolean): string | null {
  if (!areBelievable) return 'so many objects are missing that this cannot be the store they were written to';
  return strange ? 'objects are missing, and the store was last used with another state of the database' : null;
}

async function withVisit({ watch, memory, rows }: ReconcileOptions) {
  const { storeNow } = await watch.visit();
  const apartMs = Math.abs(storeNow.getTime() - (await rows.now()).getTime());
  if (apartMs > CLOCKS_MAY_DIFFER_MS) {
    const minutes = Math.round(apartMs / 60_000);
    throw new ClockError(
      `the clocks of object store and database are ${minutes} minutes apart: set the wrong one first`,
    );
  }
  return { storeNow, gaps: await memory.gaps() };
}

/** The clock of the database stands in for that of the store, which is not written to. */
async function withoutVisit({ memory, rows }: ReconcileOptions, found: string) {
  const gaps = await memory.gaps();
  return { storeNow: await rows.now(), gaps: found === 'strange' ? [...gaps, await memory.openGap()] : gaps };
}

/** Nothing can be said of the age of objects. */
export class ClockError extends Error {
  override readonly name = 'ClockError';
}

async function addJobs(rows: Reconciliation): Promise<number> {
  let jobs = 0;
  for (;;) {
    const added = await rows.addMissingJobs(JOBS_AT_ONCE);
    jobs += added;
    if (added < JOBS_AT_ONCE) return jobs;
  }
}
