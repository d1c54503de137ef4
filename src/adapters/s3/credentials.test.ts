/** Who we are to a real store, and what happens when that changes while we run. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext, test } from 'node:test';
import { PutBucketPolicyCommand } from '@aws-sdk/client-s3';
import { StoreError } from '../../ports/object-store.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { startCredentialsEndpoint } from '../../testing/credentials-endpoint.ts';
import { missing } from '../../testing/missing.ts';
import { recordingLog } from '../../testing/recording-log.ts';
import { noS3Server, type S3TestServer, STS, startS3Server } from '../../testing/s3-server.ts';
import { openStore } from '../../testing/s3-stores.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { probeObjectStorage } from './bucket.ts';
import type { S3Settings } from './client.ts';
import { storeFault } from './errors.ts';
import { examineObjectStorage } from './examine.ts';
import type { S3ObjectStore } from './object-store.ts';

const TIMEOUT_MS = 60_000;
const NONE = { accessKey: null, secretKey: null };

const why = noS3Server();
if (why !== null) test('credentials', (t) => missing(t, 'an S3 server', why));
else describe('credentials of an S3 store', { timeout: TIMEOUT_MS * 3 }, () => withServer());

function withServer(): void {
  let server: S3TestServer;
  /** Hands out sessions itself. */
  let sts: S3TestServer;
  before(async () => {
    [server, sts] = await Promise.all([startS3Server(), startS3Server({ config: STS })]);
  });
  after(async () => {
    await Promise.all([server?.close(), sts?.close()]);
  });

  const check = (title: string, work: (t: TestContext) => Promise<void>) => it(title, { timeout: TIMEOUT_MS }, work);

  check('keys from files are read again when they are refused, by every request that is under way', async (t) => {
    const first = await server.newKey();
    const files = await secretFiles(t, first);
    const settings = { ...(await server.newBucket()), ...first, secretFiles: files.secretFiles };
    const { store } = await openStore(t, settings);
    await store.put('a/first.eml', Buffer.from('first'));
    const second = await server.newKey();
    await server.removeKey(first.accessKey);
    await refusedWith(store, /OBJECT_STORAGE_ACCESS_KEY: \S+ does not know this access key/);
    await files.write(second);
    await useAll(store);
    // A file that is ahead of the store, or wrong, is not asked as long as the key in use is good.
    await files.write({ ...second, secretKey: 'hunter2' });
    await useAll(store);
    const { store: next } = await openStore(t, { ...settings, ...second, secretKey: 'hunter2' });
    await refusedWith(next, /OBJECT_STORAGE_SECRET_KEY: it is not the secret key/);
    await files.write(second);
    await useAll(next);
  });

  check(
    'a file that cannot be read when its key is refused is told once, and so is that there are others',
    async (t) => {
      const first = await server.newKey();
      const files = await secretFiles(t, first);
      const settings = { ...(await server.newBucket()), ...first, secretFiles: files.secretFiles };
      const { log, whole } = recordingLog();
      const { store } = await openStore(t, settings, {}, log);
      await store.put('a/first.eml', Buffer.from('first'));
      await server.removeKey(first.accessKey);
      await rm(files.secretFiles.accessKey);
      for (let times = 0; times < 3; times++) await refusedWith(store, /OBJECT_STORAGE_ACCESS_KEY/);
      await files.write(await server.newKey());
      await useAll(store);
      assert.deepEqual(
        whole.map((line) => JSON.parse(line)).map(({ level, reason }) => [level, reason]),
        [
          ['warn', `${files.secretFiles.accessKey} is not there`],
          ['info', undefined],
        ],
      );
    },
  );

  check('files that are gone, or not whole, are no reason to forget what is good', async (t) => {
    const key = await server.newKey();
    const files = await secretFiles(t, key);
    const settings = { ...(await server.newBucket()), ...key, secretFiles: files.secretFiles };
    const { store } = await openStore(t, settings);
    await store.put('a/first.eml', Buffer.from('first'));
    await writeFile(files.secretFiles.secretKey, '');
    await useAll(store);
  });

  check('temporary keys are taken with their session token, and without it are not', async (t) => {
    const session = await sts.newSession();
    const settings = { ...(await sts.newBucket()), ...session };
    const { store } = await openStore(t, settings);
    await useAll(store);
    const { store: without } = await openStore(t, { ...settings, sessionToken: null });
    await assert.rejects(without.check(), StoreError);
  });

  check('without keys, those of the container are used, and asked for again when they are refused', async (t) => {
    const [first, second] = [await server.newKey(), await server.newKey()];
    const endpoint = await startCredentialsEndpoint(t, first);
    setEnvironment(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url });
    const { store } = await openStore(t, { ...(await server.newBucket()), ...NONE });
    await useAll(store);
    assert.equal(endpoint.asked(), 1, 'they are kept');
    endpoint.give(second);
    await server.removeKey(first.accessKey);
    await useAll(store);
  });

  check('a session is renewed before it expires', async (t) => {
    const [first, second] = [await sts.newSession(), await sts.newSession()];
    const endpoint = await startCredentialsEndpoint(t, first);
    setEnvironment(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url });
    // Says the endpoint; the store would take it for longer.
    endpoint.give({ ...first, expiration: new Date(Date.now() + 1_000).toISOString() });
    const { store } = await openStore(t, { ...(await sts.newBucket()), ...NONE });
    await useAll(store);
    endpoint.give(second);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await useAll(store);
    const asked = endpoint.asked();
    await useAll(store);
    assert.equal(endpoint.asked(), asked, 'the second is good for a quarter of an hour');
  });

  check('a web identity is exchanged for keys, and doctor names it', async (t) => {
    const session = await sts.newSession();
    const endpoint = await startCredentialsEndpoint(t, session);
    const file = join(await temporaryFolder(t), 'token');
    await writeFile(file, 'the.projected.token');
    setEnvironment(t, {
      AWS_WEB_IDENTITY_TOKEN_FILE: file,
      AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/mail',
      AWS_ENDPOINT_URL_STS: endpoint.url,
    });
    const settings = { ...(await sts.newBucket()), ...NONE };
    const { store } = await openStore(t, settings);
    await useAll(store);
    assert.equal(endpoint.forms[0]?.get('WebIdentityToken'), 'the.projected.token');
    assert.equal(endpoint.forms[0]?.get('RoleArn'), 'arn:aws:iam::123456789012:role/mail');
    const said = JSON.stringify(await examineObjectStorage(settings));
    assert.match(said, /removed, by the web identity in AWS_WEB_IDENTITY_TOKEN_FILE, for the role in AWS_ROLE_ARN \(/);
    assert.match(said, new RegExp(`\\(${session.accessKey.slice(0, 4)}…${session.accessKey.slice(-4)}.*, until 20`));
    assert.ok(!said.includes(session.secretKey) && !said.includes(session.sessionToken) && !said.includes('projected'));
  });

  check('where there are none, or who hands them out refuses, this is said in words', async (t) => {
    setEnvironment(t, { AWS_EC2_METADATA_DISABLED: 'true' });
    const settings = { ...(await server.newBucket()), ...NONE };
    const told = /OBJECT_STORAGE_ACCESS_KEY is not set, and the SDK finds no credentials where it runs/;
    const { store } = await openStore(t, settings);
    await refusedWith(store, told);
    assert.match(JSON.stringify(await examineObjectStorage(settings)), told);
    const endpoint = await startCredentialsEndpoint(t, { accessKey: '', secretKey: '' });
    endpoint.give(null);
    setEnvironment(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url });
    const { store: other } = await openStore(t, settings);
    await refusedWith(other, told);
    endpoint.give(await server.newKey());
    await useAll(other);
  });

  check('doctor says which rights are missing, and whose', async (t) => {
    const settings = { ...(await server.newBucket()), prefix: 'orders/' };
    const objects = `arn:aws:s3:::${settings.bucket}/orders/*`;
    const bucket = `arn:aws:s3:::${settings.bucket}`;
    for (const [denied, lacks] of [
      [['s3:DeleteObject'], `s3:DeleteObject on ${objects}`],
      [['s3:GetObject', 's3:ListBucket'], `s3:ListBucket on ${bucket}, s3:GetObject on ${objects}`],
      [['s3:PutObject'], `s3:PutObject on ${objects}`],
    ] as const) {
      const Statement = [{ Effect: 'Deny', Principal: '*', Action: denied, Resource: [bucket, `${bucket}/*`] }];
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
      await server.client.send(new PutBucketPolicyCommand({ Bucket: settings.bucket, Policy }));
      const { problem } = await probeObjectStorage(settings);
      assert.equal(problem, `access denied: the key in OBJECT_STORAGE_ACCESS_KEY lacks ${lacks}`);
    }
    setEnvironment(t, { AWS_ACCESS_KEY_ID: settings.accessKey, AWS_SECRET_ACCESS_KEY: settings.secretKey });
    const { problem } = await probeObjectStorage({ ...settings, ...NONE });
    assert.match(problem ?? '', /^access denied: the key in AWS_ACCESS_KEY_ID \(\w{4}…\w{4}\) lacks s3:PutObject on /);
  });
}

test('what Amazon says of a denial is told: who was denied what', () => {
  const facts = { endpoint: 'https://s3.eu-central-1.amazonaws.com', region: 'eu-central-1', bucket: 'mail' };
  const who = 'arn:aws:sts::123456789012:assumed-role/mail/i-0abc';
  const denied = (right: string) =>
    Object.assign(new Error(`User: ${who} is not authorized to perform: ${right} on resource: "arn:aws:x" because …`), {
      name: 'AccessDenied',
      $metadata: { httpStatusCode: 403 },
    });
  const keyless = storeFault('put', denied('s3:PutObject'), { ...facts, accessKey: null }).message;
  assert.match(
    keyless,
    /the identity that the SDK found needs s3:GetObject.+; it says: User: arn:\S+ is not authorized to/,
  );
  const kms = storeFault('put', denied('kms:GenerateDataKey'), { ...facts, accessKey: 'A', kmsKeyId: 'alias/mail' });
  assert.match(kms.message, /^put: OBJECT_STORAGE_KMS_KEY_ID: .+ to perform: kms:GenerateDataKey/);
});

/** Every kind of request, many at a time. */
async function useAll(store: S3ObjectStore): Promise<void> {
  const folder = `a/${randomBytes(4).toString('hex')}`;
  const put = Array.from({ length: 8 }, (_, n) => store.put(`${folder}/${n}.eml`, Buffer.from('x'), { fresh: true }));
  async function* large() {
    yield randomBytes(600_000);
  }
  await Promise.all([
    ...put,
    store.put(`${folder}/large.eml`, large()),
    store.check(),
    store.head(`${folder}/none.eml`),
  ]);
  await store.copy(`${folder}/0.eml`, `${folder}/copy.eml`);
  assert.equal((await Array.fromAsync(store.list(`${folder}/`))).length, 10);
  assert.equal(Buffer.concat(await Array.fromAsync(await store.get(`${folder}/large.eml`))).length, 600_000);
  await store.remove(`${folder}/copy.eml`);
}

async function refusedWith(store: S3ObjectStore, told: RegExp): Promise<void> {
  await assert.rejects(store.put('a/refused.eml', Buffer.from('x')), (error: unknown) => {
    assert.ok(error instanceof StoreError);
    assert.match(error.message, told);
    assert.doesNotMatch(error.message, /hunter2|\n/);
    return true;
  });
}

type Key = { readonly accessKey: string; readonly secretKey: string };

async function secretFiles(t: TestContext, first: Key) {
  const folder = await temporaryFolder(t);
  const secretFiles = { accessKey: join(folder, 'access'), secretKey: join(folder, 'secret'), sessionToken: null };
  const write = async ({ accessKey, secretKey }: Key): Promise<void> => {
    await writeFile(secretFiles.accessKey, `${accessKey}\n`);
    await writeFile(secretFiles.secretKey, `${secretKey}\r\n`);
  };
  await write(first);
  return { secretFiles: secretFiles satisfies NonNullable<S3Settings['secretFiles']>, write };
}

/** The SDK reads its own; none of the developer's are left. */
function setEnvironment(t: TestContext, given: Readonly<Record<string, string>>): void {
  const before = { ...process.env };
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  Object.assign(process.env, { AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_CONFIG_FILE: '/dev/null' }, given);
  cleanUp(t, () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    Object.assign(process.env, before);
  });
}
