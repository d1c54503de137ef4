/** Rows whose object is gone: looked for in the store one by one, and only then called missing. */
import type { ObjectStore } from '../ports/object-store.ts';
import type { KeptKind, KeptObject, Reconciliation } from '../ports/reconciliation.ts';
import { concurrently } from './concurrently.ts';

const PAGE_ROWS = 500;
const QUESTIONS_AT_ONCE = 16;
/** A few may be somebody's mistake; more than that is a wrong bucket, a disk that is not mounted, a restore gone wrong. */
const BELIEVABLE_MISSING = 10;
const BELIEVABLE_SHARE = 0.01;
/** Kept in memory, to be mended after all were looked at. Of more, the next run finds the rest. */
const MAX_KEPT = 10_000;

export interface MissingObject extends KeptObject {
  readonly kind: KeptKind;
}

export interface MissingObjects {
  readonly looked: number;
  readonly count: number;
  /** The first MAX_KEPT. */
  readonly missing: readonly MissingObject[];
}

const KINDS: readonly KeptKind[] = ['message', 'conflict', 'document'];

/** Changes nothing by itself. Errors: a store that cannot be asked is a fault, never "missing". */
export async function findMissing(o: {
  readonly objects: Pick<ObjectStore, 'head'>;
  readonly rows: Pick<Reconciliation, 'page'>;
  /** Called with what is missing of each page. */
  readonly mend?: (missing: readonly MissingObject[]) => Promise<void>;
}): Promise<MissingObjects> {
  const missing: MissingObject[] = [];
  let [looked, count] = [0, 0];
  for (const kind of KINDS) {
    for (let after: string | null = null; ; ) {
      const page = await o.rows.page(kind, after, PAGE_ROWS);
      const there = await concurrently(
        page,
        QUESTIONS_AT_ONCE,
        async (row) => (await o.objects.head(row.storageKey)) !== null,
      );
      const gone = page.filter((_, index) => !there[index]).map((row) => ({ ...row, kind }));
      count += gone.length;
      missing.push(...gone.slice(0, MAX_KEPT - missing.length));
      if (gone.length > 0) await o.mend?.(gone);
      looked += page.length;
      after = page.at(-1)?.id ?? null;
      if (page.length < PAGE_ROWS) break;
    }
  }
  return { looked, count, missing };
}

export function believable({ looked, count }: MissingObjects): boolean {
  return count <= Math.max(BELIEVABLE_MISSING, looked * BELIEVABLE_SHARE);
}

/** The ids of messages that can still fail; the others have ended, and are only told of. */
export function openMessages(missing: readonly MissingObject[]): readonly string[] {
  return missing.filter(({ kind, open }) => kind === 'message' && open).map(({ id }) => id);
}

/**
 * Open messages become FAILED, after one more look: what is gone for good will be gone tomorrow.
 * Shape: the ids of those that failed.
 */
export async function failMissing(o: {
  readonly objects: Pick<ObjectStore, 'head'>;
  readonly rows: Pick<Reconciliation, 'fail'>;
  readonly missing: readonly MissingObject[];
}): Promise<readonly string[]> {
  const open = new Set(openMessages(o.missing));
  const failed: string[] = [];
  for (const { id, storageKey } of o.missing) {
    if (!open.has(id)) continue;
    if ((await o.objects.head(storageKey)) === null && (await o.rows.fail(id))) failed.push(id);
  }
  return failed;
}
