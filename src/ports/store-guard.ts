/**
 * Is the object store the one that the database knows? One that is empty, another's, or not mounted takes mails whose bytes
 * vanish when the right one is back, and makes every stored mail look lost. So it is asked before the first mail and now and
 * then; while it is not known, nothing is taken and nothing is read.
 */
import { UNCOUNTED } from './job-runner.ts';
import type { NotReadyCode } from './not-ready.ts';

/** Why not, in the words of `/readyz`. */
export type StoreObjectionCode = Extract<NotReadyCode, `store-${string}`>;

export interface StoreObjection {
  readonly code: StoreObjectionCode;
  /** One sentence for the operator. */
  readonly found: string;
  /** What to do about it. */
  readonly mend: string;
  readonly since: Date;
}

export interface StoreGuard {
  /** As of the last look: null when mail may be taken and read. Asks nobody. */
  objection(): StoreObjection | null;
  /** Looks now. Errors: rejects when store or database cannot be asked; then what was found last stands. */
  ask(): Promise<StoreObjection | null>;
  /** Called at each change from now on, and once at once. */
  follow(listener: (objection: StoreObjection | null) => void): void;
}

/** What the store's own words say nothing of: it answers, and is not to be used. */
export class StoreNotKnownError extends Error {
  override readonly name = 'StoreNotKnownError';
  readonly code: StoreObjectionCode;
  constructor({ code, found, mend }: StoreObjection) {
    super(`${UNCOUNTED}${found}; ${mend}`);
    this.code = code;
  }
}
