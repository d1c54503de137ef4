/** How many objects of a gap (`MemoryGap`) still wait for somebody to decide what becomes of them; kept in the database. */

export interface GapObjects {
  /** Raw mails without a row: each may have got a 250. */
  readonly mails: number;
  /** Documents of such mails. */
  readonly documents: number;
}

/** All gaps together. `begins` null: since ever. `objects` null: not counted yet. */
export interface KnownGap {
  readonly begins: Date | null;
  readonly ends: Date;
  readonly objects: GapObjects | null;
}

/** Errors: rejects when the database cannot be asked. */
export interface GapMemory {
  /** `until`: the end of the last gap that was counted; null: there is none. */
  remember(objects: GapObjects, until: Date | null): Promise<void>;
  /** null where this database was never restored. */
  recall(): Promise<KnownGap | null>;
}
