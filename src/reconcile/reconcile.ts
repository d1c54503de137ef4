/**
 * Finds and mends what a crash can leave, beside running servers and in constant memory.
 *
 * In this order: rows whose object is gone (when they are too many to be believed, nothing at all is changed: this is the
 * wrong store, and everything in it would look like nobody's), objects without a row, unfinished files, messages without
 * a job. Each step looks once more before it changes anything, so that a server at work is not disturbed; and before anything
 * is given up or removed, whether this is still the store that the database knows: where it is not, nothing at all is changed.
 */
import type { ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import type { MarkMemory } from '../ports/store-marks.ts';
import {
  believable,
  failMissing,
  findMissing,
  type MissingObject,
  type MissingObjects,
  openMessages,
} from './missing-objects.ts';
import { collectOrphans, emptyReport, type Orphans } from './orphans.ts';
import { objectionTo } from './store-guard.ts';
import { type Acquaintance, isObjection, type StoreWatch } from './store-watch.ts';

const DAY_MS = 24 * 60 * 60_000;
/** Age is measured by the store's clock, and restores by the database's. */
const CLOCKS_MAY_DIFFER_MS = 60 * 60_000;
const JOBS_AT_ONCE = 1_000;

export interface ReconcileOptions {
  readonly objects: ObjectStore;
  readonly rows: Reconciliation;
  readonly watch: Pick<StoreWatch, 'look' | 'visit'>;
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

/** Errors: `StoreError` and those of the database, `StoreLostError`; what was mended until then stays mended. */
export async function reconcile(o: ReconcileOptions): Promise<ReconcileReport> {
  const found = await o.watch.look();
  if (isObjection(found)) return nothingDone(o.dryRun, { looked: 0, count: 0, missing: [] }, objectionTo(found).found);
  const failed: string[] = [];
  const mend = async (missing: readonly MissingObject[]): Promise<void> => {
    if (openMessages(missing).length > 0) await assertStillOurs(o.watch);
    failed.push(...(o.dryRun ? openMessages(missing) : await failMissing({ ...o, missing })));
  };
  const missing = await findMissing(o.acceptMissing ? { ...o, mend } : o);
  const doubt = o.acceptMissing ? null : doubtIn(missing.count > 0 && found === 'strange', believable(missing));
  if (doubt !== null) return nothingDone(o.dryRun, missing, doubt);

  if (!o.acceptMissing) await mend(missing.missing);
  const { storeNow, gaps } = o.dryRun ? await withoutVisit(o, found) : await withVisit(o);
  const orphans = await collectOrphans({
    ...o,
    olderThan: new Date(storeNow.getTime() - DAY_MS),
    gaps,
    beforeRemoval: () => assertStillOurs(o.watch),
  });
  const leftovers = await o.leftovers({ dryRun: o.dryRun });
  const jobs = o.dryRun ? await o.rows.countMissingJobs() : await addJobs(o.rows);
  return { ...facts(o.dryRun, missing), stopped: null, failed, orphans, leftovers, jobs };
}

const facts = (dryRun: boolean, { looked, count, missing }: MissingObjects) => ({
  dryRun,
  rows: { looked, missing: count },
  missing,
});

const nothingDone = (dryRun: boolean, missing: MissingObjects, stopped: string): ReconcileReport => ({
  ...facts(dryRun, missing),
  stopped,
  failed: [],
  orphans: emptyReport(),
  leftovers: 0,
  jobs: 0,
});

/** A folder may be unmounted at any moment. Errors: `StoreLostError`. */
async function assertStillOurs(watch: Pick<StoreWatch, 'look'>): Promise<void> {
  const found = await watch.look();
  if (isObjection(found)) throw storeLost(found);
}

/** It was the known store, and is not any more. */
export class StoreLostError extends Error {
  override readonly name = 'StoreLostError';
}

const storeLost = (found: Parameters<typeof objectionTo>[0]): StoreLostError =>
  new StoreLostError(`in the middle of it, ${objectionTo(found).found}: nothing more is changed`);

function doubtIn(strange: boolean, areBelievable: boolean): string | null {
  if (!areBelievable) return 'so many objects are missing that this cannot be the store they were written to';
  return strange ? 'objects are missing, and the store was last used with another state of the database' : null;
}

async function withVisit({ watch, memory, rows }: ReconcileOptions) {
  const { found, storeNow } = await watch.visit();
  if (storeNow === null) throw storeLost(found as Parameters<typeof objectionTo>[0]);
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
async function withoutVisit({ memory, rows }: ReconcileOptions, found: Acquaintance) {
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
