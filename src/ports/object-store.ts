/**
 * Where raw mails and attachments live. A key names one immutable object.
 *
 * Shape: a key is `a/b/c.ext` of `[A-Za-z0-9._-]` segments, none empty, `.` or `..`; no byte of it is a sender's.
 * Errors: `StoreError` only; `storage-full` when there is no room, `object-missing` from `get` and `copy`,
 * `store-unavailable` for every other fault. Text of a cause goes to the log, never to a client.
 */
export interface ObjectStore {
  /**
   * Stores the bytes, or all chunks, under the key, replacing what was there.
   * When it resolves, the bytes survive a power failure. When it rejects (also because `chunks` threw, whose error
   * it rethrows, or the signal aborted), nothing new is visible under the key and nothing is left behind.
   * Owns: drains `chunks`, asking for the next only when there is room; holds a bounded number of bytes. A chunk is the
   * store's until it asks for the next, and bytes given at once are until it resolves or rejects.
   */
  put(key: string, content: Uint8Array | AsyncIterable<Uint8Array>, options?: PutOptions): Promise<StoredObject>;

  /**
   * Opens before it resolves, so that a missing object is an error here and not while reading.
   * Owns: the chunks are the caller's. Iterate it, or abort: what is not iterated stays open.
   */
  get(key: string, options?: { readonly signal?: AbortSignal }): Promise<AsyncIterable<Uint8Array>>;

  head(key: string): Promise<ObjectFacts | null>;

  /** Durable when it resolves; without moving the bytes through this process where the store can. */
  copy(fromKey: string, toKey: string): Promise<void>;

  /** Removing what is not there is no error. */
  remove(key: string): Promise<void>;

  list(prefix: string): AsyncIterable<ObjectFacts>;

  /** Resolves when the store can be reached and written to. */
  check(signal?: AbortSignal): Promise<void>;
}

/** A store in a place that may come to lead to another one: a folder that is renamed, or mounted over. */
export interface StorePlace {
  /** On a yes, what lies in the place now is the store that objects are put into from now on. Errors: those of `isOurs`. */
  trustIf(isOurs: () => Promise<boolean>): Promise<void>;
}

/** Callers give an object below this at once, and a larger one in pieces: it is what stores themselves hold of one. */
export const PUT_AT_ONCE_BYTES = 256 * 1024;

export interface PutOptions {
  /** Media type to remember where the store can. */
  readonly mediaType?: string;
  /** The key was never used: there is nothing under it that could be replaced. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal;
}

export interface StoredObject {
  readonly sizeBytes: number;
}

export interface ObjectFacts {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAt: Date;
}

export type StoreErrorCode = 'store-unavailable' | 'storage-full' | 'object-missing';

export class StoreError extends Error {
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
  }
}
