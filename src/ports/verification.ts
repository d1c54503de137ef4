/** What `reconcile --verify` asks the database: the rows that name an object, a page at a time, and how far it has come. */
import type { KeptKind } from './reconciliation.ts';

/** What a row says of its object. Documents that are not stored yet, or were erased, name none. */
export interface ExpectedObject {
  readonly id: string;
  readonly orgId: string;
  readonly storageKey: string;
  /** null: the row does not say. */
  readonly sizeBytes: number | null;
  /** Hexadecimal; null: the row does not say. */
  readonly sha256: string | null;
}

/** `missing`: no such object. `unreadable`: the store answers, but not with all of this one. */
export type ProblemCode = 'missing' | 'unreadable' | 'wrong-size' | 'wrong-digest';

export interface Problem extends ExpectedObject {
  readonly kind: KeptKind;
  readonly problem: ProblemCode;
  /** null: it could not be read. */
  readonly found: { readonly sizeBytes: number; readonly sha256: string } | null;
}

/** How far a run has come, and what it has found until there. */
export interface VerifyProgress {
  readonly kind: KeptKind;
  /** Id of the last row of that kind that was verified; null: none yet. */
  readonly after: string | null;
  readonly rows: number;
  /** Of the objects of these rows. */
  readonly bytes: number;
  /** Rows without a digest to compare with. */
  readonly withoutDigest: number;
  readonly problemCount: number;
  /** The first MAX_KEPT_PROBLEMS. */
  readonly problems: readonly Problem[];
}

export const MAX_KEPT_PROBLEMS = 1_000;

export interface VerifyRun {
  readonly id: string;
  readonly startedAt: Date;
  /** Rows with an object, and the sum of their sizes, when it began. */
  readonly total: { readonly rows: number; readonly bytes: number };
  readonly progress: VerifyProgress;
}

/** Errors: rejects when the database cannot be asked. */
export interface Verification {
  /** The run that was stopped, or a new one; there is one at a time. */
  resumeOrBegin(): Promise<VerifyRun>;
  /** `ended`: all rows were verified, and the next run is a new one. */
  save(runId: string, progress: VerifyProgress, o: { readonly ended: boolean }): Promise<void>;
  /** In order of id, those after `after`. */
  page(kind: KeptKind, after: string | null, limit: number): Promise<readonly ExpectedObject[]>;
  /**
   * As the row is now. null: it is gone, names no object any more, or is a document whose message is read again at this
   * moment, which may have written the object and not yet the row.
   */
  lookAgain(kind: KeptKind, id: string): Promise<ExpectedObject | null>;
}
