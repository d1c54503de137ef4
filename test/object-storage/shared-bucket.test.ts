/** The whole product in a bucket that it shares, and with keys that are replaced while mail comes in. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext, test } from 'node:test';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { composeMail } from '../../src/testing/compose-mail.ts';
import { startCredentialsEndpoint } from '../../src/testing/credentials-endpoint.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { missing } from '../../src/testing/missing.ts';
import { startProduct } from '../../src/testing/product.ts';
import {
  noS3Server,
  type S3TestKey,
  type S3TestServer,
  type S3TestSettings,
  s3Environment,
  startS3Server,
} from '../../src/testing/s3-server.ts';
import { sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { openPool, runCli } from '../specification/support/ingest.ts';

const TIMEOUT_MS = 120_000;

const why = noS3Server();
if (why !== null) test('a shared bucket', (t) => missing(t, 'an S3 server', why));
else describe('the product in a bucket', { timeout: TIMEOUT_MS * 3 }, () => withServer());

function withServer(): void {
  let server: S3TestServer;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server?.close());

  it('shares it with another by a prefix: neither sees, names or removes what is the other’s', {
    timeout: TIMEOUT_MS,
  }, async (t) => {
    const settings = await server.newBucket();
    const [one, two] = [await run(t, envOf(settings, 'mail/one')), await run(t, envOf(settings, 'mail/two/'))];
    await Promise.all([one.take(3), two.take(2)]);
    const keys = await keysOf(server, settings.bucket);
    const rowKeys = async ({ rows }: typeof one, prefix: string) => (await rows()).map(({ key }) => `${prefix}${key}`);
    const expected = [...(await rowKeys(one, 'mail/one/')), ...(await rowKeys(two, 'mail/two/'))];
    assert.deepEqual(
      keys.filter((key) => !key.includes('~')),
      expected.sort(),
    );
    assert.ok(
      keys.every((key) => key.startsWith('mail/one/') || key.startsWith('mail/two/')),
      'marks and probes too',
    );
    for (const [each, objects] of [
      [one, 6],
      [two, 4],
    ] as const) {
      const reconciled = await each.cli('reconcile', '--json');
      assert.equal(reconciled.code, 0, reconciled.stderr);
      const report = JSON.parse(reconciled.stdout);
      assert.deepEqual(
        [report.objects.looked_at, report.objects.not_ours, report.rows.missing_objects],
        [objects, 0, 0],
      );
      const findings = JSON.parse((await each.cli('doctor', '--json')).stdout).findings as readonly {
        check: string;
        found: string;
      }[];
      assert.ok(findings.some(({ check, found }) => check === 'object store' && found.includes(', under mail/')));
    }
    await one.product.stop();
    await two.product.stop();
    // The prefix of the other is another store.
    const ports = { SMTP_PORT: `${await freePort()}`, HTTP_PORT: `${await freePort()}` };
    const { code, stderr } = await two.cli('start', { OBJECT_STORAGE_PREFIX: 'mail/one', ...ports });
    assert.equal(code, 1);
    assert.match(stderr, /not the one this database knows/);
  });

  for (const [where, prepare, told, args] of [
    ['in files', keysInFiles, /removed, by the key in the file \S+ \(OBJECT_STORAGE_ACCESS_KEY_FILE\)/, []],
    [
      'that the container is given',
      keysOfContainer,
      /removed, by the credentials that the container is given \(/,
      ['--processes', '2'],
    ],
  ] as const) {
    it(`goes on without a restart or a 451 when its keys ${where} are replaced`, { timeout: TIMEOUT_MS }, async (t) => {
      const settings = await server.newBucket();
      const first = await server.newKey();
      const { env, replace } = await prepare(t, first);
      const { OBJECT_STORAGE_ACCESS_KEY: _, OBJECT_STORAGE_SECRET_KEY: __, ...others } = s3Environment(settings);
      const running = await run(t, { ...others, ...env }, args);
      await running.take(5);
      const second = await server.newKey();
      await replace(second);
      await running.take(5);
      await server.removeKey(first.accessKey);
      await running.take(5);
      assert.equal((await running.rows()).length, 30);
      assert.equal((await fetch(`${running.product.httpUrl}/readyz`)).status, 200);
      // In a process of their own: what the SDK finds where it runs is not found here.
      const output = async (...args: string[]) => (await runCli(running.env, args)).stdout.toString();
      const [{ id }] = JSON.parse(await output('messages', 'list', '--json'));
      assert.match(await output('messages', 'raw', id), /^Message-ID:/im);
      assert.match(await output('doctor'), told);
      await running.product.stop();
      const said = JSON.stringify(running.product.log) + running.product.stderr();
      for (const { secretKey } of [first, second]) assert.ok(!said.includes(secretKey));
    });
  }
}

const envOf = (settings: S3TestSettings, prefix: string) => ({
  ...s3Environment(settings),
  OBJECT_STORAGE_PREFIX: prefix,
});

type Prepared = { readonly env: Record<string, string>; readonly replace: (key: S3TestKey) => Promise<void> };

async function keysInFiles(t: TestContext, first: S3TestKey): Promise<Prepared> {
  const folder = await temporaryFolder(t);
  const [access, secret] = [join(folder, 'access'), join(folder, 'secret')];
  const replace = async ({ accessKey, secretKey }: S3TestKey): Promise<void> => {
    await writeFile(access, `${accessKey}\n`);
    await writeFile(secret, `${secretKey}\n`);
  };
  await replace(first);
  return { env: { OBJECT_STORAGE_ACCESS_KEY_FILE: access, OBJECT_STORAGE_SECRET_KEY_FILE: secret }, replace };
}

async function keysOfContainer(t: TestContext, first: S3TestKey): Promise<Prepared> {
  const endpoint = await startCredentialsEndpoint(t, first);
  const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: endpoint.url, AWS_CONFIG_FILE: '/dev/null' };
  return {
    env: { ...env, AWS_SHARED_CREDENTIALS_FILE: '/dev/null' },
    replace: async (key) => endpoint.give(key),
  };
}

async function run(t: TestContext, store: Readonly<Record<string, string>>, args: readonly string[] = []) {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const pool = openPool(t, database.url);
  await pool.query(`INSERT INTO org (name, slug) VALUES ('Acme', 'acme')`);
  const dataDir = await temporaryFolder(t);
  const env = { ...store, DATABASE_URL: database.url };
  const product = await startProduct(t, { dataDir, env, args });
  let taken = 0;
  return {
    product,
    env: { ...env, DATA_DIR: dataDir },
    /** Keys of mails and documents. */
    rows: async () =>
      (
        await pool.query<{ key: string }>(
          'SELECT raw_storage_key AS key FROM inbound_message UNION ALL SELECT storage_key FROM document',
        )
      ).rows,
    /** Each with one attachment, small and large in turn; all are taken and PARSED. */
    async take(count: number): Promise<void> {
      const verdicts = await Promise.all(
        Array.from({ length: count }, async (_, n) => {
          const attachment = { content: randomBytes(n % 2 === 0 ? 2_000 : 400_000), contentType: 'application/pdf' };
          const data = await composeMail({ attachments: [{ fileName: 'order.pdf', ...attachment }] });
          const to = ['orders+acme@orderflow.example.com'];
          return (await sendRaw({ port: product.smtpPort, from: 'buyer@customer.example', to, data })).verdict.code;
        }),
      );
      assert.deepEqual(new Set(verdicts), new Set([250]));
      taken += count;
      await waitFor(
        async () => (await pool.query(`SELECT FROM inbound_message WHERE status = 'PARSED'`)).rowCount === taken,
        { timeoutMs: 30_000, what: `${taken} mails to be PARSED` },
      );
    },
    cli(command: string, ...args: readonly (string | Record<string, string>)[]) {
      const words = args.filter((arg): arg is string => typeof arg === 'string');
      const more = Object.assign({}, ...args.filter((arg) => typeof arg !== 'string'));
      return createTestCli({ compose, cwd: dataDir, env: { ...env, DATA_DIR: dataDir, ...more } }).run(
        command,
        ...words,
      );
    },
  };
}

async function keysOf({ client }: S3TestServer, bucket: string): Promise<readonly string[]> {
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
  return Contents.map(({ Key = '' }) => Key).sort();
}
