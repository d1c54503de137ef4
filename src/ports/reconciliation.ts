/** What `reconcile` asks the database, and what it mends there. Every question is answered for a page, never for all. */

export type KeptKind = 'message' | 'conflict' | 'document';

/** A row that names an object. */
export interface KeptObject {
  readonly id: string;
  readonly orgId: string;
  readonly storageKey: string;
  /** A message that is not PARSED or FAILED yet. */
  readonly open: boolean;
}

/** Errors: rejects when the database cannot be asked. */
export interface Reconciliation {
  /** In order of id, those after `after`. */
  page(kind: KeptKind, after: string | null, limit: number): Promise<readonly KeptObject[]>;

  /** Of these keys, those that the row of their own id does not name. Quick: by primary key. */
  notNamedById(keys: readonly { readonly id: string; readonly key: string }[]): Promise<readonly string[]>;
  /** Of these keys, those that any row names, whatever its id. Slow: reads the tables. */
  named(keys: readonly string[]): Promise<ReadonlySet<string>>;
  /** Shape: slug by id, of those that are known. */
  slugs(orgIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Of a message or of a mail kept aside. */
  rawKeyOf(id: string): Promise<string | null>;
  /** An entry of the audit log for each of these organisations; one that is there twice counts twice. */
  noteRedelivery(orgIds: readonly string[], actor: string): Promise<void>;
  /** Organisations with a message from before that time that is still to be extracted: documents of it may yet get rows. */
  extracting(orgIds: readonly string[], before: Date): Promise<ReadonlySet<string>>;

  /** RECEIVED or STORED → FAILED because its raw object is gone; false when it is neither any more. */
  fail(inboundMessageId: string): Promise<boolean>;

  countMissingJobs(): Promise<number>;
  /** A job for up to `limit` messages that wait for one and have none. */
  addMissingJobs(limit: number): Promise<number>;

  now(): Promise<Date>;
}
