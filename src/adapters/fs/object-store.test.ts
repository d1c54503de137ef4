import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readlink, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeObjectStore, isStoreError, keys, once, read } from '../../ports/object-store.contract.ts';
import { syncDirectory } from './directories.ts';
import { INCOMING_NAME } from './incoming.ts';
import { createFileObjectStore, type FileObjectStoreOptions } from './object-store.ts';

describeObjectStore('the file store', async () => {
  const rootDir = await mkdtemp(join(tmpdir(), 'objects-'));
  return {
    store: await createFileObjectStore({ rootDir }),
    close: async () => {
      const left = await readdir(join(rootDir, INCOMING_NAME));
      await rm(rootDir, { recursive: true });
      assert.deepEqual(left, [], 'nothing is left behind, whatever failed');
    },
  };
});

describe('the file store', { timeout: 60_000 }, () => {
  it('keeps an object at root/key, for its owner only', async () => {
    await withStore({}, async (store, rootDir) => {
      await store.put('org/2026/11/a.eml', once('a'));
      assert.equal((await stat(join(rootDir, 'org/2026/11/a.eml'))).mode & 0o777, 0o600);
      for (const directory of ['org', 'org/2026', 'org/2026/11', INCOMING_NAME]) {
        assert.equal((await stat(join(rootDir, directory))).mode & 0o777, 0o700, directory);
      }
    });
  });

  it('shares directory syncs: two hundred puts at once need only a few', async () => {
    let syncs = 0;
    const counted = async (directory: string) => {
      if (directory.endsWith('11')) syncs++;
      // As long as a disk takes; on a memory file system the first sync would end before the second put came.
      await sleep(2);
      await syncDirectory(directory);
    };
    await withStore({ syncDirectory: counted }, async (store) => {
      const names = Array.from({ length: 200 }, (_, i) => `org/2026/11/${i}.eml`);
      await Promise.all(names.map((name) => store.put(name, once(`mail ${name}`))));
      for (const name of names) assert.equal((await read(store, name)).toString(), `mail ${name}`);
      assert.ok(syncs >= 1 && syncs < 60, `${syncs} syncs`);
    });
  });

  it('a failed directory sync refuses every put it was to serve, and none of them is visible', async () => {
    let failing = false;
    const failed = async (directory: string) => {
      if (failing) throw Object.assign(new Error('i/o error'), { code: 'EIO' });
      await syncDirectory(directory);
    };
    await withStore({ syncDirectory: failed }, async (store) => {
      await store.put('org/0.eml', once('good'));
      failing = true;
      const names = Array.from({ length: 20 }, (_, i) => `org/bad-${i}.eml`);
      const outcomes = await Promise.allSettled(names.map((name) => store.put(name, once('bad'))));
      for (const outcome of outcomes) assert.equal(outcome.status, 'rejected');
      await assert.rejects(store.copy('org/0.eml', 'org/copy.eml'), isStoreError('store-unavailable'));
      await assert.rejects(store.put('fresh/2026/a.eml', once('bad')), isStoreError('store-unavailable'));
      assert.deepEqual(await keys(store, ''), ['org/0.eml']);
      failing = false;
      await store.put('fresh/2026/a.eml', once('good'));
      await store.put('org/1.eml', once('good'));
      assert.deepEqual(await keys(store, ''), ['fresh/2026/a.eml', 'org/0.eml', 'org/1.eml']);
    });
  });

  it('a put that fails late does not take away what another has put in its place meanwhile', async () => {
    for (const content of [(text: string) => Buffer.from(text), once]) {
      await withStore({}, async (store, rootDir) => {
        await store.put('org/other.pdf', once('so that the directory is there'));
        const begun = Promise.withResolvers<void>();
        const replaced = Promise.withResolvers<void>();
        const late = await createFileObjectStore({
          rootDir,
          async syncDirectory(directory) {
            if (!directory.endsWith('org')) return syncDirectory(directory);
            begun.resolve();
            await replaced.promise;
            throw Object.assign(new Error('i/o error'), { code: 'EIO' });
          },
        });
        const failing = assert.rejects(late.put('org/a.pdf', content('late')), isStoreError('store-unavailable'));
        await begun.promise;
        await store.put('org/a.pdf', content('committed'));
        replaced.resolve();
        await failing;
        assert.equal((await read(store, 'org/a.pdf')).toString(), 'committed');
      });
    }
  });

  it('a put into a directory another put has just made waits until that directory is durable', async () => {
    const order: string[] = [];
    const { promise: mayGoOn, resolve: goOn } = Promise.withResolvers<void>();
    const slow = async (directory: string) => {
      if (directory.endsWith('2026')) await mayGoOn;
      order.push(directory.slice(-4));
    };
    await withStore({ syncDirectory: slow }, async (store) => {
      const puts = ['a', 'b'].map((name) =>
        store.put(`org/2026/11/${name}.eml`, once(name)).then(() => order.push('done')),
      );
      await sleep(50);
      assert.ok(!order.includes('done'), 'nobody is told before the name of the new directory is synced');
      goOn();
      await Promise.all(puts);
      assert.ok(order.indexOf('2026') < order.indexOf('done'));
    });
  });

  it('makes a directory again that someone tidied away', async () => {
    await withStore({}, async (store, rootDir) => {
      await store.put('org/2026/11/a.eml', once('a'));
      await rm(join(rootDir, 'org'), { recursive: true });
      await store.put('org/2026/11/b.eml', once('b'));
      await store.copy('org/2026/11/b.eml', 'org/2026/11/c.eml');
      assert.deepEqual(await keys(store, 'org/'), ['org/2026/11/b.eml', 'org/2026/11/c.eml']);
    });
  });

  it('a root that is gone is a fault, never a missing object, and is not made anew', async () => {
    await withStore({}, async (store, rootDir) => {
      await store.put('org/a.eml', once('a'));
      await rename(rootDir, `${rootDir}-unmounted`);
      const unavailable = isStoreError('store-unavailable');
      try {
        await assert.rejects(store.put('org/b.eml', once('b')), unavailable);
        await assert.rejects(store.get('org/a.eml'), unavailable);
        await assert.rejects(store.head('org/a.eml'), unavailable);
        await assert.rejects(store.copy('org/a.eml', 'org/b.eml'), unavailable);
        await assert.rejects(keys(store, ''), unavailable);
        await assert.rejects(store.check(), unavailable);
        await assert.rejects(stat(rootDir));
      } finally {
        await rename(`${rootDir}-unmounted`, rootDir);
      }
      assert.equal((await read(store, 'org/a.eml')).toString(), 'a');
      await store.check();
    });
  });

  it('another folder in the place of the root takes nothing, until it is trusted; the right one back, all goes on', async () => {
    for (const content of [(text: string) => Buffer.from(text), large]) {
      await withStore({}, async (store, rootDir) => {
        await store.put('org/2026/a.eml', content('a'), { fresh: true });
        await rename(rootDir, `${rootDir}-right`);
        await mkdir(join(rootDir, INCOMING_NAME), { recursive: true });
        const unavailable = isStoreError('store-unavailable');
        for (const key of ['org/2026/b.eml', 'org/2026/c.eml', 'other/d.eml'])
          await assert.rejects(store.put(key, content('b'), { fresh: true }), unavailable);
        assert.deepEqual(await keys(store, ''), []);
        await store.trustIf(async () => false);
        await assert.rejects(store.put('org/2026/b.eml', content('b'), { fresh: true }), unavailable);
        await store.trustIf(async () => true);
        await store.put('org/2026/b.eml', content('b'), { fresh: true });
        assert.deepEqual(await keys(store, ''), ['org/2026/b.eml']);
        await rm(rootDir, { recursive: true });
        await rename(`${rootDir}-right`, rootDir);
        await store.trustIf(async () => true);
        await store.put('org/2026/e.eml', content('e'), { fresh: true });
        assert.deepEqual(await keys(store, ''), ['org/2026/a.eml', 'org/2026/e.eml']);
      });
    }
  });

  it('the folder that is synced is the one the name leads to: one that was replaced refuses a put, and is then synced itself', async () => {
    for (const content of [(text: string) => Buffer.from(text), large]) {
      for (const replace of [
        async (folder: string) => {
          await rename(folder, `${folder}-old`);
          await mkdir(folder);
          return async () => {};
        },
        // The old folder is what another name leads to.
        async (folder: string) => {
          await rename(folder, `${folder}-old`);
          await mkdir(`${folder}-new`);
          await symlink(`${folder}-new`, folder);
          return async () => {};
        },
        ...(canMount ? [mountOver] : []),
      ]) {
        await withStore({}, async (store, rootDir) => {
          const folder = join(rootDir, 'org/2026');
          await store.put('org/2026/a.eml', content('a'), { fresh: true });
          const undo = await replace(folder);
          try {
            await assert.rejects(
              store.put('org/2026/b.eml', content('b'), { fresh: true }),
              isStoreError('store-unavailable'),
            );
            await assert.rejects(stat(join(folder, 'b.eml')), 'what was refused is not there');
          } finally {
            await undo();
          }
          await store.put('org/2026/c.eml', content('c'), { fresh: true }).catch(() => {}); // Unmounted: found out once more.
          await store.put('org/2026/d.eml', content('d'), { fresh: true });
          assert.ok((await stat(join(folder, 'd.eml'))).isFile());
        });
      }
    }
  });

  it('a first publication never replaces what another has put there meanwhile, and fails without removing it', async () => {
    for (const copied of [false, true]) {
      await withStore({}, async (store, rootDir) => {
        await store.put('org/other.pdf', once('so that the directory is there'));
        const replaced = Promise.withResolvers<void>();
        const begun = Promise.withResolvers<void>();
        let syncs = 0;
        const late = await createFileObjectStore({
          rootDir,
          async syncDirectory(directory) {
            // The first is that of the root, where the organisation's folder is looked for: the name is not taken yet.
            if (!directory.endsWith('org')) {
              begun.resolve();
              await replaced.promise;
              return syncDirectory(directory);
            }
            syncs++;
            throw Object.assign(new Error('i/o error'), { code: 'EIO' });
          },
        });
        const failing = assert.rejects(
          copied ? late.copy('org/other.pdf', 'org/a.pdf') : late.put('org/a.pdf', large('late')),
          isStoreError('store-unavailable'),
        );
        await begun.promise;
        await store.put('org/a.pdf', once('committed'));
        const before = await stat(join(rootDir, 'org/a.pdf'));
        replaced.resolve();
        await failing;
        assert.equal(syncs, 1);
        const after = await read(store, 'org/a.pdf');
        assert.ok(after.length > 0, 'something whole has the name');
        assert.ok(before.size > 0);
      });
    }
  });

  it('removes at the start what a crash left a day ago, and nothing younger', async () => {
    await withStore({}, async (_store, rootDir) => {
      const incoming = join(rootDir, INCOMING_NAME);
      const now = new Date('2026-11-22T12:00:00Z');
      for (const [name, writtenAt] of [
        ['old', new Date('2026-11-21T11:59:59Z')],
        ['young', new Date('2026-11-21T12:00:01Z')],
      ] as const) {
        await writeFile(join(incoming, name), 'half a mail');
        await utimes(join(incoming, name), writtenAt, writtenAt);
      }
      await createFileObjectStore({ rootDir, clock: () => now.getTime() });
      assert.deepEqual(await readdir(incoming), ['young']);
      await rm(join(incoming, 'young'));
    });
  });

  it('lists only objects: no unfinished file, no stranger in the folder', async () => {
    await withStore({}, async (store, rootDir) => {
      await store.put('org/a.eml', once('a'));
      await writeFile(join(rootDir, INCOMING_NAME, 'half'), 'half');
      await mkdir(join(rootDir, 'lost+found'));
      await writeFile(join(rootDir, 'lost+found', 'x'), 'x');
      await symlink('/etc/hostname', join(rootDir, 'org', 'link'));
      assert.deepEqual(await keys(store, ''), ['org/a.eml']);
      await rm(join(rootDir, INCOMING_NAME, 'half'));
    });
  });

  it('closes its files: read whole, stopped early, never begun, aborted, failed', {
    skip: process.platform !== 'linux' && 'counts descriptors in /proc',
  }, async () => {
    await withStore({}, async (store, rootDir) => {
      await store.put('org/a.eml', once(Buffer.alloc(1_000_000)));
      const open = async () => {
        const links = await Promise.all(
          (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
        );
        // Directories stay open, to be synced again.
        return links.filter((link) => link.startsWith(rootDir) && !statSync(link).isDirectory());
      };
      await read(store, 'org/a.eml');
      for await (const _ of await store.get('org/a.eml')) break;
      await (await store.get('org/a.eml'))[Symbol.asyncIterator]().return?.();
      const abort = new AbortController();
      await store.get('org/a.eml', { signal: abort.signal });
      abort.abort();
      const aborting = new AbortController();
      const late = store.get('org/a.eml', { signal: aborting.signal });
      aborting.abort();
      await assert.rejects(late);
      await assert.rejects(store.get('org'));
      await assert.rejects(store.put('org/a.eml', failing()));
      for (let tries = 0; (await open()).length > 0 && tries < 100; tries++) await sleep(10);
      assert.deepEqual(await open(), []);
    });
  });

  it('keeps few directories open, however many organisations get mail, and notices one that was removed', {
    skip: process.platform !== 'linux' && 'counts descriptors in /proc',
  }, async () => {
    await withStore({}, async (store, rootDir) => {
      for (let org = 0; org < 200; org++) await store.put(`org${org}/a.eml`, once(Buffer.from('x')));
      const links = await Promise.all(
        (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
      );
      assert.ok(links.filter((link) => link.startsWith(rootDir)).length <= 64);
      await rm(join(rootDir, 'org199'), { recursive: true });
      await store.put('org199/b.eml', once(Buffer.from('y')));
      assert.equal((await read(store, 'org199/b.eml')).toString(), 'y');
      const after = await Promise.all(
        (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
      );
      assert.ok(!after.includes(`${join(rootDir, 'org199')} (deleted)`));
    });
  });

  it('holds a bounded number of bytes of a large mail', async () => {
    await withStore({}, async (store) => {
      const chunk = Buffer.alloc(100_000);
      const before = process.memoryUsage().arrayBuffers;
      let most = 0;
      async function* large() {
        for (let i = 0; i < 500; i++) {
          most = Math.max(most, process.memoryUsage().arrayBuffers - before);
          yield chunk;
        }
      }
      assert.equal((await store.put('org/large.eml', large())).sizeBytes, 50_000_000);
      assert.ok(most < 4_000_000, `${most} bytes held of 50 MB`);
    });
  });
});

/** In pieces, more than is written at once. */
async function* large(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(600_000);
  yield Buffer.from(text);
}

const canMount =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

async function mountOver(folder: string): Promise<() => Promise<void>> {
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder], { encoding: 'utf8' });
  assert.equal(mounted.status, 0, mounted.stderr);
  // Lazily: the store keeps the folder open.
  return async () => assert.equal(spawnSync('umount', ['--lazy', folder]).status, 0);
}

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(600_000);
  throw new Error('connection lost');
}

async function withStore(
  options: Omit<FileObjectStoreOptions, 'rootDir'>,
  work: (store: Awaited<ReturnType<typeof createFileObjectStore>>, rootDir: string) => Promise<void>,
): Promise<void> {
  const rootDir = await mkdtemp(join(tmpdir(), 'objects-'));
  try {
    await work(await createFileObjectStore({ rootDir, ...options }), rootDir);
    assert.deepEqual(await readdir(join(rootDir, INCOMING_NAME)), []);
  } finally {
    await rm(rootDir, { recursive: true, force: true });
  }
}
