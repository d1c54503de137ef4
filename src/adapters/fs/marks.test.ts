import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isStoreError } from '../../ports/object-store.contract.ts';
import { describeStoreMarks } from '../../ports/store-marks.contract.ts';
import { makeTemporaryFolder, removeFolder, temporaryFolder } from '../../testing/temporary-folder.ts';
import { createFileStoreMarks } from './marks.ts';
import { createFileObjectStore } from './object-store.ts';

describeStoreMarks('the file store', async () => {
  const rootDir = await makeTemporaryFolder();
  return {
    marks: createFileStoreMarks({ rootDir }),
    others: createFileStoreMarks({ rootDir }),
    objects: await createFileObjectStore({ rootDir }),
    close: () => removeFolder(rootDir),
  };
});

const NONE = { beside: [], inPlaceOf: [] };

test('no mark is left in another folder that has taken the place since the marks were read', async (t) => {
  const folder = await temporaryFolder(t);
  const rootDir = join(folder, 'objects');
  await mkdir(rootDir);
  const marks = createFileStoreMarks({ rootDir });
  await marks.leave(randomUUID(), NONE);
  const beside = await marks.read();
  await rename(rootDir, join(folder, 'right'));
  await mkdir(rootDir);
  await assert.rejects(marks.leave(randomUUID(), { beside, inPlaceOf: [] }), isStoreError('store-unavailable'));
  assert.deepEqual(await readdir(rootDir), []);
});

test("nor in one that has marks: a copy of the folder, or another installation's", async (t) => {
  const folder = await temporaryFolder(t);
  const rootDir = join(folder, 'objects');
  await mkdir(rootDir);
  const marks = createFileStoreMarks({ rootDir });
  const [home, foreign] = [randomUUID(), randomUUID()];
  await marks.leave(home, NONE);
  await mkdir(join(folder, 'copy', '+seen', home), { recursive: true });
  await mkdir(join(folder, 'other', '+seen', foreign), { recursive: true });
  for (const [name, there] of [
    ['copy', home],
    ['other', foreign],
  ] as const) {
    const beside = await marks.read();
    await rename(rootDir, join(folder, 'right'));
    await rename(join(folder, name), rootDir);
    await assert.rejects(marks.leave(randomUUID(), { beside, inPlaceOf: [] }), isStoreError('store-unavailable'));
    assert.deepEqual(await readdir(join(rootDir, '+seen')), [there]);
    await rename(rootDir, join(folder, name));
    await rename(join(folder, 'right'), rootDir);
    assert.deepEqual(await marks.read(), [home]);
  }
});

test('a mark is no file, and makes no root', async (t) => {
  const folder = await temporaryFolder(t);
  await createFileStoreMarks({ rootDir: folder }).leave(randomUUID(), NONE);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  assert.ok(entries.every((entry) => entry.isDirectory()));
  const unmounted = createFileStoreMarks({ rootDir: join(folder, 'unmounted') });
  await assert.rejects(unmounted.leave(randomUUID(), NONE), isStoreError('store-unavailable'));
  assert.deepEqual(await unmounted.read(), []);
});
