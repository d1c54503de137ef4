import { fstatSync } from 'node:fs';
import { lstat, rm } from 'node:fs/promises';
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
