/**
 * Which database was last seen with which objects. A mark is an id that a server writes into the database first, then leaves
 * beside the objects, and then confirms. The first that a database leaves in a store stays there, its *home mark*; the last one
 * is replaced by the next. A database that knows the home mark and not the last one has been restored from an older backup; one
 * that knows none of them, and has left some, is looking at another store.
 */

/** Beside the objects; no key names it, no list shows it. Errors: `StoreError`. */
export interface StoreMarks {
  /** Those that lie there; none in a store that is new to us, or has no place. */
  read(): Promise<readonly string[]>;
  /**
   * Leaves this mark. Durable, with the store's own time of it, when it resolves. `beside`: marks read that stay; `inPlaceOf`:
   * marks read that go. Where some were read, none is left in a place that leads to another store meanwhile, as far as the
   * store can tell.
   */
  leave(id: string, o: { readonly beside: readonly string[]; readonly inPlaceOf: readonly string[] }): Promise<Date>;
}

/** A time the database has no memory of. */
export interface MemoryGap {
  /** null: since ever. */
  readonly begins: Date | null;
  readonly ends: Date;
}

export interface RecalledMark {
  readonly id: string;
  /** As new as the last one that was confirmed, or about to be. */
  readonly fresh: boolean;
}

/** In the database. Errors: rejects when it cannot be asked. */
export interface MarkMemory {
  /** Of these marks those that are known, oldest first; and whether any was ever known to lie in a store. */
  recall(ids: readonly string[]): Promise<{ readonly known: readonly RecalledMark[]; readonly confirmed: boolean }>;
  remember(id: string): Promise<void>;
  /** It lies in the store, with those beside it. `only`: no other mark counts from now on. */
  confirm(id: string, o: { readonly beside: readonly string[]; readonly only?: boolean }): Promise<void>;
  /** Keys of a few objects that have to be in the store, if any: the newest mails. */
  witnesses(): Promise<readonly string[]>;
  /** The time from the last mark until now is lost; one gap that grows, where several would overlap. */
  rememberGap(): Promise<void>;
  gaps(): Promise<readonly MemoryGap[]>;
  /** The time from the last mark on, which would be lost if now were a restore. */
  openGap(): Promise<MemoryGap>;
}
