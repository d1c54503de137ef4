/**
 * A file of one piece, made under its own name. Callbacks, and no more turns in the thread pool than system calls that may
 * wait for the disk: most mails are small, and what they cost is not their bytes but the hand-overs.
 */
import { close, closeSync, constants, fdatasync, open, unlink, write } from 'node:fs';
import { FILE_MODE } from './incoming.ts';

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;

/**
 * Makes the file and writes the bytes; nothing is synced yet.
 * Owns: the descriptor is the caller's, to be given to `sealFile`.
 * Errors: those of open and write; then there is no file.
 */
export function writeNewFile(path: string, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, NEW_FILE, FILE_MODE, (failure, descriptor) => {
      if (failure !== null) reject(failure);
      else writeFrom(0, descriptor);
    });

    // A full disk takes what fits and says so only on the next call.
    function writeFrom(from: number, descriptor: number): void {
      write(descriptor, bytes, from, (failure, written) => {
        if (failure !== null) close(descriptor, () => unlink(path, () => reject(failure)));
        else if (from + written < bytes.length) writeFrom(from + written, descriptor);
        else resolve(descriptor);
      });
    }
  });
}

/** The bytes survive a power failure when it resolves. Owns: the descriptor, closed whatever happens. */
export function sealFile(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(descriptor, (failure) => {
      // Nothing of it is left to be written, so this waits for nothing, and is not worth a turn in the thread pool.
      closeSync(descriptor);
      if (failure === null) resolve();
      else reject(failure);
    });
  });
}
