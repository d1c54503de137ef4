import { constants } from 'node:os';
import { StoreError } from '../../ports/object-store.ts';

/** The code of a system call's error, `ENOENT` and the like; undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** ENOTDIR: the key goes on below another key's file, so it names nothing either. */
export function isMissing(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR';
}

/** The fault of a system call in the words of the port; `StoreError`s pass unchanged. */
export function storeFault(action: string, cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause;
  const code = isFull(cause) ? 'storage-full' : 'store-unavailable';
  return new StoreError(code, `${action}: ${errnoOf(cause) ?? String(cause)}`, { cause });
}

/** libuv has no name for EDQUOT (its code reads "Unknown system error -122"), only its number. */
function isFull(error: unknown): boolean {
  if (errnoOf(error) === 'ENOSPC') return true;
  return error instanceof Error && 'errno' in error && error.errno === -constants.errno.EDQUOT;
}

export function objectMissing(key: string, cause?: unknown): StoreError {
  return new StoreError('object-missing', `no object ${key}`, { cause });
}
