/**
 * The files that we, and not PostgreSQL, keep for a cluster. Started by root, PostgreSQL runs as another account: what root
 * reads or writes where that account could have put a link must not lead to a file elsewhere.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf, EmbeddedPostgresError } from './error.ts';

const isRoot = (): boolean => process.getuid?.() === 0;

/** Without blocking, should it be a pipe. An operator's own link is followed, except by root. */
const safely = (flags: number): number => (isRoot() ? flags | constants.O_NOFOLLOW | constants.O_NONBLOCK : flags);

/** Larger than any of them. */
const MAX_BYTES = 64 * 1024;

/** Shape: null when there is none. Errors: `EmbeddedPostgresError` for a link, when we are root. */
export async function readOwnFile(path: string): Promise<string | null> {
  const file = await openOwn(path, constants.O_RDONLY);
  if (file === null) return null;
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Opened for appending, made when there is none. Errors: as `readOwnFile`. */
export async function openOwnLog(path: string): Promise<FileHandle> {
  const file = await openOwn(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
  if (file === null) throw new EmbeddedPostgresError(`the folder of ${path} is gone; set DATA_DIR to one that stays`);
  // A second name may be that of a file elsewhere.
  if (isRoot() && (await file.stat()).nlink !== 1) {
    await file.close();
    throw notAFile(path);
  }
  await giveToOwnerOfFolder(file, path);
  return file;
}

/** Whole or not at all, and durable but for its name. Shape: false when there was one already, which stays. */
export async function createOwnFile(path: string, text: string, mode: number): Promise<boolean> {
  const draft = `${path}.new-${randomBytes(4).toString('hex')}`;
  const file = await open(draft, 'wx', mode);
  try {
    await file.writeFile(text);
    await giveToOwnerOfFolder(file, path);
    await file.sync();
    await link(draft, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
}

/** As `createOwnFile`, in the place of what is there. */
export async function replaceOwnFile(path: string, text: string, mode: number): Promise<void> {
  const draft = `${path}.new-${randomBytes(4).toString('hex')}`;
  if (await createOwnFile(draft, text, mode)) await rename(draft, path);
}

async function openOwn(path: string, flags: number): Promise<FileHandle | null> {
  const file = await open(path, safely(flags), 0o600).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return null;
    throw codeOf(error) === 'ELOOP' ? notAFile(path) : error;
  });
  if (file === null || !isRoot() || (await file.stat()).isFile()) return file;
  await file.close();
  throw notAFile(path);
}

const notAFile = (path: string): EmbeddedPostgresError =>
  new EmbeddedPostgresError(
    `${path} is a link or no ordinary file, which root does not follow; put the file itself there`,
  );

/** A user whose folder root has worked in can go on with it. */
async function giveToOwnerOfFolder(file: FileHandle, path: string): Promise<void> {
  if (!isRoot()) return;
  const { uid, gid } = await stat(dirname(path));
  await file.chown(uid, gid);
}
