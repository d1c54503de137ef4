/** The same on objects in a bucket of a real S3 server: damage is told from a bucket that is wrong, gone or not answering. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import pino from 'pino';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createS3StoreMarks } from '../adapters/s3/marks.ts';
import { createS3ObjectStore } from '../adapters/s3/object-store.ts';
import { createTestCli } from '../cli/test-context.ts';
import * as compose from '../compose/index.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { missing } from '../testing/missing.ts';
import { openTestPool } from '../testing/postgres-fixtures.ts';
import { noS3Server, type S3TestSettings, s3Environment, startS3Server } from '../testing/s3-server.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { rotten, storeMails, storeOneOfEach } from '../testing/verified-house.ts';
import { waitFor } from '../testing/wait-for.ts';
import { createStoreWatch } from './store-watch.ts';

const log = pino({ level: 'silent' });

test('reconcile --verify on a bucket', { timeout: 180_000 }, async (t) => {
  const why = noS3Server();
  if (why !== null) return missing(t, 'an S3 server', why);
  const server = await startS3Server();
  cleanUp(t, server.close);
  const [bucket, empty] = [await server.newBucket(), await server.newBucket()];
  const { pool, url } = await openTestPool(t);
  const folder = await temporaryFolder(t);
  const put = async (key: string, bytes: Buffer): Promise<void> => {
    await server.client.send(new PutObjectCommand({ Bucket: bucket.bucket, Key: key, Body: bytes }));
  };
  const cli = (settings: S3TestSettings) =>
    createTestCli({ compose, cwd: folder, env: { DATABASE_URL: url, DATA_DIR: folder, ...s3Environment(settings) } });
  const run = async (settings: S3TestSettings, ...options: string[]) => {
    const { code, stdout, stderr } = await cli(settings).run('reconcile', '--verify', '--json', ...options);
    return { code, stderr, report: JSON.parse(stdout === '' ? 'null' : stdout) };
  };
  const problems = ({ report }: { report: { found: { problem: string; id: string }[] } }): readonly string[] =>
    report.found.map(({ problem, id }) => `${problem} ${id}`).sort();

  const { orgId, parsed, failed, conflict, document } = await storeOneOfEach(pool, put);
  const objects = await createS3ObjectStore({ settings: bucket, spoolDir: folder, log });
  cleanUp(t, () => objects.close());
  const marks = createS3StoreMarks({ settings: bucket });
  cleanUp(t, () => marks.close());
  await createStoreWatch({ marks, memory: createPostgresMarkMemory({ pool }), objects, log }).visit();
  const whole = await run(bucket);
  assert.deepEqual([whole.code, whole.report.objects.verified, whole.stderr], [0, 4, '']);

  await t.test(
    'a wrong bucket, one that is not there and a server that is silent are refused, and no run begins',
    async () => {
      await server.client.send(
        new PutObjectCommand({ Bucket: empty.bucket, Key: 'a/of-somebody-else.txt', Body: 'x' }),
      );
      const wrong = await run(empty);
      assert.deepEqual([wrong.code, wrong.report], [1, null]);
      assert.match(wrong.stderr, /^error: the object store is not the one this database knows/);
      const absent = await run({ ...bucket, bucket: 'no-such-bucket' });
      assert.deepEqual([absent.code, absent.report], [1, null]);
      assert.match(absent.stderr, /^error: (?!unexpected).*OBJECT_STORAGE_BUCKET/);
      await server.outage();
      const silent = await run(bucket);
      await server.resume();
      assert.deepEqual([silent.code, silent.report], [1, null]);
      assert.match(silent.stderr, /^error: (?!unexpected)/);
      assert.equal((await pool.query('SELECT FROM reconcile_run WHERE ended_at IS NULL')).rowCount, 0);
    },
  );

  await t.test('damage of each sort is found', async () => {
    await put(parsed.key, rotten(parsed.bytes));
    await put(failed.key, failed.bytes.subarray(1));
    await server.client.send(new DeleteObjectCommand({ Bucket: bucket.bucket, Key: document.key }));
    const found = await run(bucket);
    const expected = [`wrong_digest ${parsed.id}`, `wrong_size ${failed.id}`, `missing ${document.id}`];
    assert.deepEqual([found.code, problems(found)], [1, expected.sort()]);
    assert.ok(!found.stderr.includes(conflict.id));
    for (const row of [parsed, failed, document]) await put(row.key, row.bytes);
    assert.equal((await run(bucket)).code, 0);
  });

  await t.test('a server that goes away in the middle of it ends the run, which goes on when it is back', async () => {
    const mails = await storeMails(pool, put, { orgId, count: 40, sizeBytes: 100_000 });
    await put(mails[0]?.key ?? '', rotten(mails[0]?.bytes ?? Buffer.alloc(0)));
    const running = run(bucket, '--rate', '1');
    const place = async (): Promise<number> =>
      (await pool.query<{ rows: number }>('SELECT rows FROM reconcile_run WHERE ended_at IS NULL')).rows[0]?.rows ?? 0;
    await waitFor(async () => (await place()) >= 5, { what: 'five objects', timeoutMs: 30_000 });
    await server.outage();
    const ended = await running;
    await server.resume();
    assert.deepEqual([ended.code, ended.report], [1, null]);
    assert.match(ended.stderr, /^error: the object store cannot be used: /);
    assert.ok((await place()) < 40, 'it was in the middle');
    const again = await run(bucket);
    assert.deepEqual([again.code, again.report.resumed, again.report.objects.verified], [1, true, 44]);
    assert.deepEqual(problems(again), [`wrong_digest ${mails[0]?.id}`]);
  });
});
