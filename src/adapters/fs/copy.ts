import { constants, copyFile, link, open, rename, rm } from 'node:fs/promises';
import { errnoOf } from './errors.ts';

/** Other file system below the root; 65,000 links to one file (ext4); file systems and policies without hard links. */
const CANNOT_LINK = new Set(['EXDEV', 'EMLINK', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/**
 * A second name for the same bytes: they never change in place, so a hard link is as good as a copy and costs nothing.
 * Durable but for its name when it resolves.
 */
export async function linkOrCopy(fromPath: string, toPath: string): Promise<void> {
  try {
    await link(fromPath, toPath);
  } catch (error) {
    if (!CANNOT_LINK.has(errnoOf(error) ?? '')) throw error;
    await copyFile(fromPath, toPath, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    await syncFile(toPath);
  }
}

/** What became of a first publication: `taken`, another file has the name, and nothing was done; `unlinkable`, likewise. */
export type FirstName = 'named' | 'taken' | 'unlinkable';

/**
 * Gives a file its name, unless another has it already: what is there may be all that somebody else has told the database of.
 * The old name goes. Errors: those of the system calls; then the new name may be there.
 */
export async function moveToNewName(fromPath: string, toPath: string): Promise<FirstName> {
  try {
    await link(fromPath, toPath);
  } catch (error) {
    const errno = errnoOf(error) ?? '';
    if (errno === 'EEXIST') return 'taken';
    if (CANNOT_LINK.has(errno)) return 'unlinkable';
    throw error;
  }
  await rm(fromPath, { force: true });
  return 'named';
}

/** Renaming over another name of the same file does nothing and leaves both, by POSIX; the old name goes here. */
export async function renameLinked(fromPath: string, toPath: string): Promise<void> {
  await rename(fromPath, toPath);
  await rm(fromPath, { force: true });
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}
