import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type ObjectStore, StoreError, type StoreErrorCode } from './object-store.ts';

export interface OpenedObjectStore {
  readonly store: ObjectStore;
  readonly close: () => Promise<void>;
}

const DEADLINE_MS = 20_000;

/** What every object store does, whatever is below it; an adapter's test file runs it with the real thing. */
export function describeObjectStore(name: string, open: () => Promise<OpenedObjectStore>): void {
  describe(`${name} as an ObjectStore`, { timeout: DEADLINE_MS * 3 }, () => {
    let opened: OpenedObjectStore;
    let store: ObjectStore;
    before(async () => {
      opened = await open();
      store = opened.store;
    });
    after(() => opened?.close());

    const it20 = (title: string, work: () => Promise<void>) => it(title, { timeout: DEADLINE_MS }, work);
    /** Tests share one store; each works below a folder of its own. */
    const folder = () => `t/${randomUUID()}`;

    for (const sizeBytes of [0, 1, 10_000, 262_143, 300_000]) {
      for (const [what, fresh, used] of [
        ['a key said to be fresh', true, false],
        ['a new key', false, false],
        ['a used key', false, true],
      ] as const) {
        it20(`gives back ${sizeBytes} bytes that were put at once, under ${what}`, async () => {
          const key = `${folder()}/a.eml`;
          if (used) await store.put(key, once('before'));
          const bytes = randomBytes(sizeBytes);
          assert.equal((await store.put(key, bytes, { fresh })).sizeBytes, sizeBytes);
          assert.ok((await read(store, key)).equals(bytes));
          const reason = new Error('deadline');
          const signal = AbortSignal.abort(reason);
          const other = `${folder()}/b.eml`;
          await assert.rejects(store.put(other, bytes, { fresh, signal }), (error) => error === reason);
          assert.equal(await store.head(other), null);
        });
      }
    }

    for (const sizeBytes of [0, 1, 10_000, 262_143, 262_144, 262_145, 6_000_000]) {
      it20(`gives back ${sizeBytes} bytes as they were put`, async () => {
        const key = `${folder()}/a.eml`;
        const bytes = randomBytes(sizeBytes);
        const stored = await store.put(key, cut(bytes, [1, 70_000, 300_000, 13]), { mediaType: 'message/rfc822' });
        assert.equal(stored.sizeBytes, sizeBytes);
        assert.ok((await read(store, key)).equals(bytes));
        const facts = await store.head(key);
        assert.equal(facts?.key, key);
        assert.equal(facts.sizeBytes, sizeBytes);
        assert.ok(Math.abs(facts.modifiedAt.getTime() - Date.now()) < 3_600_000);
      });
    }

    it20('takes many small chunks, empty ones among them', async () => {
      const key = `${folder()}/a.eml`;
      const bytes = randomBytes(20_000);
      await store.put(key, cut(bytes, [1, 0, 2, 0, 0, 1]));
      assert.ok((await read(store, key)).equals(bytes));
    });

    it20('has its own copy of a chunk once it asks for the next', async () => {
      const key = `${folder()}/a.eml`;
      async function* reused() {
        const chunk = Buffer.alloc(1000);
        for (let i = 0; i < 700; i++) yield chunk.fill(i % 256);
      }
      await store.put(key, reused());
      const bytes = await read(store, key);
      for (let i = 0; i < 700; i++) assert.equal(bytes[i * 1000 + 500], i % 256);
    });

    it20('asks for one chunk at a time', async () => {
      let asked = 0;
      let most = 0;
      let left = 50;
      const chunks: AsyncIterable<Uint8Array> = {
        [Symbol.asyncIterator]: () => ({
          async next() {
            most = Math.max(most, ++asked);
            await turn();
            asked--;
            return left-- > 0 ? { done: false, value: Buffer.alloc(50_000) } : { done: true, value: undefined };
          },
        }),
      };
      await store.put(`${folder()}/a.eml`, chunks);
      assert.equal(most, 1);
    });

    it20('replaces what was there', async () => {
      const key = `${folder()}/a.eml`;
      await store.put(key, once('first, and longer'));
      await store.put(key, once('second'));
      assert.equal((await read(store, key)).toString(), 'second');
    });

    it20('one of two puts to the same key wins, whole', async () => {
      const both = [randomBytes(400_000), randomBytes(300_000)];
      for (const content of [(bytes: Buffer) => cut(bytes, [9_999]), (bytes: Buffer) => bytes]) {
        const key = `${folder()}/a.eml`;
        await Promise.all(both.map((bytes) => store.put(key, content(bytes))));
        const bytes = await read(store, key);
        assert.ok(both.some((each) => each.equals(bytes)));
      }
    });

    for (const sizeBytes of [10, 700_000]) {
      it20(`rethrows what the chunks threw after ${sizeBytes} bytes and leaves what was there`, async () => {
        const key = `${folder()}/a.eml`;
        await store.put(key, once('before'));
        const fault = new Error('connection lost');
        async function* broken() {
          yield Buffer.alloc(sizeBytes);
          throw fault;
        }
        await assert.rejects(store.put(key, broken()), (error) => error === fault);
        assert.equal((await read(store, key)).toString(), 'before');
        const other = `${folder()}/b.eml`;
        await assert.rejects(store.put(other, broken()), (error) => error === fault);
        assert.equal(await store.head(other), null);
      });
    }

    it20('shows nothing of an object that is still coming', async () => {
      const within = folder();
      const coming = gate();
      const half = gate();
      async function* slow() {
        yield Buffer.alloc(900_000);
        half.open();
        await coming.opened;
        yield Buffer.alloc(1);
      }
      const put = store.put(`${within}/a.eml`, slow());
      await half.opened;
      assert.equal(await store.head(`${within}/a.eml`), null);
      assert.deepEqual(await keys(store, within), []);
      coming.open();
      assert.equal((await put).sizeBytes, 900_001);
      assert.deepEqual(await keys(store, within), [`${within}/a.eml`]);
    });

    it20('an aborted put ends at once, though the chunks hang, and leaves nothing', async () => {
      const key = `${folder()}/a.eml`;
      const abort = new AbortController();
      const reason = new Error('deadline');
      async function* hanging() {
        yield Buffer.alloc(600_000);
        setTimeout(() => abort.abort(reason), 5);
        await new Promise(() => {});
      }
      await assert.rejects(store.put(key, hanging(), { signal: abort.signal }), (error) => error === reason);
      assert.equal(await store.head(key), null);
      await assert.rejects(store.put(key, once('x'), { signal: abort.signal }));
      assert.equal(await store.head(key), null);
    });

    it20('a missing object is an error of get and copy, null to head, and nothing to remove', async () => {
      const within = folder();
      await assert.rejects(store.get(`${within}/none.eml`), isStoreError('object-missing'));
      await assert.rejects(store.copy(`${within}/none.eml`, `${within}/b.eml`), isStoreError('object-missing'));
      assert.equal(await store.head(`${within}/none.eml`), null);
      await store.remove(`${within}/none.eml`);
      await store.put(`${within}/deep/a.eml`, once('a'));
      assert.equal(await store.head(`${within}/deep`), null, 'part of a key is no object');
      await assert.rejects(store.get(`${within}/deep`), isStoreError('object-missing'));
      await store.remove(`${within}/deep`);
      assert.equal(await store.head(`${within}/deep/a.eml/more`), null, 'a key that goes on is no object');
      await assert.rejects(store.get(`${within}/deep/a.eml/more`), isStoreError('object-missing'));
      await store.remove(`${within}/deep/a.eml/more`);
      assert.equal((await read(store, `${within}/deep/a.eml`)).toString(), 'a');
    });

    it20('a reader may stop early', async () => {
      const key = `${folder()}/a.eml`;
      await store.put(key, once(Buffer.alloc(3_000_000, 'x')));
      for (let i = 0; i < 20; i++) {
        for await (const piece of await store.get(key)) {
          assert.ok(piece.length > 0);
          break;
        }
      }
      assert.equal((await read(store, key)).length, 3_000_000);
    });

    it20('an aborted get ends with the reason', async () => {
      const key = `${folder()}/a.eml`;
      await store.put(key, once(Buffer.alloc(3_000_000, 'x')));
      const reason = new Error('deadline');
      await assert.rejects(store.get(key, { signal: AbortSignal.abort(reason) }), (error) => error === reason);
      const abort = new AbortController();
      const pieces = await store.get(key, { signal: abort.signal });
      await assert.rejects(
        async () => {
          for await (const _ of pieces) abort.abort(reason);
        },
        (error) => error === reason,
      );
    });

    it20('copies, and the copy outlives the original', async () => {
      const within = folder();
      const bytes = randomBytes(500_000);
      await store.put(`${within}/a.eml`, once(bytes));
      await store.put(`${within}/c.eml`, once('replaced by the copy'));
      await store.copy(`${within}/a.eml`, `${within}/other/b.eml`);
      await store.copy(`${within}/a.eml`, `${within}/c.eml`);
      await store.copy(`${within}/a.eml`, `${within}/c.eml`);
      await store.copy(`${within}/a.eml`, `${within}/a.eml`);
      await store.put(`${within}/a.eml`, once('new'));
      assert.ok((await read(store, `${within}/other/b.eml`)).equals(bytes));
      await store.remove(`${within}/a.eml`);
      assert.equal(await store.head(`${within}/a.eml`), null);
      assert.ok((await read(store, `${within}/other/b.eml`)).equals(bytes));
      assert.ok((await read(store, `${within}/c.eml`)).equals(bytes));
      assert.deepEqual(await keys(store, within), [`${within}/c.eml`, `${within}/other/b.eml`]);
    });

    it20('lists by the beginning of the key', async () => {
      const within = folder();
      const all = ['a/1.eml', 'a/2.pdf', 'ab/3.eml', 'b.eml'].map((end) => `${within}/${end}`);
      for (const [i, key] of all.entries()) await store.put(key, once(Buffer.alloc(i + 1)));
      assert.deepEqual(await keys(store, `${within}/`), all);
      assert.deepEqual(await keys(store, within), all);
      assert.deepEqual(await keys(store, `${within}/a`), all.slice(0, 3));
      assert.deepEqual(await keys(store, `${within}/a/`), all.slice(0, 2));
      assert.deepEqual(await keys(store, `${within}/a/2`), [all[1]]);
      assert.deepEqual(await keys(store, `${within}/none/`), []);
      assert.ok((await keys(store, '')).length >= all.length);
      for await (const facts of store.list(`${within}/b`)) {
        assert.equal(facts.sizeBytes, 4);
        assert.ok(facts.modifiedAt instanceof Date);
      }
    });

    for (const key of [
      '',
      '/',
      'a//b',
      '/a',
      'a/',
      '.',
      '..',
      '../a',
      'a/../b',
      'a/./b',
      'a\0b',
      'a b',
      'a\\b',
      'ä',
      'a\n',
      'a:b',
      '~',
      '+incoming/a',
      `${'a/'.repeat(600)}a`,
      'a'.repeat(300),
    ]) {
      it20(`takes no key like ${JSON.stringify(key.slice(0, 20))}`, async () => {
        await store.put('t/good', once('good'));
        await assert.rejects(store.put(key, once('bad')), isStoreError('store-unavailable'));
        await assert.rejects(store.get(key), isStoreError('store-unavailable'));
        await assert.rejects(store.head(key), isStoreError('store-unavailable'));
        await assert.rejects(store.copy('t/good', key), isStoreError('store-unavailable'));
        await assert.rejects(store.copy(key, 't/bad'), isStoreError('store-unavailable'));
        await assert.rejects(store.remove(key), isStoreError('store-unavailable'));
      });
    }

    it20('says that it can be reached and written to, and leaves nothing of the try', async () => {
      const before = await keys(store, '');
      await store.check();
      await store.check(AbortSignal.timeout(DEADLINE_MS));
      assert.deepEqual(await keys(store, ''), before);
      const reason = new Error('deadline');
      await assert.rejects(store.check(AbortSignal.abort(reason)), (error) => error === reason);
    });
  });
}

export function isStoreError(code: StoreErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StoreError, `a StoreError, not ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  };
}

export async function read(store: ObjectStore, key: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of await store.get(key)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** In order, because stores need not list in any. */
export async function keys(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const facts of store.list(prefix)) found.push(facts.key);
  return found.sort();
}

export async function* once(content: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof content === 'string' ? Buffer.from(content) : content;
}

/** The bytes cut into chunks of these sizes, over and over. */
export async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let from = 0, i = 0; from < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}
