import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { createFileObjectStore } from './object-store.ts';

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o7777).toString(8);
const unixOnly = { skip: process.platform === 'win32' ? 'Windows has no modes' : false };

/** Under the umask that the unit has. */
async function modesBy(t: TestContext, readableBy: 'owner' | 'group', directoryBefore = 0o700) {
  const rootDir = join(await temporaryFolder(t), 'objects');
  const organisation = randomUUID();
  const before = process.umask(0o077);
  try {
    await mkdir(join(rootDir, organisation), { recursive: true });
    await chmod(join(rootDir, organisation), directoryBefore);
    const store = await createFileObjectStore({ rootDir, readableBy });
    const key = () => `${organisation}/2026/03/${randomUUID()}.eml`;
    const [small, large, copied] = [key(), key(), key()];
    await store.put(small, Buffer.from('one piece'));
    await store.put(
      large,
      (async function* () {
        yield Buffer.from('many ');
        yield Buffer.from('pieces');
      })(),
    );
    await store.put(large, Buffer.from('replaced'));
    await store.copy(small, copied);
    const directories = [rootDir, ...['', '2026', '2026/03'].map((name) => join(rootDir, organisation, name))];
    return {
      files: await Promise.all([small, large, copied].map((name) => modeOf(join(rootDir, name)))),
      directories: await Promise.all(directories.map(modeOf)),
      incoming: await modeOf(join(rootDir, '+incoming')),
    };
  } finally {
    process.umask(before);
  }
}

test('object files are those of their owner alone', unixOnly, async (t) => {
  const { files, directories } = await modesBy(t, 'owner');
  assert.deepEqual(files, ['600', '600', '600']);
  assert.deepEqual(directories, ['700', '700', '700', '700']);
});

test(
  'with the group as reader it may read files and enter their folders, whatever the umask, and write nothing',
  unixOnly,
  async (t) => {
    const { files, directories, incoming } = await modesBy(t, 'group');
    assert.deepEqual(files, ['640', '640', '640']);
    assert.deepEqual(directories, ['750', '750', '750', '750']);
    assert.equal(incoming, '700');
  },
);

test('a group that a folder hands on (setgid) stays, also below it', unixOnly, async (t) => {
  const { directories } = await modesBy(t, 'group', 0o2700);
  assert.deepEqual(directories.slice(1), ['2750', '2750', '2750']);
});
