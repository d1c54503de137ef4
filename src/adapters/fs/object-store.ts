import { randomUUID } from 'node:crypto';
import { rm, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { unlessAborted } from '../../ports/abort.ts';
import { gather } from '../../ports/gather.ts';
import { isObjectKey, isObjectKeyPrefix } from '../../ports/keys.ts';
import { type ObjectFacts, type ObjectStore, type PutOptions, StoreError } from '../../ports/object-store.ts';
import type { Log } from '../../telemetry/log.ts';
import { linkOrCopy, renameLinked } from './copy.ts';
import { createObjectDirectories, createOpenDirectorySync, openRootDirectory } from './directories.ts';
import { createDirectorySync } from './directory-sync.ts';
import { errnoOf, isMissing, objectMissing, storeFault } from './errors.ts';
import { createIncomingFile, INCOMING_NAME, removeLeftovers } from './incoming.ts';
import { type FileIdentity, identityOf, removeOwn } from './own-file.ts';
import { openFile } from './read.ts';
import { createNewFile, fillNewFile } from './small-file.ts';
import { objectFacts, walkObjects } from './walk.ts';

/**
 * A mail up to this size is one write; 1,000 connections fill at most 256 MB, and an ordinary mail 16 KiB each.
 * Larger pieces gain nothing: the sync at the end is what a large mail waits for.
 */
const WRITE_PIECE_BYTES = 256 * 1024;

export interface FileObjectStoreOptions {
  /** Made when missing. One file system: files are renamed from `+incoming` to their place. */
  readonly rootDir: string;
  /** Units: milliseconds since 1970. */
  readonly clock?: () => number;
  readonly log?: Log;
  /** true: unfinished files are not looked for at the opening; `removeFileLeftovers` does it. */
  readonly keepLeftovers?: boolean;
  /** For tests that count or fail syncs. */
  readonly syncDirectory?: (directory: string) => Promise<void>;
}

/**
 * Objects as files at `rootDir/{key}`, shared by any number of processes.
 *
 * What comes in pieces is written beside (`+incoming/`), renamed, and then file and directory are synced at the same time:
 * the journal of the file system commits both at once, which halves what a mail waits for. What comes at once is written
 * under its own name. A crash before all is synced may leave an object with missing bytes; whoever put it was never told
 * that it is there. Where the name is taken, it is written beside in any case, and synced before the rename. A file whose
 * sync failed is removed and never tried again: the kernel drops the failed pages and calls the next sync of the same file
 * good. A signal is honoured until the rename, and of what comes at once before it is begun.
 * Errors: rejects with `StoreError` when the root cannot be made, read and written.
 */
export async function createFileObjectStore(options: FileObjectStoreOptions): Promise<ObjectStore> {
  const { clock = Date.now, log } = options;
  const rootDir = resolve(options.rootDir);
  const incomingDir = join(rootDir, INCOMING_NAME);
  const syncShared = createDirectorySync({ syncDirectory: options.syncDirectory ?? createOpenDirectorySync() });
  const directories = createObjectDirectories({ rootDir, syncDirectory: syncShared });

  await translated('open', async () => {
    await openRootDirectory(rootDir, incomingDir);
    if (options.keepLeftovers !== true) await removeLeftovers(incomingDir, clock(), log);
  });

  const incomingPath = () => join(incomingDir, randomUUID());

  function pathOf(key: string): string {
    if (!isObjectKey(key)) throw new StoreError('store-unavailable', `not an object key: ${JSON.stringify(key)}`);
    return join(rootDir, key);
  }

  /**
   * Moves a written file to its name, durably or, unless it replaces another, not at all; `seal` syncs its bytes, if they
   * are not yet. A directory known from before may be gone (someone tidied up): then it is made once more.
   */
  async function publish(
    path: string,
    move: () => Promise<void>,
    {
      seal,
      replaces = false,
      own,
    }: {
      readonly seal?: () => Promise<void>;
      readonly replaces?: boolean;
      /** The file that was moved, where others may write the same object. */
      readonly own?: () => FileIdentity | null;
    } = {},
  ): Promise<void> {
    const directory = dirname(path);
    await directories.ensure(directory);
    await move().catch(async (error: unknown) => {
      if (!isMissing(error)) throw error;
      directories.forget(directory);
      await directories.ensure(directory);
      await move();
    });
    // All are waited for, also after one failed: nothing of this put goes on behind its caller's back.
    const synced = await Promise.allSettled([seal?.(), syncShared(directory)]);
    const failed = synced.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return;
    if (replaces) throw failed.reason;
    const moved = own?.() ?? null;
    await (moved === null ? rm(path, { force: true }) : removeOwn(path, moved)).catch((err: unknown) =>
      log?.error({ err, path }, 'a file that may not be durable stays'),
    );
    throw failed.reason;
  }

  /** "Missing" is a verdict; a root that is not mounted is a fault, and must not look like a thousand lost mails. */
  async function assertRootIsThere(): Promise<void> {
    await stat(incomingDir);
  }

  async function put(key: string, content: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions = {}) {
    const path = pathOf(key);
    const { signal, fresh = false } = options;
    if (!(content instanceof Uint8Array)) return putPieces(path, gather(content, WRITE_PIECE_BYTES, signal), options);
    signal?.throwIfAborted();
    if (await putNew(path, content, fresh)) return { sizeBytes: content.length };
    if (fresh) throw new StoreError('store-unavailable', `write: a key that was said to be new is taken: ${key}`);
    return putPieces(path, [content], options);
  }

  /**
   * Written under its own name at once: what a crash leaves of it has no row. Nobody else knows a fresh name; another,
   * a document's, only who runs the same job a second time.
   * false, and nothing done, where the name is taken.
   */
  async function putNew(path: string, bytes: Uint8Array, fresh: boolean): Promise<boolean> {
    let descriptor: number | null = null;
    let identity: FileIdentity | null = null;
    const create = async (): Promise<void> => {
      descriptor = await createNewFile(path);
      if (!fresh) identity = identityOf(descriptor);
    };
    try {
      await publish(path, create, { seal: () => fillNewFile(descriptor as number, bytes), own: () => identity });
      return true;
    } catch (error) {
      if (descriptor === null && errnoOf(error) === 'EEXIST') return false;
      throw storeFault('write', error);
    }
  }

  async function putPieces(
    path: string,
    pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    { signal, fresh = false }: PutOptions,
  ) {
    const file = createIncomingFile(incomingPath(), log);
    let sizeBytes = 0;
    try {
      for await (const piece of pieces) {
        await translated('write', () => file.write(piece));
        sizeBytes += piece.length;
      }
      signal?.throwIfAborted();
      // What has that name already may be somebody's only copy: a document that another worker has told the database of.
      // It is not replaced before its successor is durable, and not removed when that fails.
      const replaces = !fresh && (await translated('look', () => objectFacts(path, path))) !== null;
      const sealed = () => file.seal();
      if (replaces) await translated('sync', sealed);
      await translated('publish', () =>
        publish(path, () => file.moveTo(path), replaces ? { replaces } : { seal: sealed, own: file.identity }),
      );
    } catch (error) {
      await file.discard();
      throw error;
    }
    return { sizeBytes };
  }

  async function get(key: string, { signal }: { readonly signal?: AbortSignal } = {}) {
    const path = pathOf(key);
    signal?.throwIfAborted();
    const opening = openFile(path);
    const file = await translated('open', () => unlessAborted(opening, signal)).catch((error: unknown) => {
      if (!signal?.aborted) throw error;
      opening.then((late) => late?.close()).catch(() => {});
      throw signal.reason;
    });
    if (file !== null) return file.read(signal);
    await translated('open', assertRootIsThere);
    throw objectMissing(key);
  }

  async function head(key: string): Promise<ObjectFacts | null> {
    const path = pathOf(key);
    return translated('head', async () => {
      const facts = await objectFacts(path, key);
      if (facts === null) await assertRootIsThere();
      return facts;
    });
  }

  async function copy(fromKey: string, toKey: string): Promise<void> {
    const [fromPath, toPath] = [pathOf(fromKey), pathOf(toKey)];
    if ((await head(fromKey)) === null) throw objectMissing(fromKey);
    if (fromKey === toKey) return;
    const beside = incomingPath();
    try {
      await linkOrCopy(fromPath, beside);
      await publish(toPath, () => renameLinked(beside, toPath));
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {});
      if (isMissing(error) && (await head(fromKey)) === null) throw objectMissing(fromKey, error);
      throw storeFault('copy', error);
    }
  }

  async function remove(key: string): Promise<void> {
    const path = pathOf(key);
    await translated('remove', () =>
      unlink(path).catch(async (error: unknown) => {
        // A directory is a part of other keys, no object.
        if ((await objectFacts(path, key)) !== null) throw error;
      }),
    );
  }

  async function* list(prefix: string): AsyncGenerator<ObjectFacts, void, undefined> {
    if (!isObjectKeyPrefix(prefix))
      throw new StoreError('store-unavailable', `not a prefix: ${JSON.stringify(prefix)}`);
    try {
      await assertRootIsThere();
      yield* walkObjects(rootDir, prefix);
    } catch (error) {
      throw storeFault('list', error);
    }
  }

  async function check(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const file = createIncomingFile(incomingPath(), log);
    const written = translated('check', async () => {
      await file.write(Buffer.from('.'));
      await file.seal();
    }).finally(() => file.discard());
    await unlessAborted(written, signal);
  }

  return { put, get, head, copy, remove, list, check };
}

/** Has a server been here? A disk that is not mounted is an empty folder, or none. */
export async function fileObjectStoreExists(rootDir: string): Promise<boolean> {
  return stat(join(rootDir, INCOMING_NAME)).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false;
      throw storeFault('look', error);
    },
  );
}

/** What crashes left in `+incoming` a day ago or earlier; with `dryRun` it is only counted. */
export function removeFileLeftovers(o: {
  readonly rootDir: string;
  readonly dryRun: boolean;
  readonly log?: Log;
}): Promise<number> {
  return translated('look for leftovers', () =>
    removeLeftovers(join(o.rootDir, INCOMING_NAME), Date.now(), o.log, { dryRun: o.dryRun }),
  );
}

/** Only our own system calls run inside: a producer's ECONNRESET is not the store's fault. */
async function translated<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storeFault(action, error);
  }
}
