/** The whole product on a real S3 server: what it takes is in the bucket, and what the bucket does not take is not taken. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import { GetObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import pg from 'pg';
import { createTestCli } from '../../src/cli/test-context.ts';
import * as compose from '../../src/compose/index.ts';
import { makeCertificate, opensslProblem, type TestCertificate } from '../../src/testing/certificate.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { composeMail } from '../../src/testing/compose-mail.ts';
import { createTestDatabase } from '../../src/testing/database.ts';
import { freePort } from '../../src/testing/free-port.ts';
import { missing } from '../../src/testing/missing.ts';
import { type Product, startProduct } from '../../src/testing/product.ts';
import {
  noS3Server,
  type S3TestServer,
  type S3TestSettings,
  s3Environment,
  startS3Server,
} from '../../src/testing/s3-server.ts';
import { scrape } from '../../src/testing/scrape.ts';
import { connectSmtp, dotStuffed, type SmtpReply, sendRaw } from '../../src/testing/smtp-client.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { waitFor } from '../../src/testing/wait-for.ts';

const TIMEOUT_MS = 90_000;
const FROM = 'buyer@customer.example';
const TO = 'orders+acme@orderflow.example.com';

const why = noS3Server();
if (why !== null) test('the product on S3', (t) => missing(t, 'an S3 server', why));
else describe('the product on S3', { timeout: TIMEOUT_MS * 3 }, () => withServer());

interface Running {
  readonly product: Product;
  readonly settings: S3TestSettings;
  readonly dataDir: string;
  readonly rows: <R extends pg.QueryResultRow>(sql: string) => Promise<readonly R[]>;
}

function withServer(): void {
  let server: S3TestServer;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server?.close());

  it('takes mails and extracts them: every row has its object, and there is no other', {
    timeout: TIMEOUT_MS,
  }, async (t) => {
    const running = await run(t);
    const attachments = [1_000, 300_000, 6_000_000].map((bytes) => randomBytes(bytes));
    const mails = await Promise.all(attachments.map((content) => orderWith(content)));
    for (const mail of mails) assert.equal((await send(running, mail)).code, 250);
    await parsed(running, mails.length);
    const found = await objects(running.settings.bucket);
    const rows = await running.rows<{ key: string; size: number; sha256: string }>(
      `SELECT raw_storage_key AS key, size_bytes::int AS size, raw_sha256 AS sha256 FROM inbound_message
       UNION ALL SELECT storage_key, size_bytes::int, sha256 FROM document`,
    );
    const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
    assert.deepEqual(found, [...rows].sort(byKey));
    const digests = new Set(found.map(({ sha256 }) => sha256));
    for (const bytes of [...mails, ...attachments]) assert.ok(digests.has(digest(bytes)));
    assert.ok(!existsSync(join(running.dataDir, 'objects')), 'no file store beside it');
    await running.product.stop();
    assert.deepEqual(running.product.strayOutput, []);
  });

  it('answers 451 while the store is away, and takes the same mail when it is back', {
    timeout: TIMEOUT_MS,
  }, async (t) => {
    const running = await run(t);
    const mails = await Promise.all([2_000, 1_000_000].map((bytes) => orderWith(randomBytes(bytes))));
    await server.outage();
    try {
      for (const mail of mails) assert.equal((await send(running, mail)).code, 451);
      const ready = await fetch(`${running.product.httpUrl}/readyz`);
      assert.equal(ready.status, 503);
      assert.match(await ready.text(), /object_store.+refuses connections/);
    } finally {
      await server.resume();
    }
    for (const mail of mails) assert.equal((await send(running, mail)).code, 250);
    await parsed(running, mails.length);
    assert.equal((await fetch(`${running.product.httpUrl}/readyz`)).status, 200);
    assert.equal((await objects(running.settings.bucket)).length, 2 * mails.length, 'nothing is left of the first try');
    const faults = running.product.log.filter(({ msg }) => msg === 'mail not taken: a fault of ours');
    assert.equal(faults.length, mails.length);
    assert.match(JSON.stringify(faults), /OBJECT_STORAGE_ENDPOINT .+ refuses connections/);
    await running.product.stop();
  });

  it('keeps nothing of a sender that vanishes', { timeout: TIMEOUT_MS }, async (t) => {
    const running = await run(t);
    const wire = dotStuffed(await orderWith(randomBytes(4_000_000)));
    await Promise.all(
      [1_000, 2_000_000, wire.length - 3].map(async (length) => {
        const client = await connectSmtp({ port: running.product.smtpPort });
        await client.readReply('greeting');
        for (const line of ['EHLO a.example', `MAIL FROM:<${FROM}>`, `RCPT TO:<${TO}>`, 'DATA']) {
          assert.ok((await client.command(line)).code < 400);
        }
        await client.write(wire.subarray(0, length));
        client.socket.resetAndDestroy();
        await client.closed;
      }),
    );
    await waitFor(async () => /^smtp_connections(?:\{.*\})? 0$/m.test(await metrics(running)), {
      what: 'the sessions to end',
    });
    assert.deepEqual(await objects(running.settings.bucket), []);
    assert.deepEqual(await readdir(join(running.dataDir, 'spool')), []);
    await running.product.stop();
  });

  it('does not start on a store that cannot be used, and says which setting to mend', {
    timeout: TIMEOUT_MS,
  }, async (t) => {
    const database = await createTestDatabase();
    cleanUp(t, () => database.close());
    const cwd = await temporaryFolder(t);
    const settings = await server.newBucket();
    for (const [wrong, told] of [
      [{ bucket: 'no-such-bucket' }, /OBJECT_STORAGE_BUCKET: there is no bucket no-such-bucket/],
      [{ secretKey: 'hunter2' }, /OBJECT_STORAGE_SECRET_KEY/],
      [{ endpoint: 'http://127.0.0.1:9' }, /OBJECT_STORAGE_ENDPOINT http:\/\/127\.0\.0\.1:9 refuses connections/],
    ] as const) {
      const env = { ...s3Environment({ ...settings, ...wrong }), DATABASE_URL: database.url, DATA_DIR: cwd };
      const { code, stderr } = await startInVain(cwd, env);
      assert.equal(code, 1);
      assert.match(stderr, /^error: the object store cannot be used: .+\n$/);
      assert.match(stderr, told);
      assert.doesNotMatch(stderr, /hunter2/);
    }
  });

  it('does not take the bucket of another installation, or an empty one, for its own; no mail ends for that', {
    timeout: TIMEOUT_MS * 3,
  }, async (t) => {
    const another = await run(t);
    assert.equal((await send(another, await orderWith(randomBytes(100)))).code, 250);
    await parsed(another, 1);
    await another.product.stop();
    const running = await run(t, { args: ['--roles', 'smtp,http'] });
    for (let mail = 0; mail < 3; mail++)
      assert.equal((await send(running, await orderWith(randomBytes(100)))).code, 250);
    await running.product.stop();
    for (const [settings, why] of [
      [another.settings, /not the one this database knows/],
      [await server.newBucket(), /holds no mark of it/],
    ] as const) {
      const env = { ...s3Environment(settings), DATABASE_URL: running.product.databaseUrl, DATA_DIR: running.dataDir };
      const { code, stderr } = await startInVain(running.dataDir, env);
      assert.equal(code, 1, stderr);
      assert.match(stderr, why);
      assert.match(stderr, /^error: [^\n]+ \(bucket [^\n]+\n$/);
    }
    assert.equal((await running.rows(`SELECT FROM inbound_message WHERE status <> 'RECEIVED'`)).length, 0);
    const env = { ...s3Environment(running.settings), DATABASE_URL: running.product.databaseUrl };
    const back = await startProduct(t, { dataDir: running.dataDir, env });
    await parsed(running, 3);
    await back.stop();
  });

  it('speaks to a store whose certificate a private authority has signed, and looks at no AWS_ variable', {
    timeout: TIMEOUT_MS,
  }, async (t) => {
    const problem = opensslProblem();
    if (problem !== null) return missing(t, 'openssl', problem);
    const certificate = await makeCertificate(t, { name: 'localhost' });
    const plain = await server.newBucket();
    const settings = { ...plain, endpoint: await openTlsWay(t, plain.endpoint, certificate) };
    const elsewhere = {
      AWS_ACCESS_KEY_ID: 'other',
      AWS_SECRET_ACCESS_KEY: 'other',
      AWS_ENDPOINT_URL: 'http://127.0.0.1:9',
    };
    const running = await run(t, { settings, env: { ...elsewhere, NODE_EXTRA_CA_CERTS: certificate.certFile } });
    assert.equal((await send(running, await orderWith(randomBytes(400_000)))).code, 250);
    await parsed(running, 1);
    await running.product.stop();
    const env = { ...s3Environment(settings), DATABASE_URL: running.product.databaseUrl, DATA_DIR: running.dataDir };
    const { code, stderr } = await startInVain(running.dataDir, env);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^error: the object store .* certificate is not accepted .* goes into OBJECT_STORAGE_CA_FILE\n$/,
    );
  });

  async function run(
    t: TestContext,
    o: { args?: readonly string[]; settings?: S3TestSettings; env?: Readonly<Record<string, string>> } = {},
  ): Promise<Running> {
    const database = await createTestDatabase();
    cleanUp(t, () => database.close());
    const pool = new pg.Pool({ connectionString: database.url, max: 1 });
    cleanUp(t, () => pool.end());
    await pool.query(`INSERT INTO org (name, slug) VALUES ('Acme', 'acme')`);
    const [dataDir, settings] = [await temporaryFolder(t), o.settings ?? (await server.newBucket())];
    const env = { ...s3Environment(settings), DATABASE_URL: database.url, ...o.env };
    const product = await startProduct(t, { dataDir, env, ...(o.args ? { args: o.args } : {}) });
    return { product, settings, dataDir, rows: async (sql) => (await pool.query(sql)).rows };
  }

  async function objects(bucket: string): Promise<readonly { key: string; size: number; sha256: string }[]> {
    const { Uploads = [] } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    assert.deepEqual(Uploads, []);
    const { Contents = [] } = await server.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    const found = Contents.filter(({ Key }) => Key !== '~check');
    return Promise.all(
      found.map(async ({ Key: key = '' }) => {
        const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
        const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array();
        return { key, size: bytes.length, sha256: digest(bytes) };
      }),
    );
  }
}

/** `start` that is to be refused. */
async function startInVain(cwd: string, env: Readonly<Record<string, string>>) {
  const [smtpPort, httpPort] = await Promise.all([freePort(), freePort()]);
  const ports = { SMTP_PORT: String(smtpPort), HTTP_PORT: String(httpPort) };
  return await createTestCli({ compose, cwd, env: { ...env, ...ports } }).run('start');
}

/** A proxy that speaks TLS and passes the bytes on, `Host` and all. Shape: its origin. */
async function openTlsWay(t: TestContext, endpoint: string, { cert, key }: TestCertificate): Promise<string> {
  const { hostname, port } = new URL(endpoint);
  const proxy = createServer({ cert, key }, (client) => {
    const upstream = connect({ host: hostname, port: Number(port) });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy());
    client.pipe(upstream).pipe(client);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  cleanUp(t, () => void proxy.close());
  return `https://localhost:${(proxy.address() as AddressInfo).port}`;
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const orderWith = (content: Uint8Array): Promise<Buffer> =>
  composeMail({ attachments: [{ fileName: 'order.pdf', content, contentType: 'application/pdf' }] });

const send = async ({ product }: Running, data: Buffer): Promise<SmtpReply> =>
  (await sendRaw({ port: product.smtpPort, from: FROM, to: [TO], data })).verdict;

const metrics = ({ product }: Running): Promise<string> => scrape(product.httpUrl);

async function parsed({ rows }: Running, count: number): Promise<void> {
  const seen = () => rows<{ id: string }>(`SELECT id FROM inbound_message WHERE status = 'PARSED'`);
  await waitFor(async () => (await seen()).length === count, {
    timeoutMs: 30_000,
    what: `${count} mails to be PARSED`,
  });
}
