/**
 * Finds and mends what a crash can leave, beside running servers and in constant memory.
 *
 * In this order: rows whose object is gone (when they are too many to be believed, nothing at all is changed: this is the
 * wrong store, and everything in it would look like nobody's), with `redeliver` mails whose rows a restore has lost, objects
 * without a row, unfinished files, messages without a job. Each step looks once more before it changes anything, so that a server at work is not disturbed; and before anything
 * is given up or removed, whether this is still the store that the database knows: where it is not, nothing at all is changed.
 */
import type { ForgottenMail, Redelivered } from '../intake/redelivery.ts';
import type { GapMemory } from '../ports/gap-memory.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Reconciliation } from '../ports/reconciliation.ts';
import type { MarkMemory } from '../ports/store-marks.ts';
import { type Gaps, gapsOf } from './gap.ts';
import {
  believable,
  failMissing,
  findMissing,
  type MissingObject,
  type MissingObjects,
  openMessages,
} from './missing-objects.ts';
import { collectOrphans, emptyReport, type Orphans, undecided } from './orphans.ts';
import { type Redelivery, redeliverGap } from './redeliver.ts';
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
  readonly gapMemory: Pick<GapMemory, 'remember'>;
  /** See `createRedelivery`. */
  readonly handIn: (mails: readonly ForgottenMail[]) => Promise<readonly Redelivered[]>;
  /** Removes, or with `dryRun` counts, what was begun and never finished. */
  readonly leftovers: (o: { readonly dryRun: boolean }) => Promise<number>;
  readonly dryRun: boolean;
  /** However many objects are missing. */
  readonly acceptMissing: boolean;
  readonly evenAfterRestore: boolean;
  /** Hand in again what a restore has lost, on whose behalf; null: only tell of it. */
  readonly redeliver: { readonly actor: string } | null;
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
  /** null: it was not asked for. */
  readonly redelivery: Redelivery | null;
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
  const stillOurs = (): Promise<void> => assertStillOurs(o.watch);
  const redelivery =
    o.redeliver === null
      ? null
      : await redeliverGap({ ...o, ...o.redeliver, gaps, storeNow, redeliver: o.handIn, beforeChange: stillOurs });
  const olderThan = new Date(storeNow.getTime() - DAY_MS);
  const orphans = await collectOrphans({ ...o, olderThan, gaps, beforeRemoval: stillOurs });
  if (!o.dryRun) await o.gapMemory.remember(undecided(orphans), gaps.lastEnd);
  const leftovers = await o.leftovers({ dryRun: o.dryRun });
  const jobs = o.dryRun ? await o.rows.countMissingJobs() : await addJobs(o.rows);
  return { ...facts(o.dryRun, missing), stopped: null, failed, redelivery, orphans, leftovers, jobs };
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
  redelivery: null,
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

interface Clocked {
  readonly storeNow: Date;
  readonly gaps: Gaps;
}

async function withVisit({ watch, memory, rows }: ReconcileOptions): Promise<Clocked> {
  const { found, storeNow } = await watch.visit();
  if (storeNow === null) throw storeLost(found as Parameters<typeof objectionTo>[0]);
  const databaseNow = await rows.now();
  const apartMs = Math.abs(storeNow.getTime() - databaseNow.getTime());
  if (apartMs > CLOCKS_MAY_DIFFER_MS) {
    const minutes = Math.round(apartMs / 60_000);
    throw new ClockError(
      `the clocks of object store and database are ${minutes} minutes apart: set the wrong one first`,
    );
  }
  return { storeNow, gaps: gapsOf({ gaps: await memory.gaps(), storeNow, databaseNow }) };
}

/** The clock of the database stands in for that of the store, which is not written to. */
async function withoutVisit({ memory, rows }: ReconcileOptions, found: Acquaintance): Promise<Clocked> {
  const noted = await memory.gaps();
  const gaps = found === 'strange' ? [...noted, await memory.openGap()] : noted;
  const now = await rows.now();
  return { storeNow: now, gaps: gapsOf({ gaps, storeNow: now, databaseNow: now }) };
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
