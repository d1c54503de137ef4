/**
 * Reads every object that a row names, and compares it with what the row says: is it there, of that size, of that digest?
 * Changes neither a row nor an object; it may run for days, beside servers, and goes on where it was after a stop.
 *
 * Rows are taken by id, first the messages, then the conflicts, then the documents. A few are read at the same time and
 * settled in order, so that the place is one id: all rows before it are verified. A row that is added behind the place while
 * a run is under way is left to the next one.
 */
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import type { KeptKind } from '../ports/reconciliation.ts';
import {
  type ExpectedObject,
  MAX_KEPT_PROBLEMS,
  type Problem,
  type Verification,
  type VerifyProgress,
  type VerifyRun,
} from '../ports/verification.ts';
import type { Log } from '../telemetry/log.ts';
import { createPace } from './pace.ts';
import { type ReadOptions, verdictOn } from './read-object.ts';
import { StoreLostError } from './reconcile.ts';
import { objectionTo } from './store-guard.ts';
import { isObjection, type StoreWatch } from './store-watch.ts';

const PAGE_ROWS = 500;
const READS_AT_ONCE = 4;
/** A killed run repeats so much, and the few objects that were being read. */
const SAVE_INTERVAL_MS = 1_000;
/** So many in a row are no damaged objects: the store does not answer. */
const MAX_UNREADABLE_IN_A_ROW = 10;

const KINDS: readonly KeptKind[] = ['message', 'conflict', 'document'];

export interface VerifyOptions {
  readonly objects: Pick<ObjectStore, 'get'>;
  readonly rows: Verification;
  readonly watch: Pick<StoreWatch, 'look'>;
  readonly log: Log;
  /** null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** Ends the run early; the next one goes on there. */
  readonly signal: AbortSignal;
  /** Called after each row, and with each piece of an object. */
  readonly onProgress: (now: { readonly run: VerifyRun; readonly bytesReadNow: number }) => void;
}

export interface VerifyReport {
  readonly run: VerifyRun;
  /** A run that was stopped before, and went on. */
  readonly resumed: boolean;
  /** All rows are verified; false: it was stopped. */
  readonly ended: boolean;
}

/**
 * Errors: `StoreLostError` when this is not the store that the database knows, `StoreError` when it does not answer, those of the
 * database. What was verified until then is kept, and the next run goes on there.
 */
export async function verify(o: VerifyOptions): Promise<VerifyReport> {
  await assertOurs(o.watch);
  const run = await o.rows.resumeOrBegin();
  const keeper = createKeeper(o, run);
  const resumed = run.progress.rows > 0;
  const reading = new AbortController();
  const signal = AbortSignal.any([o.signal, reading.signal]);
  let ended = false;
  try {
    await readAll({ ...o, signal, keeper });
    ended = true;
  } catch (error) {
    if (!o.signal.aborted) throw error;
  } finally {
    reading.abort(); // Those beside one that failed.
    await keeper.save({ ended });
  }
  return { run: { ...run, progress: keeper.progress() }, resumed, ended };
}

type Reading = VerifyOptions & { readonly keeper: Keeper };

interface Pending {
  readonly row: ExpectedObject;
  readonly problem: Promise<Problem | null>;
}

async function readAll(o: Reading): Promise<void> {
  const pace = createPace(o.bytesPerSecond);
  const read: ReadOptions = { ...o, pace, onRead: o.keeper.read, assertOurs: () => assertOurs(o.watch) };
  const { kind: first, after: firstAfter } = o.keeper.progress();
  for (const kind of KINDS.slice(KINDS.indexOf(first))) {
    const pending: Pending[] = [];
    const settle = async ({ row, problem }: Pending): Promise<void> => o.keeper.settle(kind, row, await problem);
    for await (const row of rowsOf(o.rows, kind, kind === first ? firstAfter : null)) {
      o.signal.throwIfAborted();
      const problem = problemOf(kind, row, o.rows, read);
      problem.catch(() => {}); // Awaited in its turn.
      pending.push({ row, problem });
      if (pending.length === READS_AT_ONCE) await settle(pending.shift() as Pending);
    }
    for (const each of pending) await settle(each);
  }
}

async function* rowsOf(rows: Verification, kind: KeptKind, from: string | null): AsyncGenerator<ExpectedObject> {
  for (let after = from; ; ) {
    const page = await rows.page(kind, after, PAGE_ROWS);
    yield* page;
    after = page.at(-1)?.id ?? null;
    if (page.length < PAGE_ROWS) return;
  }
}

/** Before it is called a problem: is this still our store, and does the row still say so? */
async function problemOf(
  kind: KeptKind,
  row: ExpectedObject,
  rows: Verification,
  read: ReadOptions,
): Promise<Problem | null> {
  for (let expected = row; ; ) {
    const verdict = await verdictOn(expected, read);
    if (verdict === null) return null;
    await read.assertOurs();
    const now = await rows.lookAgain(kind, row.id);
    if (now === null) return null;
    if (saysTheSame(now, expected)) return { ...now, kind, ...verdict };
    expected = now;
  }
}

const saysTheSame = (one: ExpectedObject, other: ExpectedObject): boolean =>
  one.storageKey === other.storageKey && one.sizeBytes === other.sizeBytes && one.sha256 === other.sha256;

async function assertOurs(watch: Pick<StoreWatch, 'look'>): Promise<void> {
  const found = await watch.look();
  if (!isObjection(found)) return;
  const { found: what, mend } = objectionTo(found);
  throw new StoreLostError(`${what}; ${mend}`);
}

/** Counts, and writes them down with the place now and then. */
interface Keeper {
  progress(): VerifyProgress;
  read(bytes: number): void;
  settle(kind: KeptKind, row: ExpectedObject, problem: Problem | null): Promise<void>;
  save(o: { readonly ended: boolean }): Promise<void>;
}

function createKeeper({ rows, onProgress }: VerifyOptions, run: VerifyRun): Keeper {
  let progress = run.progress;
  let [bytesReadNow, unreadableInARow] = [0, 0];
  let savedAt = performance.now();
  const tell = (): void => onProgress({ run: { ...run, progress }, bytesReadNow });
  const save: Keeper['save'] = async (o) => {
    await rows.save(run.id, progress, o);
    savedAt = performance.now();
  };
  return {
    progress: () => progress,
    save,
    read(bytes) {
      bytesReadNow += bytes;
      tell();
    },
    async settle(kind, row, problem) {
      unreadableInARow = problem?.problem === 'unreadable' ? unreadableInARow + 1 : 0;
      if (unreadableInARow > MAX_UNREADABLE_IN_A_ROW) {
        throw new StoreError('store-unavailable', `${unreadableInARow} objects in a row cannot be read`);
      }
      progress = advanced(progress, kind, row, problem);
      tell();
      // What was found since is not lost with a killed run: it is found again, as the place is saved with it.
      if (performance.now() - savedAt >= SAVE_INTERVAL_MS) await save({ ended: false });
    },
  };
}

const advanced = (
  before: VerifyProgress,
  kind: KeptKind,
  row: ExpectedObject,
  problem: Problem | null,
): VerifyProgress => ({
  kind,
  after: row.id,
  rows: before.rows + 1,
  bytes: before.bytes + (problem === null ? (row.sizeBytes ?? 0) : (problem.found?.sizeBytes ?? 0)),
  withoutDigest: before.withoutDigest + (row.sha256 === null ? 1 : 0),
  problemCount: before.problemCount + (problem === null ? 0 : 1),
  problems:
    problem === null || before.problems.length === MAX_KEPT_PROBLEMS ? before.problems : [...before.problems, problem],
});
