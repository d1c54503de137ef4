/** Stores that do not answer, or answer nonsense: every operation ends, with a line that names the setting. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keys, once, read } from '../../ports/object-store.contract.ts';
import { StoreError } from '../../ports/object-store.ts';
import { freePort } from '../../testing/free-port.ts';
import { HURRIED, openStore, settingsFor } from '../../testing/s3-stores.ts';
import { openAnswer, openSilence } from '../../testing/tcp-ways.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { createBucket, probeObjectStorage } from './bucket.ts';
import { createS3ObjectStore, type S3ObjectStore } from './object-store.ts';

const TIMEOUT_MS = 30_000;

async function refusal(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => assert.fail('it should have been refused'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof StoreError, String(error));
  assert.equal(error.code, 'store-unavailable');
  assert.doesNotMatch(error.message, /hunter2|\n/);
  return error.message;
}

const operations: readonly (readonly [string, (store: S3ObjectStore) => Promise<unknown>])[] = [
  ['put', (store) => store.put('a/b.eml', once('small'))],
  ['put of a fresh key', (store) => store.put('a/b.eml', once('small'), { fresh: true })],
  ['large put', (store) => store.put('a/b.eml', once(Buffer.alloc(600_000)))],
  ['get', (store) => read(store, 'a/b.eml')],
  ['head', (store) => store.head('a/b.eml')],
  ['copy', (store) => store.copy('a/b.eml', 'a/c.eml')],
  ['remove', (store) => store.remove('a/b.eml')],
  ['list', (store) => keys(store, '')],
  ['check', (store) => store.check()],
];

for (const [name, run] of operations) {
  test(`${name}: a store that accepts and never answers is given up in time`, { timeout: TIMEOUT_MS }, async (t) => {
    const silence = await openSilence(t);
    const { store } = await openStore(t, settingsFor(silence.endpoint), HURRIED);
    assert.match(await refusal(run(store)), /OBJECT_STORAGE_ENDPOINT http\S+ does not answer in time|not done in \d s/);
    assert.ok(silence.connections() > 0);
  });
}

test('an aborted operation does not wait for a silent store', { timeout: TIMEOUT_MS }, async (t) => {
  const { store } = await openStore(t, settingsFor((await openSilence(t)).endpoint), { undoTimeoutMs: 50 });
  const reason = new Error('deadline');
  const soon = () => AbortSignal.any([AbortSignal.timeout(50)]);
  for (const bytes of [10, 600_000]) {
    const put = store.put('a/b.eml', once(Buffer.alloc(bytes)), { signal: soon() });
    await assert.rejects(put, { name: 'TimeoutError' });
  }
  await assert.rejects(store.get('a/b.eml', { signal: soon() }), { name: 'TimeoutError' });
  await assert.rejects(store.check(AbortSignal.abort(reason)), (error) => error === reason);
});

test('a store that is not there is named', { timeout: TIMEOUT_MS }, async (t) => {
  const { store } = await openStore(t, settingsFor(`http://127.0.0.1:${await freePort()}`));
  assert.match(await refusal(store.check()), /OBJECT_STORAGE_ENDPOINT http:\S+ refuses connections/);
  const { store: nowhere } = await openStore(t, settingsFor('http://no-such-host.invalid'));
  assert.match(
    await refusal(nowhere.check()),
    /OBJECT_STORAGE_ENDPOINT \S+ its host name (does not resolve|cannot be)/,
  );
});

const NONSENSE: readonly (readonly [string, string, RegExp])[] = [
  ['a web server', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<p>hi', /not as an S3 store does|not done/],
  ['a redirecting web server', 'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n', /not as an S3 store does/],
  ['a server of another protocol', '220 mail.example ESMTP\r\n', /not as an S3 store does/],
  ['a server in trouble', 'HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n', /answers 503: the store has trouble/],
  [
    'a server that refuses',
    'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n',
    /refuses access to bucket some-bucket/,
  ],
];

for (const [name, answer, told] of NONSENSE) {
  test(`${name} at the endpoint is recognised`, { timeout: TIMEOUT_MS }, async (t) => {
    const { store } = await openStore(t, settingsFor((await openAnswer(t, answer)).endpoint), HURRIED);
    assert.match(await refusal(keys(store, '')), told);
  });
}

test('https:// where http:// is spoken is recognised', { timeout: TIMEOUT_MS }, async (t) => {
  const { endpoint } = await openAnswer(t, 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n');
  const { store } = await openStore(t, settingsFor(endpoint.replace('http:', 'https:')));
  assert.match(await refusal(store.check()), /OBJECT_STORAGE_ENDPOINT https:\S+ does not speak TLS/);
});

test('an object that stops in the middle is a fault, also when it is only slow to end', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const half = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly the first half of it';
  const { store } = await openStore(t, settingsFor((await openAnswer(t, half)).endpoint), HURRIED);
  assert.match(await refusal(read(store, 'a/b.eml')), /no byte in 200 ms/);
});

test('probing and making a bucket end in time, too', { timeout: TIMEOUT_MS }, async (t) => {
  const settings = settingsFor((await openSilence(t)).endpoint);
  assert.match((await probeObjectStorage(settings, HURRIED)).problem ?? '', /OBJECT_STORAGE_ENDPOINT/);
  assert.match(await refusal(createBucket(settings, HURRIED)), /OBJECT_STORAGE_ENDPOINT/);
});

test('a spool that cannot be made is named before anything is taken', async (t) => {
  const folder = await temporaryFolder(t);
  const opening = createS3ObjectStore({ settings: settingsFor('http://127.0.0.1:1'), spoolDir: `${folder}/a\0b` });
  assert.match(await refusal(opening), /DATA_DIR: the spool for large mails cannot be used/);
});
