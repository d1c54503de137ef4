/** What can go wrong on the way to a real store, and what is left of it: nothing. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { cut, keys, once, read } from '../../ports/object-store.contract.ts';
import { StoreError } from '../../ports/object-store.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { missing } from '../../testing/missing.ts';
import { noS3Server, type S3TestServer, startS3Server } from '../../testing/s3-server.ts';
import { HURRIED, openStore } from '../../testing/s3-stores.ts';
import { openLateWay, openWay } from '../../testing/tcp-ways.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { createBucket, probeObjectStorage } from './bucket.ts';
import { storeFault } from './errors.ts';

const TIMEOUT_MS = 60_000;
const why = noS3Server();
if (why !== null) test('a real S3 store that fails', (t) => missing(t, 'an S3 server', why));
else describe('a real S3 store', { timeout: TIMEOUT_MS * 4 }, () => withServer());

function withServer(): void {
  let server: S3TestServer;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server?.close());
  const check = (title: string, work: (t: TestContext) => Promise<void>) => it(title, { timeout: TIMEOUT_MS }, work);

  for (const [when, bytesBefore] of [
    ['before a piece is full', 1_000],
    ['while the spool is filled', 3_000_000],
  ] as const) {
    check(`a sender that vanishes ${when} leaves nothing`, async (t) => {
      const settings = await server.newBucket();
      const { store, spoolDir } = await openStore(t, settings);
      const abort = new AbortController();
      async function* vanishing() {
        for (let sent = 0; sent < bytesBefore; sent += 1_000) yield Buffer.alloc(1_000);
        assert.equal((await openSpoolFiles(spoolDir)).length, bytesBefore > 300_000 ? 1 : 0);
        assert.deepEqual(await readdir(spoolDir), [], 'a spool file has no name');
        setImmediate(() => abort.abort(new Error('connection lost')));
        await new Promise(() => {});
      }
      const put = store.put('a/b.eml', vanishing(), { fresh: true, signal: abort.signal });
      await assert.rejects(put, /connection lost/);
      await assertNothingLeft(settings.bucket, spoolDir);
    });
  }

  check('a sender that vanishes while its mail goes to the store leaves nothing', async (t) => {
    const settings = await server.newBucket();
    const { store, spoolDir } = await openStore(t, settings);
    const bytes = randomBytes(8_000_000);
    for (const delayMs of [0, 1, 2, 4, 8, 16, 32, 64]) {
      const abort = new AbortController();
      async function* whole() {
        yield bytes;
        setTimeout(() => abort.abort(new Error('connection lost')), delayMs);
      }
      const put = store.put(`a/${delayMs}.eml`, whole(), { fresh: true, signal: abort.signal });
      await put.then(
        () => store.remove(`a/${delayMs}.eml`),
        (error: unknown) => assert.match(String(error), /connection lost/),
      );
    }
    await assertNothingLeft(settings.bucket, spoolDir);
  });

  check('what was sent whole and is stored late is removed after that, not before', async (t) => {
    const settings = await server.newBucket();
    const { endpoint } = await openLateWay(t, settings.endpoint, 400);
    const { store, spoolDir } = await openStore(t, { ...settings, endpoint });
    const put = store.put('a/b.eml', once('small'), { fresh: true, signal: AbortSignal.timeout(100) });
    await assert.rejects(put, { name: 'TimeoutError' });
    await sleep(600);
    await assertNothingLeft(settings.bucket, spoolDir);
  });

  check('a connection that falls silent does not hold up the mail: another takes it', async (t) => {
    const settings = await server.newBucket();
    const way = await openWay(t, settings.endpoint, (bytes, _, connection) =>
      connection === 0 ? Buffer.alloc(0) : bytes,
    );
    const { store } = await openStore(t, { ...settings, endpoint: way.endpoint }, { answerTimeoutMs: 300 });
    await store.put('a/b.eml', once('small'));
    assert.equal(way.connections(), 2);
    assert.equal((await read(store, 'a/b.eml')).toString(), 'small');
  });

  check('an upload that is cut is begun again, from the first byte', async (t) => {
    const settings = await server.newBucket();
    const way = await openWay(t, settings.endpoint, (bytes, sent, connection) =>
      connection < 2 && sent + bytes.length > 1_000_000 ? null : bytes,
    );
    const { store, spoolDir } = await openStore(t, { ...settings, endpoint: way.endpoint });
    const bytes = randomBytes(5_000_000);
    assert.deepEqual(await store.put('a/b.eml', cut(bytes, [64_000])), { sizeBytes: bytes.length });
    assert.equal(way.connections(), 3);
    assert.ok((await read(store, 'a/b.eml')).equals(bytes));
    assert.deepEqual(await openSpoolFiles(spoolDir), []);
  });

  check('an upload that is cut every time fails and leaves nothing', async (t) => {
    const settings = await server.newBucket();
    const way = await openWay(t, settings.endpoint, (bytes, sent) => (sent + bytes.length > 1_000_000 ? null : bytes));
    const { store, spoolDir } = await openStore(t, { ...settings, endpoint: way.endpoint });
    const put = store.put('a/b.eml', once(randomBytes(3_000_000)), { fresh: true });
    await assert.rejects(put, refused(/OBJECT_STORAGE_ENDPOINT \S+ closed the connection/));
    await assertNothingLeft(settings.bucket, spoolDir);
  });

  for (const sizeBytes of [20_000, 3_000_000]) {
    check(`one bit of ${sizeBytes} bytes that changes on the way is noticed`, async (t) => {
      const settings = await server.newBucket();
      // Behind the head of the request.
      const flipped = sizeBytes - 5_000;
      const way = await openWay(t, settings.endpoint, (bytes, sent) => {
        const index = flipped - sent;
        if (index >= 0 && index < bytes.length) bytes[index] = (bytes[index] ?? 0) ^ 1;
        return bytes;
      });
      const { store, spoolDir } = await openStore(t, { ...settings, endpoint: way.endpoint });
      const put = store.put('a/b.eml', once(randomBytes(sizeBytes)));
      await assert.rejects(put, refused(/bytes changed on their way|answers 400/));
      await assertNothingLeft(settings.bucket, spoolDir);
    });
  }

  check('a reader may take its time', async (t) => {
    const settings = await server.newBucket();
    const { store: patient } = await openStore(t, settings);
    const { store } = await openStore(t, settings, { stallTimeoutMs: HURRIED.stallTimeoutMs ?? 0 });
    const bytes = randomBytes(6_000_000);
    await patient.put('a/b.eml', once(bytes));
    const hash = createHash('sha256');
    let pauses = 3;
    for await (const piece of await store.get('a/b.eml')) {
      hash.update(piece);
      if (pauses-- > 0) await sleep((HURRIED.stallTimeoutMs ?? 0) + 100);
    }
    assert.equal(hash.digest('hex'), createHash('sha256').update(bytes).digest('hex'));
  });

  check('a hundred large objects at the same time all arrive', async (t) => {
    const { store, spoolDir } = await openStore(t, await server.newBucket());
    const bytes = randomBytes(1_000_000);
    await Promise.all(Array.from({ length: 100 }, (_, i) => store.put(`a/${i}.eml`, cut(bytes, [64_000]))));
    let [count, size] = [0, 0];
    for await (const { sizeBytes } of store.list('a/')) [count, size] = [count + 1, size + sizeBytes];
    assert.deepEqual([count, size], [100, 100_000_000]);
    assert.deepEqual(await openSpoolFiles(spoolDir), []);
  });

  check('a list goes on over its pages', async (t) => {
    const { store } = await openStore(t, await server.newBucket(), { pageKeys: 4 });
    const all = Array.from({ length: 10 }, (_, i) => `a/${i}.eml`);
    await Promise.all(all.map((key) => store.put(key, once('x'))));
    assert.deepEqual(await keys(store, 'a/'), all);
  });

  check('spool files with a name are leftovers, and go at the next start', async (t) => {
    const settings = await server.newBucket();
    const { spoolDir } = await openStore(t, settings);
    await writeFile(join(spoolDir, 'old'), 'left by a crash');
    await utimes(join(spoolDir, 'old'), new Date(0), new Date(0));
    await writeFile(join(spoolDir, 'new'), 'another process is about to unlink it');
    const { createS3ObjectStore } = await import('./object-store.ts');
    const next = await createS3ObjectStore({ settings, spoolDir });
    cleanUp(t, () => next.close());
    assert.deepEqual(await readdir(spoolDir), ['new']);
  });

  check('what is wrong with the settings is told in one line that names the setting', async (t) => {
    const settings = await server.newBucket();
    for (const [wrong, told] of [
      [{ bucket: 'no-such-bucket' }, /OBJECT_STORAGE_BUCKET: there is no bucket no-such-bucket at http/],
      [{ accessKey: 'nobody' }, /OBJECT_STORAGE_ACCESS_KEY: \S+ does not know this access key/],
      [{ secretKey: 'hunter2' }, /OBJECT_STORAGE_SECRET_KEY: it is not the secret key of this/],
    ] as const) {
      const given = { ...settings, ...wrong };
      const { store } = await openStore(t, given);
      await assert.rejects(store.check(), refused(told));
      await assert.rejects(store.put('a/b.eml', once('x')), refused(told));
      await assert.rejects(store.put('a/b.eml', once(randomBytes(600_000))), refused(told));
      await assert.rejects(read(store, 'a/b.eml'), refused(told));
      await assert.rejects(keys(store, ''), refused(told));
      assert.match((await probeObjectStorage(given)).problem ?? '', told);
    }
  });

  check('in a bucket that is gone nothing is "missing"', async (t) => {
    const { store } = await openStore(t, { ...(await server.newBucket()), bucket: 'no-such-bucket' });
    await assert.rejects(store.head('a/b.eml'), refused(/OBJECT_STORAGE_BUCKET/));
    await assert.rejects(store.get('a/b.eml'), refused(/OBJECT_STORAGE_BUCKET/));
  });

  check('a wrong clock is told as such', async () => {
    const settings = await server.newBucket();
    const client = new S3Client({
      ...{ endpoint: settings.endpoint, region: settings.region, forcePathStyle: true, maxAttempts: 1 },
      credentials: { accessKeyId: settings.accessKey, secretAccessKey: settings.secretKey },
      systemClockOffset: 3_600_000,
    });
    const error = await client.send(new ListObjectsV2Command({ Bucket: settings.bucket })).catch((e: unknown) => e);
    client.destroy();
    assert.match(storeFault('list', error, settings).message, /the clock of this machine differs/);
  });

  check('an outage is an error at once, and over when it is over', async (t) => {
    const { store, spoolDir } = await openStore(t, await server.newBucket());
    await store.put('a/before.eml', once('before'));
    await server.outage();
    try {
      await assert.rejects(store.check(), refused(/refuses connections/));
      await assert.rejects(store.put('a/b.eml', once('x'), { fresh: true }), refused(/refuses connections/));
      await assert.rejects(store.put('a/c.eml', once(randomBytes(600_000))), refused(/refuses connections/));
      assert.deepEqual(await openSpoolFiles(spoolDir), []);
    } finally {
      await server.resume();
    }
    await store.check();
    assert.deepEqual(await keys(store, ''), ['a/before.eml']);
  });

  check('probing a store that is right finds nothing and leaves nothing', async () => {
    const settings = await server.newBucket();
    assert.deepEqual(await probeObjectStorage(settings), { problem: null, warnings: [] });
    const { KeyCount } = await server.client.send(new ListObjectsV2Command({ Bucket: settings.bucket }));
    assert.equal(KeyCount, 0);
  });

  check('a bucket is made when asked to, and only once', async (t) => {
    const settings = { ...(await server.newBucket()), bucket: 'made-by-hand' };
    const { store } = await openStore(t, settings);
    await assert.rejects(store.check(), refused(/OBJECT_STORAGE_BUCKET/));
    assert.equal(await createBucket(settings), true);
    assert.equal(await createBucket(settings), false);
    await store.check();
    await assert.rejects(createBucket({ ...settings, secretKey: 'hunter2' }), refused(/OBJECT_STORAGE_SECRET_KEY/));
  });

  /** No object, no part of one, no spool file. What was sent before the connection was cut may take the store a moment. */
  async function assertNothingLeft(bucket: string, spoolDir: string): Promise<void> {
    assert.deepEqual(await readdir(spoolDir), []);
    await waitFor(async () => (await openSpoolFiles(spoolDir)).length === 0, { what: 'the spool files to be closed' });
    const { KeyCount } = await server.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    assert.equal(KeyCount, 0);
    const { Uploads = [] } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    assert.deepEqual(Uploads, []);
  }
}

function refused(told: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StoreError, String(error));
    assert.match(error.message, told);
    assert.doesNotMatch(error.message, /hunter2|\n/);
    return true;
  };
}

/** What this process holds open of the folder, names or none. */
async function openSpoolFiles(spoolDir: string): Promise<readonly string[]> {
  if (process.platform !== 'linux') return [];
  const found = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return found.filter((path) => path.startsWith(spoolDir) && path !== spoolDir);
}
