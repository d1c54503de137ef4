import { fstatSync, statSync } from 'node:fs';
import { lstat, rm, stat } from 'node:fs/promises';
import { isMissing } from './errors.ts';

/** Which file it is, whatever names it has. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

export function identityOf(descriptor: number): FileIdentity {
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return { device: dev, inode: ino };
}

/** What the path leads to now; null when nothing is there. Errors: those of the system call. */
export async function identityAt(path: string): Promise<FileIdentity | null> {
  const found = await stat(path, { bigint: true }).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  return found === null ? null : { device: found.dev, inode: found.ino };
}

/** As `identityAt`, in the caller's turn: for a path that waits for nothing. */
export function identityAtNow(path: string): FileIdentity | null {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? null : { device: found.dev, inode: found.ino };
}

export const isSame = (one: FileIdentity, other: FileIdentity): boolean =>
  one.device === other.device && one.inode === other.inode;

/**
 * Takes the name away, unless it has become another file's: where two write the same object, one may have replaced what
 * the other made, and told the database of it. Errors: those of the system calls; then the name stays.
 */
export async function removeOwn(path: string, own: FileIdentity): Promise<void> {
  const found = await lstat(path, { bigint: true }).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (found?.dev === own.device && found.ino === own.inode) await rm(path, { force: true });
}
