import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { cut, isStoreError, keys, once, read } from '../ports/object-store.contract.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import { createRawStore } from './index.ts';

describe('the raw store', { timeout: 60_000 }, () => {
  let rootDir: string;
  let objects: ObjectStore;
  before(async () => {
    rootDir = await mkdtemp(join(tmpdir(), 'raw-'));
    objects = await createFileObjectStore({ rootDir });
  });
  after(() => rm(rootDir, { recursive: true, force: true }));

  const header = 'From: a@buyer.example\r\nSubject: order\r\n';
  const body = randomBytes(900_000);
  const mail = Buffer.concat([Buffer.from(`${header}\r\n`), body]);
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

  for (const [title, sizes] of [
    ['whole', [mail.length]],
    ['in segments', [1460, 65_536]],
    ['in small pieces', [7, 1, 100]],
  ] as const) {
    it(`stores a mail that comes ${title} and says what it is`, async () => {
      const key = `org/${title.replaceAll(' ', '-')}.eml`;
      const stored = await createRawStore({ objects }).store({ keys: [key], body: cut(mail, sizes) });
      assert.equal(stored.sizeBytes, mail.length);
      assert.equal(stored.rawSha256, sha256(mail));
      assert.equal(stored.contentSha256, sha256(body));
      assert.equal(Buffer.from(stored.header.headerBlock).toString(), header);
      assert.equal(stored.header.isPlain, true);
      assert.ok((await read(objects, key)).equals(mail));
    });
  }

  it('another hop changes the raw digest, not the content digest', async () => {
    const store = createRawStore({ objects });
    const first = await store.store({ keys: ['hop/1.eml'], body: once(mail) });
    const again = await store.store({
      keys: ['hop/2.eml'],
      body: cut(Buffer.concat([Buffer.from('Received: from b\r\n'), mail]), [4096]),
    });
    assert.notEqual(again.rawSha256, first.rawSha256);
    assert.equal(again.contentSha256, first.contentSha256);
  });

  it('a mail without an empty line is all header, and its content the digest of nothing', async () => {
    const stored = await createRawStore({ objects }).store({ keys: ['all/header.eml'], body: once(header) });
    assert.equal(stored.contentSha256, sha256(Buffer.alloc(0)));
    assert.equal(Buffer.from(stored.header.headerBlock).toString(), header);
    const empty = await createRawStore({ objects }).store({
      keys: ['all/empty.eml'],
      body: cut(Buffer.alloc(0), [1]),
    });
    assert.equal(empty.sizeBytes, 0);
    assert.equal(empty.header.headerBlock.length, 0);
    assert.equal((await read(objects, 'all/empty.eml')).length, 0);
  });

  it('keeps nothing of an endless header that nobody reads, and stores all of it', async () => {
    const endless = Buffer.concat([Buffer.from('X: '), Buffer.alloc(3_000_000, 'x')]);
    const stored = await createRawStore({ objects }).store({
      keys: ['big/header.eml'],
      body: cut(endless, [65_536]),
    });
    assert.equal(stored.header.headerBlock.length, 0);
    assert.equal(stored.header.isPlain, false);
    assert.equal(stored.rawSha256, sha256(endless));
  });

  it('stores one mail for several organisations', async () => {
    const all = ['a/1.eml', 'b/2.eml', 'c/3.eml'];
    await createRawStore({ objects }).store({ keys: all, body: cut(mail, [50_000]) });
    for (const key of all) assert.ok((await read(objects, key)).equals(mail));
  });

  it('leaves nothing when the connection is lost half-way', async () => {
    const lost = new Error('connection lost');
    async function* broken() {
      yield mail;
      throw lost;
    }
    const all = ['lost/1.eml', 'lost/2.eml'];
    await assert.rejects(createRawStore({ objects }).store({ keys: all, body: broken() }), (error) => error === lost);
    assert.deepEqual(await keys(objects, 'lost/'), []);
    assert.deepEqual(await readdir(join(rootDir, '+incoming')), []);
  });

  it('leaves nothing when one of the copies fails, however late the others are', async () => {
    let underWay = 0;
    const failing: ObjectStore = {
      ...objects,
      async copy(fromKey, toKey) {
        if (toKey.endsWith('2.eml')) throw new StoreError('storage-full', 'no room for this one');
        underWay++;
        await new Promise((resolve) => setTimeout(resolve, 20));
        await objects.copy(fromKey, toKey);
        underWay--;
      },
    };
    const all = ['copies/1.eml', 'copies/2.eml', 'copies/3.eml'];
    const store = createRawStore({ objects: failing });
    await assert.rejects(store.store({ keys: all, body: once(mail) }), isStoreError('storage-full'));
    assert.equal(underWay, 0, 'a copy that ended later would be left behind');
    assert.deepEqual(await keys(objects, 'copies/'), []);
  });

  it('leaves nothing when the deadline passes, during the put or after it', async () => {
    const reason = new Error('deadline');
    const rejectsSo = (error: unknown) => error === reason;
    const during = new AbortController();
    async function* hanging() {
      yield mail;
      setTimeout(() => during.abort(reason), 5);
      await new Promise(() => {});
    }
    const store = createRawStore({ objects });
    await assert.rejects(store.store({ keys: ['late/1.eml'], body: hanging(), signal: during.signal }), rejectsSo);
    const after = new AbortController();
    const late: ObjectStore = {
      ...objects,
      async put(...put) {
        const stored = await objects.put(...put);
        after.abort(reason);
        return stored;
      },
    };
    const all = { keys: ['late/2.eml', 'late/3.eml'], body: once(mail), signal: after.signal };
    await assert.rejects(createRawStore({ objects: late }).store(all), rejectsSo);
    assert.deepEqual(await keys(objects, 'late/'), []);
  });

  it('writes nothing over the bytes of a small mail whose store failed, and may still be sending them', async () => {
    const [first, second] = [Buffer.alloc(9_000, 'a'), Buffer.alloc(9_000, 'b')];
    const held: Uint8Array[] = [];
    let fails = true;
    const slow: ObjectStore = {
      ...objects,
      async put(key, content, options) {
        held.push(content as Uint8Array);
        if (fails) throw new StoreError('store-unavailable', 'no answer within its time');
        return objects.put(key, content, options);
      },
    };
    const store = createRawStore({ objects: slow });
    await assert.rejects(store.store({ keys: ['held/1.eml'], body: cut(first, [4_000]) }));
    fails = false;
    for (const key of ['held/2.eml', 'held/3.eml']) await store.store({ keys: [key], body: cut(second, [4_000]) });
    assert.ok(first.equals(held[0] as Uint8Array));
    assert.equal(held[2]?.buffer, held[1]?.buffer, 'the memory of a mail that is stored is used again');
    assert.notEqual(held[1]?.buffer, held[0]?.buffer);
  });

  it('does not believe a store that took another number of bytes', async () => {
    const forgetful: ObjectStore = {
      ...objects,
      put: async (...put) => ({ sizeBytes: (await objects.put(...put)).sizeBytes - 1 }),
    };
    const store = createRawStore({ objects: forgetful });
    await assert.rejects(store.store({ keys: ['short/1.eml'], body: once(mail) }), isStoreError('store-unavailable'));
    assert.deepEqual(await keys(objects, 'short/'), []);
  });

  it('discards what it can and never rejects', async () => {
    const store = createRawStore({ objects });
    await store.store({ keys: ['gone/1.eml', 'gone/2.eml'], body: once(mail) });
    await store.discard(['gone/1.eml', 'not a key', 'gone/never.eml', 'gone/2.eml']);
    assert.deepEqual(await keys(objects, 'gone/'), []);
  });
});
