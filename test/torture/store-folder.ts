/** The folder of the object files, on a disk of a size where one can be mounted, and what becomes of it. Linux only. */
import { execFile, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { cleanUp } from '../../src/testing/clean-up.ts';

const run = promisify(execFile);

export interface StoreFolder {
  readonly path: string;
  /** null: the disk can be filled. */
  readonly whyNotFilled: string | null;
  /** No more than `roomBytes` is left. */
  fill(roomBytes: number): Promise<void>;
  /** There is room again. */
  makeRoom(): Promise<void>;
  /** Another folder lies in its place: an empty one, or the store of somebody else. Shape: how to put it back. */
  replace(by: 'nothing' | 'another store'): Promise<() => Promise<void>>;
  /** Everything in it is gone. Shape: how to put it back, beside what has come meanwhile. */
  empty(): Promise<() => Promise<void>>;
}

/** Of the store, as the product leaves them. */
const MARKS = '+seen';
const DISK = 'size=1g,mode=711';

/**
 * `dataDir/objects` is made: bound to a folder on a tmpfs where that can be mounted, a plain folder where it cannot.
 * Shape: what is in the store is moved below `inside`, because a rename from one mount to another is none.
 */
export async function openStoreFolder(t: TestContext, dataDir: string): Promise<StoreFolder> {
  const [path, disk] = [join(dataDir, 'objects'), join(dataDir, 'disk')];
  for (const folder of [path, disk]) await mkdir(folder);
  const whyNotFilled = mount(t, disk, ['-t', 'tmpfs', '-o', DISK, 'none']);
  const isMounted = whyNotFilled === null;
  const inside = isMounted ? join(disk, 'objects') : path;
  if (isMounted) {
    await mkdir(inside);
    await run('mount', ['--bind', inside, path]);
    cleanUp(t, () => void spawnSync('umount', ['-l', path]));
  }
  let made = 0;
  return {
    path,
    whyNotFilled,
    async fill(roomBytes) {
      const { blocks, bfree, bsize } = await statfs(disk);
      await run('mount', ['-o', `remount,size=${(blocks - bfree) * bsize + roomBytes}`, disk]);
    },
    makeRoom: async () => void (await run('mount', ['-o', `remount,${DISK}`, disk])),
    async replace(by) {
      const [foreign, aside] = [join(dataDir, `foreign-${++made}`), join(dataDir, `aside-${made}`)];
      await mkdir(foreign);
      if (by === 'another store') await makeAnotherStore(foreign, inside);
      if (!isMounted) {
        await rename(path, aside);
        await rename(foreign, path);
        return async () => {
          await rename(path, foreign);
          await rename(aside, path);
        };
      }
      await bindInPlace(foreign, path);
      return () => bindInPlace(inside, path);
    },
    async empty() {
      const hidden = join(inside, '..', `emptied-${++made}`);
      await mkdir(hidden);
      // The marks go first and come back last: a store that has them is believed when it has no object.
      const marksFirst = (names: readonly string[]) =>
        names.toSorted((a, b) => Number(b === MARKS) - Number(a === MARKS));
      for (const name of marksFirst(await readdir(inside))) await rename(join(inside, name), join(hidden, name));
      return async () => {
        for (const name of marksFirst(await readdir(hidden)).toReversed())
          await mergeBack(join(hidden, name), join(inside, name));
        await rm(hidden, { recursive: true });
      };
    },
  };
}

/** For a moment the folder below lies there. */
async function bindInPlace(folder: string, path: string): Promise<void> {
  await run('umount', ['-l', path]);
  await run('mount', ['--bind', folder, path]);
}

/** It has the folders of the right one, as a copy has that is not whole: a file can be written there at once. */
async function makeAnotherStore(path: string, right: string): Promise<void> {
  for (const entry of await readdir(right, { recursive: true, withFileTypes: true })) {
    const within = join(entry.parentPath, entry.name).slice(right.length + 1);
    if (entry.isDirectory() && !within.startsWith(MARKS)) await mkdir(join(path, within), { recursive: true });
  }
  await mkdir(join(path, MARKS, randomUUID()), { recursive: true });
}

/** What is there meanwhile stays. */
async function mergeBack(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    const target = join(to, join(entry.parentPath, entry.name).slice(from.length + 1));
    if (entry.isDirectory()) await mkdir(target, { recursive: true, mode: 0o700 });
    else {
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await rename(join(entry.parentPath, entry.name), target);
    }
  }
}

/** null, or why it cannot be mounted. */
function mount(t: TestContext, folder: string, args: readonly string[]): string | null {
  const mounted = spawnSync('mount', [...args, folder]);
  if (mounted.status !== 0) return mounted.error?.message ?? mounted.stderr.toString().trim();
  cleanUp(t, () => void spawnSync('umount', ['-l', folder]));
  return null;
}
