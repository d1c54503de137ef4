import { randomUUID } from 'node:crypto';
import { rm, stat, unlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { unlessAborted } from '../../ports/abort.ts';
import { gather } from '../../ports/gather.ts';
import { isObjectKey, isObjectKeyPrefix } from '../../ports/keys.ts';
import {
  type ObjectFacts,
  type ObjectStore,
  type PutOptions,
  StoreError,
  type StorePlace,
} from '../../ports/object-store.ts';
import type { Log } from '../../telemetry/log.ts';
import { objectAccess } from './access.ts';
import { type FirstName, linkOrCopy, moveToNewName, renameLinked } from './copy.ts';
import { createObjectDirectories, createOpenDirectorySync, openRootDirectory } from './directories.ts';
import { createDirectorySync } from './directory-sync.ts';
import { errnoOf, isMissing, objectMissing, storeFault } from './errors.ts';
import { createIncomingFile, INCOMING_NAME, type IncomingFile, removeLeftovers } from './incoming.ts';
import { type FileIdentity, identityAt, identityOf, isSame, removeOwn } from './own-file.ts';
import { openFile } from './read.ts';
import { createNewFile, fillNewFile } from './small-file.ts';
import { objectFacts, walkObjects } from './walk.ts';

/**
 * A mail up to this size is one write; 1,000 connections fill at most 256 MB, and an ordinary mail 16 KiB each.
 * Larger pieces gain nothing: the sync at the end is what a large mail waits for.
 */
const WRITE_PIECE_BYTES = 256 * 1024;

export interface FileObjectStoreOptions {
  /** Made when missing. One file system: files are linked from `+incoming` to their place. */
  readonly rootDir: string;
  /** Units: milliseconds since 1970. */
  readonly clock?: () => number;
  readonly log?: Log;
  /** Default: the account that writes them, and nobody else. */
  readonly readableBy?: 'owner' | 'group';
  /** true: unfinished files are not looked for at the opening; `removeFileLeftovers` does it. */
  readonly keepLeftovers?: boolean;
  /** For tests that count or fail syncs. Which directory was synced is not compared then. */
  readonly syncDirectory?: (directory: string) => Promise<void>;
}

export interface FileObjectStore extends ObjectStore, StorePlace {}

/**
 * Objects as files at `rootDir/{key}`, shared by any number of processes.
 *
 * What comes in pieces is written beside (`+incoming/`), linked to its name, and then file and directory are synced at the
 * same time: the journal of the file system commits both at once, which halves what a mail waits for. What comes at once is
 * written under its own name. A crash before all is synced may leave an object with missing bytes; whoever put it was never
 * told that it is there. Where the name is taken, it is written beside in any case, and synced before the rename. A file
 * whose sync failed is removed and never tried again: the kernel drops the failed pages and calls the next sync of the same
 * file good. A signal is honoured until it has its name, and of what comes at once before it is begun.
 *
 * A put resolves only where the directory that was synced is the one that the file was made in, below the root that is
 * trusted: the folder that was opened. Another folder in its place (renamed, mounted over) takes nothing until `trustIf`.
 * Errors: rejects with `StoreError` when the root cannot be made, read and written.
 */
export async function createFileObjectStore(options: FileObjectStoreOptions): Promise<FileObjectStore> {
  const { clock = Date.now, log } = options;
  const access = objectAccess(options.readableBy ?? 'owner');
  const rootDir = resolve(options.rootDir);
  const incomingDir = join(rootDir, INCOMING_NAME);
  const { syncDirectory } = options;
  const syncShared = createDirectorySync({
    syncDirectory: syncDirectory ? (directory) => syncDirectory(directory).then(() => null) : createOpenDirectorySync(),
  });
  const root = await translated('open', async () => {
    await openRootDirectory(rootDir, incomingDir);
    await access.grantDirectory(rootDir);
    if (options.keepLeftovers !== true) await removeLeftovers(incomingDir, clock(), log);
    return rootIdentity();
  });
  const directories = createObjectDirectories({ rootDir, root, syncDirectory: syncShared, access });

  async function rootIdentity(): Promise<FileIdentity> {
    const found = await identityAt(rootDir);
    if (found === null) throw new StoreError('store-unavailable', `open: ${rootDir} is gone`);
    return found;
  }

  const incomingPath = () => join(incomingDir, randomUUID());

  function pathOf(key: string): string {
    if (!isObjectKey(key)) throw new StoreError('store-unavailable', `not an object key: ${JSON.stringify(key)}`);
    return join(rootDir, key);
  }

  /**
   * Gives a file its name, durably or, unless it replaces another, not at all; `seal` syncs its bytes, if they are not yet.
   * Where `move` finds the name taken, or cannot give it, nothing is done. A directory known from before may be gone (someone
   * tidied up): then it is made once more.
   */
  async function publish(
    path: string,
    move: () => Promise<FirstName>,
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
  ): Promise<FirstName> {
    const directory = dirname(path);
    let madeIn = await directories.ensure(directory);
    const moved = await move().catch(async (error: unknown) => {
      if (!isMissing(error)) throw error;
      directories.forget(directory);
      madeIn = await directories.ensure(directory);
      return move();
    });
    if (moved !== 'named') return moved;
    const syncs = async (): Promise<void> => {
      const synced = await syncShared(directory);
      if (synced === null || isSame(synced, madeIn)) return;
      // Made in one folder, and another one was synced: renamed, or mounted over. The next put looks afresh.
      directories.forget(directory);
      throw new StoreError('store-unavailable', `sync: ${directory} has become another folder`);
    };
    // All are waited for, also after one failed: nothing of this put goes on behind its caller's back.
    const synced = await Promise.allSettled([seal?.(), syncs()]);
    const failed = synced.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return moved;
    if (replaces) throw failed.reason;
    const named = own?.() ?? null;
    await (named === null ? rm(path, { force: true }) : removeOwn(path, named)).catch((err: unknown) =>
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
    if (fresh) throw takenThoughNew(path);
    return putPieces(path, [content], options);
  }

  const takenThoughNew = (path: string): StoreError =>
    new StoreError('store-unavailable', `write: a key that was said to be new is taken: ${relative(rootDir, path)}`);

  /**
   * Written under its own name at once: what a crash leaves of it has no row. Nobody else knows a fresh name; another,
   * a document's, only who runs the same job a second time.
   * false, and nothing done, where the name is taken.
   */
  async function putNew(path: string, bytes: Uint8Array, fresh: boolean): Promise<boolean> {
    let descriptor: number | null = null;
    let identity: FileIdentity | null = null;
    const create = async (): Promise<FirstName> => {
      descriptor = await createNewFile(path, access);
      access.grantFile(descriptor);
      if (!fresh) identity = identityOf(descriptor);
      return 'named';
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
    const file = createIncomingFile(incomingPath(), log, access);
    let sizeBytes = 0;
    try {
      for await (const piece of pieces) {
        await translated('write', () => file.write(piece));
        sizeBytes += piece.length;
      }
      signal?.throwIfAborted();
      const isTaken = !fresh && (await translated('look', () => objectFacts(path, path))) !== null;
      await translated('publish', () => publishFile(path, file, { fresh, isTaken }));
    } catch (error) {
      await file.discard();
      throw error;
    }
    return { sizeBytes };
  }

  /**
   * What has that name already may be somebody's only copy: a document that another worker has told the database of. It is
   * not replaced before its successor is durable, and not removed when that fails; and only a link tells for certain, and
   * not every file system has them, that nobody else has taken the name meanwhile.
   */
  async function publishFile(
    path: string,
    file: IncomingFile,
    { fresh, isTaken }: { readonly fresh: boolean; readonly isTaken: boolean },
  ): Promise<void> {
    const seal = () => file.seal();
    const first = isTaken ? 'taken' : await publish(path, () => file.moveToNew(path), { seal, own: file.identity });
    if (first === 'named') return;
    if (first === 'taken' && fresh) throw takenThoughNew(path);
    await file.seal();
    const move = async (): Promise<FirstName> => {
      await file.moveTo(path);
      return 'named';
    };
    await publish(path, move, { replaces: !fresh, own: file.identity });
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
      const own = await identityAt(beside);
      const first = await publish(toPath, () => moveToNewName(beside, toPath), { own: () => own });
      if (first === 'named') return;
      const move = async (): Promise<FirstName> => {
        await renameLinked(beside, toPath);
        return 'named';
      };
      await publish(toPath, move, { replaces: true });
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
    const file = createIncomingFile(incomingPath(), log, access);
    const written = translated('check', async () => {
      await file.write(Buffer.from('.'));
      await file.seal();
    }).finally(() => file.discard());
    await unlessAborted(written, signal);
  }

  async function trustIf(isOurs: () => Promise<boolean>): Promise<void> {
    const before = await identityAt(rootDir);
    if (!(await isOurs())) return;
    const after = await identityAt(rootDir);
    if (before !== null && after !== null && isSame(before, after)) directories.trustRoot(after);
  }

  return { put, get, head, copy, remove, list, check, trustIf };
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
