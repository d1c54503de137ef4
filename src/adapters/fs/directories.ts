import fs from 'node:fs';
import { mkdir, open, statfs } from 'node:fs/promises';
import { dirname, sep } from 'node:path';
import { promisify } from 'node:util';
import { StoreError } from '../../ports/object-store.ts';
import type { ObjectAccess } from './access.ts';
import { errnoOf, isMissing } from './errors.ts';
import { type FileIdentity, identityAt, identityAtNow, identityOf, isSame } from './own-file.ts';

/** Of what holds no object. */
export const DIRECTORY_MODE = 0o700;

/** An organisation has one directory a month; forgetting one costs a few syncs when it is next used. */
const MAX_KNOWN_DIRECTORIES = 10_000;

/** Windows has no way to sync a directory; NTFS journals names by itself. */
const CAN_SYNC_DIRECTORIES = process.platform !== 'win32';

export async function syncDirectory(directory: string): Promise<void> {
  if (!CAN_SYNC_DIRECTORIES) return;
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

interface OpenDirectory {
  readonly descriptor: number;
  readonly identity: FileIdentity;
  readonly isLocal: boolean;
}

/** ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs. Spec: linux/magic.h */
const LOCAL_TYPES: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0x01021994]);

/** Descriptors are dear; the organisations that get mail at the same time are few. */
const MAX_IDLE_DIRECTORIES = 64;

const openDescriptor = promisify(fs.open);
const fsync = promisify(fs.fsync);
const closeDescriptor = promisify(fs.close);

/**
 * Syncs directories that are synced again and again: each stays open, which saves a mail two turns in the thread pool.
 * What is synced is what the name leads to: a directory that was removed, renamed, or mounted over since it was opened is
 * opened anew. Shape: resolves with the directory that was synced; whether a file was made in that one, its maker compares.
 * Owns: up to MAX_IDLE_DIRECTORIES descriptors, for as long as the process lives.
 */
export function createOpenDirectorySync(): (directory: string) => Promise<FileIdentity | null> {
  const idle = new Map<string, OpenDirectory>();

  async function take(directory: string): Promise<OpenDirectory> {
    const known = idle.get(directory);
    idle.delete(directory);
    if (known !== undefined) return known;
    const { type } = await statfs(directory);
    const descriptor = await openDescriptor(directory, 'r');
    return { descriptor, identity: identityOf(descriptor), isLocal: LOCAL_TYPES.has(type) };
  }

  /** Syncs of one directory may end together (two stores on one root): one descriptor is enough. */
  async function giveBack(directory: string, open: OpenDirectory): Promise<void> {
    const leaving = idle.has(directory) ? directory : idle.size < MAX_IDLE_DIRECTORIES ? null : longestIdle();
    const superfluous = leaving === null ? undefined : idle.get(leaving);
    if (leaving !== null) idle.delete(leaving);
    idle.set(directory, open);
    if (superfluous !== undefined) await closeDescriptor(superfluous.descriptor);
  }

  const longestIdle = (): string | null => idle.keys().next().value ?? null;

  return async (directory) => {
    if (!CAN_SYNC_DIRECTORIES) return null;
    for (let tries = 0; ; tries++) {
      const open = await take(directory);
      const { descriptor, identity, isLocal } = open;
      try {
        await fsync(descriptor);
        const named = await lookAt(directory, isLocal);
        if (named !== null && isSame(named, identity)) {
          await giveBack(directory, open);
          return identity;
        }
      } catch (error) {
        await closeDescriptor(descriptor).catch(() => {});
        throw error;
      }
      await closeDescriptor(descriptor);
      if (tries > 0) throw new StoreError('store-unavailable', `sync: ${directory} leads to another folder each time`);
    }
  };
}

/**
 * The open directory keeps its path in the kernel's memory, so where no server is asked a look at it waits for no disk: it is
 * not worth a turn in the thread pool, which is some 5 % of what a mail costs.
 */
function lookAt(directory: string, isLocal: boolean): FileIdentity | null | Promise<FileIdentity | null> {
  return isLocal ? identityAtNow(directory) : identityAt(directory);
}

/**
 * Makes the root and syncs everything above it: whoever made those directories may not have, and a file in a directory
 * whose own name is lost is lost. Directories above that we may not read are their owner's business.
 */
export async function openRootDirectory(rootDir: string, incomingDir: string): Promise<void> {
  await mkdir(incomingDir, { recursive: true, mode: DIRECTORY_MODE });
  for (let below = incomingDir, above = dirname(below); above !== below; below = above, above = dirname(below)) {
    try {
      await syncDirectory(above);
    } catch (error) {
      const ours = above === rootDir || above.startsWith(rootDir + sep);
      if (ours || !isNotOursToSync(error)) throw error;
    }
  }
}

/** EINVAL, ENOTSUP and EROFS: a file system (overlay, FUSE, read-only) that holds no names of ours to lose. */
function isNotOursToSync(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EINVAL', 'ENOTSUP', 'EROFS'].includes(errnoOf(error) ?? '');
}

/** The directories below the root that objects lie in. */
export interface ObjectDirectories {
  /**
   * Resolves when the directory is there and its name and those of all above it survive a power failure.
   * The first use in a process always syncs, because another process may have made the directory a moment ago.
   * Shape: which one it is.
   * Errors: `StoreError` when the root is not the folder that is trusted, or the directory lies on another file system.
   */
  ensure(directory: string): Promise<FileIdentity>;
  /** It turned out to be gone, or another. */
  forget(directory: string): void;
  /** From now on. */
  trustRoot(identity: FileIdentity): void;
}

export function createObjectDirectories(options: {
  readonly rootDir: string;
  /** The folder that is the root. Another one that lies there later (renamed, mounted over) gets no directory. */
  readonly root: FileIdentity;
  readonly syncDirectory: (directory: string) => Promise<unknown>;
  readonly access: ObjectAccess;
}): ObjectDirectories {
  const { rootDir, access } = options;
  let { root } = options;
  const known = new Map<string, Promise<FileIdentity>>();

  async function make(directory: string): Promise<FileIdentity> {
    const parent = dirname(directory);
    await ensure(parent);
    await mkdir(directory, { mode: access.directoryMode }).catch((error: unknown) => {
      if (isMissing(error)) forget(parent);
      if (errnoOf(error) !== 'EEXIST') throw error;
    });
    await access.grantDirectory(directory);
    await options.syncDirectory(parent);
    const identity = await identityAt(directory);
    if (identity === null) throw new StoreError('store-unavailable', `open: ${directory} is gone again`);
    // `rename` and `link` do not reach it, and it may be mounted for a while only. `doctor` says the same.
    if (identity.device !== root.device) {
      throw new StoreError('store-unavailable', `open: ${directory} lies on another file system than ${rootDir}`);
    }
    return identity;
  }

  /** Not remembered: asked only where a directory is used for the first time, or was found to be another. */
  async function trustedRoot(): Promise<FileIdentity> {
    const found = await identityAt(rootDir);
    if (found !== null && isSame(found, root)) return found;
    const what = found === null ? 'is gone' : 'is another folder than the one that was opened (renamed? mounted over?)';
    throw new StoreError('store-unavailable', `open: ${rootDir} ${what}`);
  }

  function ensure(directory: string): Promise<FileIdentity> {
    if (directory === rootDir) return trustedRoot();
    const before = known.get(directory);
    if (before !== undefined) return before;
    const made = make(directory);
    if (known.size >= MAX_KNOWN_DIRECTORIES) known.clear();
    known.set(directory, made);
    made.catch(() => known.get(directory) === made && known.delete(directory));
    return made;
  }

  /** With everything above it: whoever removes an empty directory often removes its empty parent, too. */
  function forget(directory: string): void {
    for (const path of known.keys()) {
      if (directory === path || directory.startsWith(path + sep)) known.delete(path);
    }
  }

  return {
    ensure,
    forget,
    trustRoot(identity) {
      if (!isSame(identity, root)) known.clear();
      root = identity;
    },
  };
}
