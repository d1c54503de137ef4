/** What an operator may ask of a bucket besides keeping objects: a prefix, encryption by a key of theirs, an authority of theirs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import { HeadBucketCommand, HeadObjectCommand, ListObjectsV2Command, PutBucketPolicyCommand } from '@aws-sdk/client-s3';
import { makeCertificate, opensslProblem } from '../../testing/certificate.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { missing } from '../../testing/missing.ts';
import { KMS, KMS_KEY, noS3Server, type S3TestServer, startS3Server } from '../../testing/s3-server.ts';
import { openStore } from '../../testing/s3-stores.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { examineObjectStorage } from './examine.ts';
import { createS3StoreMarks } from './marks.ts';

const TIMEOUT_MS = 60_000;

const why = noS3Server();
if (why !== null) test('a shared bucket', (t) => missing(t, 'an S3 server', why));
else describe('a bucket', { timeout: TIMEOUT_MS * 3 }, () => withServer());

function withServer(): void {
  let server: S3TestServer;
  before(async () => {
    server = await startS3Server({ config: KMS });
  });
  after(() => server?.close());

  const check = (title: string, work: (t: TestContext) => Promise<void>) => it(title, { timeout: TIMEOUT_MS }, work);

  async function keysIn(bucket: string): Promise<readonly string[]> {
    const { Contents = [] } = await server.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return Contents.map(({ Key = '' }) => Key);
  }

  check('is shared by prefixes, of which none sees another, nor one that has none', async (t) => {
    const settings = await server.newBucket();
    const prefixes = ['', 'one/', 'one/more/', 'on/', 'two/'];
    const stores = await Promise.all(prefixes.map((prefix) => openStore(t, { ...settings, prefix })));
    await Promise.all(stores.map(({ store }, n) => store.put('org/2026/01/mail.eml', Buffer.from(prefixes[n] ?? ''))));
    for (const [n, { store }] of stores.entries()) {
      const bytes = Buffer.concat(await Array.fromAsync(await store.get('org/2026/01/mail.eml')));
      assert.equal(bytes.toString(), prefixes[n]);
      await store.check();
    }
    const [none, one, more, on, two] = await Promise.all(
      stores.map(async ({ store }) => (await Array.fromAsync(store.list('org/'))).map(({ key }) => key)),
    );
    for (const seen of [none, one, more, on, two]) assert.deepEqual(seen, ['org/2026/01/mail.eml']);
    const all = async (n: number) => (await Array.fromAsync(stores[n]?.store.list('') ?? [])).map(({ key }) => key);
    assert.deepEqual(await all(4), ['org/2026/01/mail.eml']);
    assert.deepEqual(await all(3), ['org/2026/01/mail.eml']);
    await stores[4]?.store.remove('org/2026/01/mail.eml');
    const left = prefixes.slice(0, 4).map((prefix) => `${prefix}org/2026/01/mail.eml`);
    assert.deepEqual([...(await keysIn(settings.bucket))].sort(), left.sort(), 'and nothing of ours lies elsewhere');
  });

  check('has a mark of each prefix under it, and doctor leaves nothing', async (t) => {
    const settings = { ...(await server.newBucket()), prefix: 'one/' };
    const marks = createS3StoreMarks({ settings });
    cleanUp(t, () => marks.close());
    await marks.leave('mark', { beside: [], inPlaceOf: [] });
    const said = await examineObjectStorage(settings);
    assert.match(JSON.stringify(said), /the bucket \S+ at \S+, under one\/: written/);
    assert.deepEqual(await keysIn(settings.bucket), ['one/~seen']);
  });

  check('may let us list what is under the prefix alone: a missing object is missing all the same', async (t) => {
    const settings = { ...(await server.newBucket()), prefix: 'one/' };
    const { store } = await openStore(t, settings);
    await store.put('a/b.eml', Buffer.from('x'));
    const Resource = `arn:aws:s3:::${settings.bucket}`;
    const Condition = { Null: { 's3:prefix': 'true' } };
    const Statement = [{ Effect: 'Deny', Principal: '*', Action: 's3:ListBucket', Resource, Condition }];
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
    await server.client.send(new PutBucketPolicyCommand({ Bucket: settings.bucket, Policy }));
    await assert.rejects(server.client.send(new HeadBucketCommand({ Bucket: settings.bucket })), /403|Unknown/);
    assert.equal(await store.head('a/none.eml'), null);
    assert.deepEqual(
      (await examineObjectStorage(settings)).map(({ state }) => state),
      ['ok', 'ok'],
    );
  });

  check('has every object of ours encrypted with the key, and doctor says when it does not know the key', async (t) => {
    const settings = { ...(await server.newBucket()), kmsKeyId: KMS_KEY };
    const { store } = await openStore(t, settings);
    await store.put('a/small.eml', Buffer.from('small'), { mediaType: 'message/rfc822' });
    async function* large() {
      yield randomBytes(600_000);
    }
    await store.put('a/large.eml', large());
    await store.copy('a/small.eml', 'a/copy.eml');
    const marks = createS3StoreMarks({ settings });
    cleanUp(t, () => marks.close());
    await marks.leave('mark', { beside: [], inPlaceOf: [] });
    assert.deepEqual(await marks.read(), ['mark']);
    const keys = await keysIn(settings.bucket);
    assert.deepEqual(keys, ['a/copy.eml', 'a/large.eml', 'a/small.eml', '~seen']);
    for (const Key of keys) {
      const facts = await server.client.send(new HeadObjectCommand({ Bucket: settings.bucket, Key }));
      assert.deepEqual([facts.ServerSideEncryption, facts.SSEKMSKeyId], ['aws:kms', KMS_KEY], Key);
    }
    const copy = await server.client.send(new HeadObjectCommand({ Bucket: settings.bucket, Key: 'a/copy.eml' }));
    assert.equal(copy.ContentType, 'message/rfc822');
    assert.equal((await examineObjectStorage(settings))[0]?.state, 'ok');
    const [unknown] = await examineObjectStorage({ ...settings, kmsKeyId: 'no-such-key' });
    assert.equal(unknown?.state, 'broken');
    assert.match(unknown.found, /OBJECT_STORAGE_KMS_KEY_ID/);
  });

  check('is reached through TLS of an authority of one’s own, and of no other', async (t) => {
    const problem = opensslProblem();
    if (problem !== null) return missing(t, 'openssl', problem);
    const certificate = await makeCertificate(t, { name: 'localhost' });
    const settings = await server.newBucket();
    const endpoint = await terminateTls(t, certificate, settings.endpoint);
    const { store } = await openStore(t, { ...settings, endpoint, caFile: certificate.certFile });
    await store.put('a/b.eml', Buffer.from('through TLS'));
    assert.deepEqual((await Array.fromAsync(store.list(''))).length, 1);
    const states = (await examineObjectStorage({ ...settings, endpoint, caFile: certificate.certFile })).map(
      ({ check: name, state }) => `${name} ${state}`,
    );
    assert.deepEqual(states, ['object store ok', 'clock ok']);
    const others = await makeCertificate(t, { name: 'localhost' });
    for (const caFile of [null, others.certFile]) {
      const { store: wary } = await openStore(t, { ...settings, endpoint, caFile });
      await assert.rejects(wary.check(), /its certificate is not accepted \(.+\); .+ goes into OBJECT_STORAGE_CA_FILE/);
    }
  });

  check('is not opened with an authority that cannot be read, and the setting is named', async (t) => {
    const settings = await server.newBucket();
    const folder = await temporaryFolder(t);
    const empty = join(folder, 'empty.crt');
    await writeFile(empty, 'no certificate');
    for (const [caFile, told] of [
      [join(folder, 'none.crt'), /^OBJECT_STORAGE_CA_FILE: \S+ cannot be read \(ENOENT\)$/],
      [empty, /^OBJECT_STORAGE_CA_FILE: \S+ holds no certificate in PEM$/],
    ] as const) {
      await assert.rejects(openStore(t, { ...settings, caFile }), ({ message }: Error) => told.test(message));
      assert.match((await examineObjectStorage({ ...settings, caFile }))[0]?.found ?? '', told);
    }
  });
}

/** Shape: where the store is to be found with TLS before it. */
async function terminateTls(
  t: TestContext,
  { cert, key }: { readonly cert: string; readonly key: string },
  endpoint: string,
): Promise<string> {
  const port = Number(new URL(endpoint).port);
  const server = createServer({ cert, key }, (socket) => {
    const behind = connect(port, '127.0.0.1');
    for (const each of [socket, behind]) each.on('error', () => each.destroy());
    socket.pipe(behind).pipe(socket);
    cleanUp(t, () => void socket.destroy());
  });
  server.on('tlsClientError', () => {});
  server.listen(0, 'localhost');
  await once(server, 'listening');
  cleanUp(t, () => void server.close());
  return `https://localhost:${(server.address() as AddressInfo).port}`;
}
