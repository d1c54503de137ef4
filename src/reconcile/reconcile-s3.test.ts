/** The command on objects in a bucket: what is missing there is told from a bucket that is wrong, gone or not answering. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type pg from 'pg';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createTestCli } from '../cli/test-context.ts';
import * as compose from '../compose/index.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { missing } from '../testing/missing.ts';
import { addOrganisation, newMessage, openTestPool } from '../testing/postgres-fixtures.ts';
import { noS3Server, type S3TestSettings, s3Environment, startS3Server } from '../testing/s3-server.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';

async function reconcileIn(t: TestContext, url: string, bucket: S3TestSettings, ...options: string[]) {
  const cwd = await temporaryFolder(t);
  const env = { DATABASE_URL: url, DATA_DIR: cwd, ...s3Environment(bucket) };
  const { code, stdout, stderr } = await createTestCli({ compose, cwd, env }).run('reconcile', '--json', ...options);
  return { code, stderr, report: stdout === '' ? null : JSON.parse(stdout) };
}

const statuses = async (pool: pg.Pool): Promise<string> =>
  (await pool.query<{ all: string }>(`SELECT string_agg(status, ' ' ORDER BY id) AS all FROM inbound_message`)).rows[0]
    ?.all ?? '';

test('reconcile on a bucket', { timeout: 120_000 }, async (t) => {
  const why = noS3Server();
  if (why !== null) return missing(t, 'an S3 server', why);
  const server = await startS3Server();
  cleanUp(t, server.close);
  const [bucket, empty, absent] = [await server.newBucket(), await server.newBucket(), 'no-such-bucket'];
  const { pool, url } = await openTestPool(t);
  const orgId = await addOrganisation(pool, 'acme');
  const messages = Array.from({ length: 3 }, () => newMessage(orgId));
  await createPostgresMessageStore({ pool }).record(messages.map((message) => [message]));
  for (const { rawStorageKey } of messages) {
    await server.client.send(new PutObjectCommand({ Bucket: bucket.bucket, Key: rawStorageKey, Body: 'mail' }));
  }

  const first = await reconcileIn(t, url, bucket);
  assert.deepEqual([first.code, first.report?.rows.looked_at, first.report?.objects.looked_at], [0, 3, 3]);
  assert.equal((await reconcileIn(t, url, bucket)).code, 0);

  const wrong = await reconcileIn(t, url, { ...bucket, bucket: absent });
  assert.deepEqual([wrong.code, wrong.report], [1, null]);
  assert.match(wrong.stderr, /^error: (?!unexpected).*OBJECT_STORAGE_BUCKET/);
  await server.client.send(new PutObjectCommand({ Bucket: empty.bucket, Key: 'a/of-somebody-else.txt', Body: 'x' }));
  const another = await reconcileIn(t, url, empty);
  assert.equal(another.code, 1);
  assert.match(another.report?.stopped, /it holds no mark of it/);
  await server.outage();
  const silent = await reconcileIn(t, url, bucket);
  assert.deepEqual([silent.code, silent.report], [1, null]);
  assert.match(silent.stderr, /^error: (?!unexpected)/);
  await server.resume();
  assert.equal(await statuses(pool), 'RECEIVED RECEIVED RECEIVED');

  await server.client.send(new DeleteObjectCommand({ Bucket: bucket.bucket, Key: messages[0]?.rawStorageKey ?? '' }));
  const gone = await reconcileIn(t, url, bucket);
  assert.deepEqual([gone.code, gone.report?.rows.failed_ids], [1, [messages[0]?.id]]);
  const all = (await statuses(pool)).split(' ').sort().join(' ');
  assert.equal(all, 'FAILED RECEIVED RECEIVED');
});
