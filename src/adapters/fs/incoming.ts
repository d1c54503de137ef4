import fs, { closeSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Log } from '../../telemetry/log.ts';
import { type ObjectAccess, OWNER_ONLY } from './access.ts';
import { type FirstName, moveToNewName } from './copy.ts';
import { isMissing } from './errors.ts';
import { type FileIdentity, identityOf } from './own-file.ts';

/** Plain descriptors: a FileHandle costs a mail more than its five system calls. */
const open = promisify(fs.open);
const write = promisify(fs.write);
const fdatasync = promisify(fs.fdatasync);
const close = promisify(fs.close);

/** No key can have this segment: `+` is not in their alphabet. */
export const INCOMING_NAME = '+incoming';

/** Another process may be writing: nothing takes a day to arrive. */
const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * One file on its way in. Opened by the first `write` or by `seal`, so that a put that ends before its first piece
 * never touches the disk.
 * Shape: write*, then moveTo or moveToNew, and seal, in either order; or discard at any time, which is safe after everything.
 */
export interface IncomingFile {
  readonly path: string;
  /** null before it is opened. */
  identity(): FileIdentity | null;
  write(bytes: Uint8Array): Promise<void>;
  /** The bytes survive a power failure when it resolves; whether the name does is another matter. */
  seal(): Promise<void>;
  /** Whatever has that name is replaced. Now `discard` leaves it. */
  moveTo(path: string): Promise<void>;
  /** As `moveToNewName`; `discard` leaves it where it is named. */
  moveToNew(path: string): Promise<FirstName>;
  /** Never throws: failures are logged, and what stays goes with the leftovers. */
  discard(): Promise<void>;
}

export function createIncomingFile(path: string, log?: Log, access: ObjectAccess = OWNER_ONLY): IncomingFile {
  let file: number | null = null;
  let identity: FileIdentity | null = null;
  let onDisk = false;

  async function opened(): Promise<number> {
    if (file !== null) return file;
    file = await open(path, 'wx', access.fileMode);
    onDisk = true;
    access.grantFile(file);
    identity = identityOf(file);
    return file;
  }

  return {
    path,
    identity: () => identity,
    async write(bytes) {
      const target = await opened();
      // A full disk takes what fits and says so only on the next call.
      for (let written = 0; written < bytes.length; ) {
        const { bytesWritten } = await write(target, bytes, written, bytes.length - written, null);
        written += bytesWritten;
      }
    },
    async seal() {
      const sealed = await opened();
      await fdatasync(sealed);
      file = null;
      closeSync(sealed);
    },
    async moveTo(target) {
      if (!onDisk) await opened();
      await rename(path, target);
      onDisk = false;
    },
    async moveToNew(target) {
      if (!onDisk) await opened();
      const outcome = await moveToNewName(path, target);
      if (outcome === 'named') onDisk = false;
      return outcome;
    },
    async discard() {
      try {
        if (file !== null) await close(file);
        file = null;
        if (onDisk) await rm(path, { force: true });
      } catch (error) {
        log?.warn({ err: error, path }, 'an unfinished file could not be removed');
      }
    },
  };
}

/**
 * Removes what crashes left, or with `dryRun` only looks for it; answers how many there were.
 * Errors: none; a file that cannot be removed is logged and tried again at the next start.
 */
export async function removeLeftovers(
  incomingDir: string,
  nowMs: number,
  log?: Log,
  { dryRun = false }: { readonly dryRun?: boolean } = {},
): Promise<number> {
  let leftovers = 0;
  for (const name of await readdir(incomingDir)) {
    const path = join(incomingDir, name);
    try {
      const { mtimeMs } = await stat(path);
      if (nowMs - mtimeMs < LEFTOVER_AGE_MS) continue;
      if (!dryRun) await rm(path, { recursive: true, force: true });
      leftovers++;
      if (!dryRun) log?.info({ path }, 'removed an unfinished file left by a crash');
    } catch (error) {
      if (!isMissing(error)) log?.warn({ err: error, path }, 'an unfinished file could not be removed');
    }
  }
  return leftovers;
}
