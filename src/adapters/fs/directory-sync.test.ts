import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createDirectorySync } from './directory-sync.ts';

/** A disk whose syncs end when the test says so. */
function createSlowDisk() {
  const begun: { readonly directory: string; readonly end: (fault?: Error) => void }[] = [];
  const sync = createDirectorySync({
    syncDirectory: (directory) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      begun.push({ directory, end: (fault) => (fault === undefined ? resolve() : reject(fault)) });
      return promise;
    },
  });
  return { sync, begun };
}

describe('shared directory syncs', { timeout: 10_000 }, () => {
  it('a sync that began before I came is not mine; one more serves all who came since', async () => {
    const { sync, begun } = createSlowDisk();
    const done: string[] = [];
    void sync('d').then(() => done.push('first'));
    for (const name of ['second', 'third']) void sync('d').then(() => done.push(name));
    await turn();
    assert.equal(begun.length, 1);
    begun[0]?.end();
    await turn();
    assert.deepEqual(done, ['first']);
    assert.equal(begun.length, 2);
    const late = sync('d').then(() => done.push('late'));
    begun[1]?.end();
    await turn();
    assert.deepEqual(done, ['first', 'second', 'third']);
    begun[2]?.end();
    await late;
    assert.equal(begun.length, 3);
    void sync('d');
    assert.equal(begun.length, 4, 'an idle directory is synced at once');
  });

  it('directories do not wait for each other', async () => {
    const { sync, begun } = createSlowDisk();
    void sync('a');
    const b = sync('b');
    begun[1]?.end();
    await b;
    assert.deepEqual(
      begun.map(({ directory }) => directory),
      ['a', 'b'],
    );
  });

  it('a failed sync fails those who wait for the next one, too; who comes later starts afresh', async () => {
    const { sync, begun } = createSlowDisk();
    const fault = new Error('i/o error');
    const waiting = [sync('d'), sync('d'), sync('d')];
    begun[0]?.end(fault);
    for (const outcome of await Promise.allSettled(waiting))
      assert.deepEqual(outcome, { status: 'rejected', reason: fault });
    assert.equal(begun.length, 1);
    const later = sync('d');
    begun[1]?.end();
    await later;
  });
});
