/**
 * Which database was last seen with which objects. A mark is an id that a server writes into the database first, and then
 * leaves beside the objects; a database that does not know the mark it finds has been restored from an older backup, or
 * the objects are those of another one.
 */

/** Beside the objects; no key names it, no list shows it. Errors: `StoreError`. */
export interface StoreMarks {
  /** The mark last left; several, when processes left theirs at the same moment; none in a store that is new to us. */
  read(): Promise<readonly string[]>;
  /** Leaves this mark in place of those read. Durable, with the store's own time of it, when it resolves. */
  leave(id: string, inPlaceOf: readonly string[]): Promise<Date>;
}

/** A time the database has no memory of. */
export interface MemoryGap {
  /** null: since ever. */
  readonly begins: Date | null;
  readonly ends: Date;
}

/** In the database. Errors: rejects when it cannot be asked. */
export interface MarkMemory {
  /** Is each of them known? */
  knowsAll(ids: readonly string[]): Promise<boolean>;
  remember(id: string): Promise<void>;
  /** The time from the last mark until now is lost; one gap that grows, where several would overlap. */
  rememberGap(): Promise<void>;
  gaps(): Promise<readonly MemoryGap[]>;
  /** The time from the last mark on, which would be lost if now were a restore. */
  openGap(): Promise<MemoryGap>;
}
