/**
 * A file of one piece, made under its own name. Callbacks, and no more turns in the thread pool than system calls that may
 * wait for the disk: most mails are small, and what they cost is not their bytes but the hand-overs.
 */
import { close, closeSync, constants, fdatasync, open, write } from 'node:fs';
import type { ObjectAccess } from './access.ts';

/**
 * With O_DSYNC a write returns when its bytes, and what is needed to read them back, are on disk: one turn in the thread
 * pool instead of two. macOS has the flag, but lets the drive keep them in its cache; Windows has none.
 */
const WRITES_ARE_SYNCED = process.platform === 'linux';

const NEW_FILE =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (WRITES_ARE_SYNCED ? constants.O_DSYNC : 0);

/** Owns: the descriptor is the caller's, to be given to `fillNewFile`. Errors: those of open; then there is no file. */
export function createNewFile(path: string, access: ObjectAccess): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, NEW_FILE, access.fileMode, (failure, descriptor) => {
      if (failure === null) resolve(descriptor);
      else reject(failure);
    });
  });
}

/**
 * The bytes survive a power failure when it resolves; whether the name does is another matter.
 * Owns: the descriptor, closed whatever happens. `bytes` must stay as they are until it settles.
 * Errors: those of write and sync; what is in the file then is not known.
 */
export function fillNewFile(descriptor: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    writeFrom(0);

    // A full disk takes what fits and says so only on the next call.
    function writeFrom(from: number): void {
      write(descriptor, bytes, from, (failure, written) => {
        if (failure !== null) close(descriptor, () => reject(failure));
        else if (from + written < bytes.length) writeFrom(from + written);
        // A write of nothing syncs nothing, and the file has to be there all the same.
        else if (WRITES_ARE_SYNCED && bytes.length > 0) end(null);
        else fdatasync(descriptor, end);
      });
    }

    function end(failure: Error | null): void {
      // Nothing of it is left to be written, so this waits for nothing, and is not worth a turn in the thread pool.
      closeSync(descriptor);
      if (failure === null) resolve();
      else reject(failure);
    }
  });
}
