import { mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreError } from '../../ports/object-store.ts';
import type { StoreMarks } from '../../ports/store-marks.ts';
import { DIRECTORY_MODE, syncDirectory } from './directories.ts';
import { isMissing, storeFault } from './errors.ts';
import { type FileIdentity, identityAt, isSame } from './own-file.ts';

/** No key can have this segment: `+` is not in their alphabet. */
const MARKS_NAME = '+seen';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Empty directories `+seen/{id}`: below the root, every file stays an object. The root has to be there. */
export function createFileStoreMarks({ rootDir }: { readonly rootDir: string }): StoreMarks {
  const marksDir = join(rootDir, MARKS_NAME);
  /** The folder that marks were read in last; null: there was none. */
  let readIn: FileIdentity | null = null;
  return {
    async read() {
      try {
        readIn = await identityAt(marksDir);
        return (await readdir(marksDir)).filter((name) => UUID.test(name));
      } catch (error) {
        if (isMissing(error)) return [];
        throw storeFault('read the mark', error);
      }
    },
    async leave(id, { beside, inPlaceOf }) {
      try {
        await stat(rootDir);
        // Where marks were read a moment ago, another folder lies here now: it must not get one.
        const wereRead = beside.length + inPlaceOf.length > 0;
        if (!wereRead) await makeMarksDir();
        await mkdir(join(marksDir, id), { mode: DIRECTORY_MODE });
        if (wereRead) await assertSameFolder(id);
        await syncDirectory(marksDir);
        const { mtime } = await stat(join(marksDir, id));
        // Another process may have taken it away already.
        for (const other of inPlaceOf) await rmdir(join(marksDir, other)).catch(() => {});
        return mtime;
      } catch (error) {
        throw storeFault('leave a mark', error);
      }
    },
  };

  /** One that was judged ours and is another now would be called ours from then on, for this mark in it. */
  async function assertSameFolder(id: string): Promise<void> {
    const madeIn = await identityAt(marksDir);
    if (readIn === null || (madeIn !== null && isSame(readIn, madeIn))) return;
    await rmdir(join(marksDir, id)).catch(() => {});
    throw new StoreError(
      'store-unavailable',
      'leave a mark: another folder lies there than the one whose marks were read',
    );
  }

  async function makeMarksDir(): Promise<void> {
    if ((await mkdir(marksDir, { recursive: true, mode: DIRECTORY_MODE })) !== undefined) await syncDirectory(rootDir);
  }
}
