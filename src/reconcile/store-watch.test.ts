/** Which store is ours, by marks in real files and a real database. */
import assert from 'node:assert/strict';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { createFileStoreMarks } from '../adapters/fs/marks.ts';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import type { StoreMarks } from '../ports/store-marks.ts';
import { addOrganisation, newMessage, openTestPool } from '../testing/postgres-fixtures.ts';
import { recordingLog } from '../testing/recording-log.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { waitFor } from '../testing/wait-for.ts';
import { openStoreGuard } from './store-guard.ts';
import { createStoreWatch } from './store-watch.ts';

const log = pino({ level: 'silent' });

async function openHouse(t: TestContext) {
  const { pool } = await openTestPool(t);
  const folder = await temporaryFolder(t);
  const rootDir = join(folder, 'objects');
  const objects = await createFileObjectStore({ rootDir });
  const memory = createPostgresMarkMemory({ pool });
  const marks = createFileStoreMarks({ rootDir });
  const options = { marks, memory, objects, log };
  /** Another folder in its place. Shape: how to put the first one back. */
  const replace = async (): Promise<() => Promise<void>> => {
    await rename(rootDir, join(folder, 'right'));
    await mkdir(join(rootDir, '+incoming'), { recursive: true });
    return async () => {
      await rm(rootDir, { recursive: true });
      await rename(join(folder, 'right'), rootDir);
    };
  };
  const left = async (): Promise<readonly string[]> => readdir(join(rootDir, '+seen')).catch(() => []);
  return { pool, folder, rootDir, objects, memory, marks, options, watch: createStoreWatch(options), replace, left };
}

test('a new store gets a mark that stays, and then another that is replaced by the next', async (t) => {
  const { watch, left } = await openHouse(t);
  assert.equal((await watch.visit()).found, 'new');
  const [home = ''] = await left();
  for (let times = 0; times < 3; times++) assert.equal((await watch.visit()).found, 'known');
  const marks = await left();
  assert.deepEqual([marks.length, marks.includes(home)], [2, true]);
});

test('an empty store, and one of another installation, is not ours once this database has left a mark; nothing is left there', async (t) => {
  const { watch, replace, left, marks } = await openHouse(t);
  await watch.visit();
  const back = await replace();
  assert.deepEqual(await watch.visit(), { found: 'store-unmarked', storeNow: null });
  assert.deepEqual(await left(), []);
  await marks.leave('00000000-0000-4000-8000-000000000000', { beside: [], inPlaceOf: [] });
  assert.equal(await watch.look(), 'store-foreign');
  await back();
  assert.equal((await watch.visit()).found, 'known');
});

test('a crash between remembering a mark and leaving it, or before it is confirmed, locks nobody out', async (t) => {
  const { watch, options } = await openHouse(t);
  const crash = (): never => {
    throw new Error('crash');
  };
  const before: StoreMarks = { ...options.marks, leave: async () => crash() };
  const after = { ...options.memory, confirm: async () => crash() };
  await assert.rejects(createStoreWatch({ ...options, marks: before }).visit(), /crash/);
  assert.equal(await watch.look(), 'new', 'the first of all');
  await assert.rejects(createStoreWatch({ ...options, memory: after }).visit(), /crash/);
  assert.equal(await watch.look(), 'known');
  await watch.visit();
  await assert.rejects(createStoreWatch({ ...options, marks: before }).visit(), /crash/);
  await assert.rejects(createStoreWatch({ ...options, memory: after }).visit(), /crash/);
  assert.equal((await watch.visit()).found, 'known');
});

test('of two servers that start together, the second does not take the mails of the first for a restore', async (t) => {
  const { pool, watch, options, objects } = await openHouse(t);
  const slow: StoreMarks = {
    ...options.marks,
    async read() {
      const left = await options.marks.read();
      if ((await pool.query('SELECT FROM store_mark')).rowCount === 0) {
        await watch.visit();
        // Between the two questions of the second one.
        await pool.query('UPDATE store_mark SET left_at = NULL');
        await objects.put('a/first.eml', Buffer.from('mail'));
      }
      return left;
    },
  };
  assert.equal((await createStoreWatch({ ...options, marks: slow }).visit()).found, 'known');
  assert.equal((await pool.query('SELECT FROM store_gap')).rowCount, 0);
});

test('an older database that knows one of the marks goes on, with a gap; one that knows none does not', async (t) => {
  const { pool, watch, left } = await openHouse(t);
  await watch.visit();
  const [home] = await left();
  await watch.visit();
  await pool.query('DELETE FROM store_mark WHERE id <> $1', [home]);
  assert.equal((await watch.visit()).found, 'strange');
  assert.equal((await pool.query('SELECT FROM store_gap')).rowCount, 1);
  assert.equal((await watch.visit()).found, 'known');
  await pool.query(`UPDATE store_mark SET id = gen_random_uuid()`);
  assert.equal((await watch.visit()).found, 'store-foreign');
});

test('an old copy of the store is not ours: its marks are known, and the last one is not among them', async (t) => {
  const { pool, watch, replace, marks } = await openHouse(t);
  await watch.visit();
  const [home = ''] = await marks.read();
  await pool.query(`UPDATE store_mark SET made_at = made_at - interval '1 day', left_at = left_at - interval '1 day'`);
  await watch.visit();
  const back = await replace();
  await marks.leave(home, { beside: [], inPlaceOf: [] });
  assert.equal(await watch.look(), 'store-outdated');
  await back();
  assert.equal(await watch.look(), 'known');
});

test('a clock of the database that was set back accuses nobody, and an old copy is still told apart then', async (t) => {
  const { pool, watch, replace, marks } = await openHouse(t);
  await watch.visit();
  const [home = ''] = await marks.read();
  await watch.visit();
  await pool.query(
    `UPDATE store_mark SET made_at = made_at + interval '1 hour', left_at = left_at + interval '1 hour'`,
  );
  for (let times = 0; times < 3; times++) assert.equal((await watch.visit()).found, 'known');
  await pool.query(`UPDATE store_mark SET left_at = left_at - interval '1 day' WHERE id = $1`, [home]);
  const back = await replace();
  await marks.leave(home, { beside: [], inPlaceOf: [] });
  assert.equal(await watch.look(), 'store-outdated');
  await back();
  assert.equal(await watch.look(), 'known');
});

test('a mark whose server stood still before it was confirmed outdates none of those that replaced it', async (t) => {
  const { pool, watch, memory, marks } = await openHouse(t);
  await watch.visit();
  const late = '00000000-0000-4000-8000-000000000000';
  await memory.remember(late);
  await marks.leave(late, { beside: await marks.read(), inPlaceOf: [] });
  await watch.visit();
  assert.equal((await marks.read()).includes(late), false, 'it was replaced');
  await pool.query(`UPDATE store_mark SET made_at = made_at - interval '1 day', left_at = left_at - interval '1 day'`);
  await memory.confirm(late, { beside: [] });
  assert.equal(await watch.look(), 'known');
  assert.equal((await watch.visit()).found, 'known');
});

test('marks of the version before, which confirms none, are known; a mark never confirmed makes no store foreign', async (t) => {
  const { pool, watch, replace } = await openHouse(t);
  await watch.visit();
  await pool.query('UPDATE store_mark SET left_at = NULL');
  assert.equal(await watch.look(), 'known');
  await replace();
  assert.equal(await watch.look(), 'new');
});

test('where no mark was left yet, the newest mails bear witness', async (t) => {
  const { pool, watch, objects, replace } = await openHouse(t);
  const orgId = await addOrganisation(pool, 'acme');
  const message = newMessage(orgId);
  await objects.put(message.rawStorageKey, Buffer.from('mail'), { fresh: true });
  await createPostgresMessageStore({ pool }).record([[message]]);
  assert.equal(await watch.look(), 'strange');
  const back = await replace();
  assert.equal(await watch.look(), 'store-unmarked');
  await back();
  assert.equal(await watch.look(), 'strange');
});

test('two installations on one store: the newcomer takes nothing away, and is the one that goes', async (t) => {
  const { watch, options } = await openHouse(t);
  const { pool } = await openTestPool(t);
  const newcomer = createStoreWatch({ ...options, memory: createPostgresMarkMemory({ pool }) });
  await watch.visit();
  await watch.visit();
  assert.equal((await newcomer.visit()).found, 'strange');
  assert.equal((await watch.visit()).found, 'strange');
  assert.equal((await newcomer.visit()).found, 'store-foreign');
  assert.equal((await watch.visit()).found, 'known');
});

test('adopted on purpose: this store from now on, and no longer the one before', async (t) => {
  const { pool, watch, replace } = await openHouse(t);
  await watch.visit();
  assert.equal(await watch.adopt(), 'known', 'nothing to adopt');
  const back = await replace();
  await watch.adopt();
  assert.equal(await watch.look(), 'known');
  assert.equal((await pool.query('SELECT FROM store_gap')).rowCount, 1, 'objects without a row are kept');
  await back();
  assert.equal(await watch.look(), 'store-foreign');
});

test('the guard: before the first look nothing is taken; it says what it finds, at once when asked, and when all is well again', async (t) => {
  const { options, replace, left } = await openHouse(t);
  const marks = { ...options.marks, read: async () => Promise.reject(new Error('silent')) };
  const silent = await openStoreGuard({ ...options, marks, place: options.objects });
  assert.equal(silent.objection()?.code, 'store-unasked');
  await silent.stop();
  const guard = await openStoreGuard({ ...options, place: options.objects, anxiousIntervalMs: 20 });
  t.after(() => guard.stop());
  const told: (string | null)[] = [];
  guard.follow((objection) => told.push(objection?.code ?? null));
  assert.equal(guard.objection(), null);
  const back = await replace();
  assert.equal((await guard.ask())?.code, 'store-unmarked');
  await waitFor(async () => guard.objection() !== null, { what: 'the objection' });
  assert.deepEqual(await left(), []);
  await back();
  await waitFor(async () => guard.objection() === null, { what: 'the store to be known again' });
  assert.deepEqual(told, [null, 'store-unmarked', null]);
});

test('marks that cannot be asked for are told once while that lasts, and once more when it begins again', async (t) => {
  const { options } = await openHouse(t);
  const { log: recorded, lines } = recordingLog();
  let reads = 0;
  let away = false;
  const marks: StoreMarks = {
    ...options.marks,
    read: async () => {
      reads++;
      if (away) throw new Error('no permission');
      return options.marks.read();
    },
  };
  const guard = await openStoreGuard({ ...options, marks, log: recorded, intervalMs: 10, anxiousIntervalMs: 10 });
  t.after(() => guard.stop());
  const warnings = (): number => lines.filter((line) => line.startsWith('warn whether this is the known')).length;
  const some = async (): Promise<void> => {
    const enough = reads + 5;
    await waitFor(() => reads >= enough, { what: 'five more looks' });
  };
  for (const times of [1, 2]) {
    away = true;
    await some();
    assert.equal(warnings(), times);
    assert.equal(guard.objection(), null, 'the last verdict stands');
    away = false;
    await some();
  }
});
