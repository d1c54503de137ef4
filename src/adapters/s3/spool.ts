/**
 * Where a large mail waits until its length and digest are known: S3 wants both before the first byte.
 *
 * Nothing here has to survive anything: no mail is acknowledged before the store has it. So nothing is synced, and a
 * file loses its name as soon as it is open: however the process ends, the system takes the bytes back.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm, stat, unlink } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { StoreError } from '../../ports/object-store.ts';
import type { Log } from '../../telemetry/log.ts';

/** Many readers at once, and the disk's cache behind them. */
const READ_PIECE_BYTES = 64 * 1024;

/** A file has a name between two system calls only; another process may be between them now. */
const LEFTOVER_AGE_MS = 60_000;

export interface SpoolFile {
  write(bytes: Uint8Array): Promise<void>;
  /** All that was written, from the start; any number of times. Owns: the caller destroys it. */
  read(): Readable;
  /** Never throws. */
  close(): Promise<void>;
}

export interface Spool {
  open(): Promise<SpoolFile>;
}

/** Makes the folder when it is missing, and clears it of what a crash left. Errors: `StoreError`. */
export async function openSpool(o: { readonly folder: string; readonly log?: Log }): Promise<Spool> {
  await translated(() => mkdir(o.folder, { recursive: true, mode: 0o700 }));
  await removeLeftovers(o.folder, o.log);
  return {
    async open() {
      const path = join(o.folder, randomUUID());
      const file = await translated(() => open(path, 'wx+', 0o600));
      await unlink(path).catch((err: unknown) => o.log?.warn({ err, path }, 'a spool file could not be unlinked'));
      return createSpoolFile(file, o.log);
    },
  };
}

function createSpoolFile(file: FileHandle, log: Log | undefined): SpoolFile {
  let sizeBytes = 0;
  return {
    async write(bytes) {
      // A full disk takes what fits and says so only on the next call.
      for (let written = 0; written < bytes.length; ) {
        const left = bytes.length - written;
        const { bytesWritten } = await translated(() => file.write(bytes, written, left, sizeBytes));
        written += bytesWritten;
        sizeBytes += bytesWritten;
      }
    },
    // Not its own createReadStream: that closes the file when it is destroyed.
    read: () => Readable.from(pieces(file, sizeBytes), { objectMode: false, highWaterMark: READ_PIECE_BYTES }),
    async close() {
      // Waits for a read under way: its descriptor must not become another file's.
      await file.close().catch((err: unknown) => log?.warn({ err }, 'a spool file could not be closed'));
    },
  };
}

async function* pieces(file: FileHandle, sizeBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let position = 0; position < sizeBytes; ) {
    const room = Buffer.allocUnsafeSlow(Math.min(sizeBytes - position, READ_PIECE_BYTES));
    const { bytesRead } = await translated(() => file.read(room, 0, room.length, position));
    if (bytesRead === 0) throw new StoreError('store-unavailable', `the spool file ends at byte ${position}`);
    position += bytesRead;
    yield room.subarray(0, bytesRead);
  }
}

async function removeLeftovers(folder: string, log: Log | undefined): Promise<void> {
  for (const name of await translated(() => readdir(folder))) {
    const path = join(folder, name);
    try {
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs < LEFTOVER_AGE_MS) continue;
      await rm(path, { recursive: true, force: true });
      log?.info({ path }, 'removed a spool file left by a crash');
    } catch (err) {
      log?.warn({ err, path }, 'a spool file left by a crash could not be removed');
    }
  }
}

/** Only our own system calls run inside. */
async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const { code, errno } = cause as NodeJS.ErrnoException;
    // libuv has no name for EDQUOT, only its number.
    const full = code === 'ENOSPC' || errno === -constants.errno.EDQUOT;
    const message = `DATA_DIR: the spool for large mails cannot be used: ${code ?? String(cause)}`;
    throw new StoreError(full ? 'storage-full' : 'store-unavailable', message, { cause });
  }
}
