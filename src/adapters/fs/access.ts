/** Who may read object files beside the account that writes them: nobody, or the group that they belong to. */
import { fchmodSync } from 'node:fs';
import { chmod, stat } from 'node:fs/promises';
import { errnoOf } from './errors.ts';

export interface ObjectAccess {
  readonly fileMode: number;
  readonly directoryMode: number;
  /** Of a file that was just made: a umask such as systemd's 0077 has taken away what `fileMode` gives. */
  grantFile(descriptor: number): void;
  /** Also of a directory that was there before. Its group, and that of what is made in it (setgid), stay. */
  grantDirectory(path: string): Promise<void>;
}

export const OWNER_ONLY: ObjectAccess = {
  fileMode: 0o600,
  directoryMode: 0o700,
  grantFile: () => {},
  grantDirectory: async () => {},
};

const GROUP: ObjectAccess = {
  fileMode: 0o640,
  directoryMode: 0o750,
  grantFile(descriptor) {
    try {
      fchmodSync(descriptor, 0o640);
    } catch (error) {
      unlessNotOurs(error);
    }
  },
  async grantDirectory(path) {
    const { mode } = await stat(path);
    if ((mode & 0o050) === 0o050) return;
    await chmod(path, (mode & 0o7777) | 0o050).catch(unlessNotOurs);
  },
};

/** Somebody else's folder, or a file system whose modes are those of its mount: who reads there is said elsewhere. */
function unlessNotOurs(error: unknown): void {
  if (errnoOf(error) !== 'EPERM') throw error;
}

export const objectAccess = (readableBy: 'owner' | 'group'): ObjectAccess =>
  readableBy === 'group' ? GROUP : OWNER_ONLY;
