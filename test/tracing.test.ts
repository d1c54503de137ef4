/** Traces of the whole product, as a collector gets them: one trace for each mail, through all processes. */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Queue } from 'bullmq';
import pg from 'pg';
import { cleanUp } from '../src/testing/clean-up.ts';
import { composeMail } from '../src/testing/compose-mail.ts';
import { createTestDatabase } from '../src/testing/database.ts';
import { freePort } from '../src/testing/free-port.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../src/testing/otlp-receiver.ts';
import { type Product, startProduct } from '../src/testing/product.ts';
import { redisClient, startTestRedis } from '../src/testing/redis.ts';
import { connectSmtp, sendRaw } from '../src/testing/smtp-client.ts';
import { temporaryFolder } from '../src/testing/temporary-folder.ts';
import { waitFor } from '../src/testing/wait-for.ts';

const RECIPIENT = 'orders+acme@orderflow.example.com';
const SENDER = 'buyer@customer.example';
const SECRET = 'four-hundred-bolts';

async function openHouse(t: TestContext) {
  const database = await createTestDatabase();
  cleanUp(t, () => database.close());
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  cleanUp(t, () => client.end());
  await client.query(`INSERT INTO org (name, slug) VALUES ('Acme', 'acme')`);
  const dataDir = await temporaryFolder(t);
  const start = (env: Readonly<Record<string, string>>, ...args: string[]) =>
    startProduct(t, { dataDir, args, env: { DATABASE_URL: database.url, ...env } });
  const one = async <R extends pg.QueryResultRow>(sql: string): Promise<R> =>
    (await client.query<R>(sql)).rows[0] ?? assert.fail(`nothing by ${sql}`);
  const message = () => one<{ id: string; org_id: string; trace_id: string }>('SELECT * FROM inbound_message');
  const parsed = () =>
    waitFor(async () => (await one<{ status: string }>('SELECT status FROM inbound_message')).status === 'PARSED', {
      what: 'the mail to be parsed',
    });
  const documentJob = () =>
    one<{ payload: Record<string, string> }>(
      `SELECT payload FROM graphile_worker._private_jobs AS job JOIN graphile_worker._private_tasks AS task
       ON task.id = job.task_id WHERE identifier = 'extract_document'`,
    );
  return { start, message, parsed, documentJob };
}

async function sendOrder({ smtpPort }: Product, messageId = 'order.1@customer.example'): Promise<void> {
  const data = await composeMail({
    messageId: `<${messageId}>`,
    subject: SECRET,
    attachments: [{ fileName: `${SECRET}.csv`, contentType: 'text/csv', content: SECRET }],
  });
  const { verdict } = await sendRaw({ port: smtpPort, from: SENDER, to: [RECIPIENT], data });
  assert.equal(verdict.code, 250, verdict.lines.join());
}

const linesOf = (product: Product, traceId: string) =>
  product.log.filter(({ trace_id }) => trace_id === traceId).map(({ msg }) => msg);

/** Transaction and extraction, whichever process they were in. Shape: the spans, and the traceparent of the next stage. */
function assertOneTrace(receiver: OtlpReceiver, message: { id: string; trace_id: string; org_id: string }) {
  const { id, trace_id: traceId } = message;
  const transaction = receiver.span('smtp transaction', { traceId, parentSpanId: '' });
  const { spanId } = transaction;
  assert.equal(transaction.attributes['orderflow.outcome'], 'accepted');
  assert.deepEqual(transaction.attributes['orderflow.inbound_message_id'], [id]);
  for (const name of ['store', 'commit']) receiver.span(name, { traceId, parentSpanId: spanId });
  const connection = receiver.span('smtp connection');
  assert.notEqual(connection.traceId, traceId);
  assert.deepEqual(
    [connection.traceId, connection.spanId],
    [transaction.links[0]?.traceId, transaction.links[0]?.spanId],
  );
  const extraction = receiver.span('process extract_attachments', { traceId, parentSpanId: spanId });
  assert.equal(extraction.attributes['orderflow.outcome'], 'PARSED');
  assert.equal(extraction.attributes['orderflow.inbound_message_id'], id);
  receiver.span('commit', { traceId, parentSpanId: extraction.spanId });
  const told = JSON.stringify(receiver.spans);
  for (const word of [SECRET, SENDER, RECIPIENT, 'order.1@']) assert.ok(!told.includes(word), word);
  return { transaction, extraction, traceparent: `00-${traceId}-${extraction.spanId}-01` };
}

describe('a mail is one trace', { concurrency: 2, timeout: 120_000 }, () => {
  it('from its connection to the queue of the next stage, of the id that the row and the log have; a stop sends all', async (t) => {
    const redis = await startTestRedis(t);
    if (redis === null) return;
    const [house, receiver] = [await openHouse(t), await startOtlpReceiver(t)];
    const product = await house.start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, REDIS_URL: redis.url });
    await sendOrder(product);
    await house.parsed();
    const queue = new Queue('extract_document', { connection: redisClient(t, redis.url) });
    cleanUp(t, () => queue.close());
    const [job] = await waitFor(async () => (await queue.getWaiting()).length === 1 && queue.getWaiting(), {
      what: 'the job in Redis',
    });
    await product.stop();

    const message = await house.message();
    const { extraction, traceparent } = assertOneTrace(receiver, message);
    assert.equal(job?.data.traceparent, traceparent);
    const publication = receiver.span('publish extract_document');
    assert.deepEqual([publication.traceId, publication.parentSpanId], [message.trace_id, extraction.spanId]);
    assert.equal(publication.attributes['messaging.message.id'], job?.id);
    assert.deepEqual(linesOf(product, message.trace_id), ['mail accepted', 'document stored', 'mail parsed']);
    assert.equal(extraction.resource['service.name'], 'orderflow-ingest');
  });

  it('also when another process extracts it', async (t) => {
    const [house, receiver] = [await openHouse(t), await startOtlpReceiver(t)];
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_SERVICE_NAME: 'edge' };
    const edge = await house.start(env, '--roles', 'smtp,http');
    await sendOrder(edge);
    await edge.stop();
    const worker = await house.start({ ...env, OTEL_SERVICE_NAME: 'worker' }, '--roles', 'worker,http');
    await house.parsed();
    await worker.stop();

    const { transaction, extraction, traceparent } = assertOneTrace(receiver, await house.message());
    assert.deepEqual(
      [transaction, extraction].map(({ resource }) => resource['service.name']),
      ['edge', 'worker'],
    );
    assert.equal((await house.documentJob()).payload.traceparent, traceparent);
  });

  it('also with --processes, each of which exports its own', async (t) => {
    const [house, receiver] = [await openHouse(t), await startOtlpReceiver(t)];
    const product = await house.start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }, '--processes', '2');
    await sendOrder(product);
    await house.parsed();
    await product.stop();

    const { transaction, extraction } = assertOneTrace(receiver, await house.message());
    const processOf = (pid: unknown) => product.log.find((line) => line.pid === Number(pid))?.process;
    assert.match(String(processOf(transaction.resource['process.pid'])), /^smtp-[12]$/);
    assert.equal(processOf(extraction.resource['process.pid']), 'worker');
  });

  it('also when it comes with others on one connection, or is refused', async (t) => {
    const [house, receiver] = [await openHouse(t), await startOtlpReceiver(t)];
    const product = await house.start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }, '--roles', 'smtp,http');
    const client = await connectSmtp({ port: product.smtpPort });
    await client.readReply('greeting');
    await client.command('EHLO client.example');
    for (const id of [1, 2]) {
      for (const line of [`MAIL FROM:<${SENDER}>`, `RCPT TO:<${RECIPIENT}>`, 'DATA']) await client.command(line);
      await client.write(`Message-ID: <${id}@customer.example>\r\n\r\nHello ${id}\r\n.\r\n`);
      assert.equal((await client.readReply('mail data')).code, 250);
    }
    await client.command(`MAIL FROM:<${SENDER}>`);
    await client.command('RSET');
    await client.command('QUIT');
    await client.closed;
    await product.stop();

    const transactions = receiver.spans.filter(({ name }) => name === 'smtp transaction');
    assert.deepEqual(
      transactions.map(({ attributes }) => attributes['orderflow.outcome']),
      ['accepted', 'accepted', 'reset'],
    );
    assert.equal(new Set(transactions.map(({ traceId }) => traceId)).size, 3);
    const { spanId } = receiver.span('smtp connection');
    assert.deepEqual(new Set(transactions.map(({ links }) => links[0]?.spanId)), new Set([spanId]));
    assert.deepEqual(new Set(transactions.map(({ status }) => status.code ?? 0)), new Set([0]), 'no fault of ours');
  });
});

describe('tracing', { concurrency: 2, timeout: 120_000 }, () => {
  it('with a collector that is away costs no mail, keeps no stop waiting, and is told of in a line', async (t) => {
    const house = await openHouse(t);
    const product = await house.start({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await freePort()}` });
    for (const n of [1, 2, 3]) await sendOrder(product, `${n}@customer.example`);
    await house.parsed();
    await product.stop();
    const lines = product.log.filter(({ msg }) => /spans/.test(String(msg)) && !/are exported/.test(String(msg)));
    // One while it runs, one for those that a stop cannot wait for.
    assert.ok(lines.length === 1 || lines.length === 2, JSON.stringify(lines));
    assert.deepEqual(new Set(lines.map(({ level }) => level)), new Set(['warn']));
  });

  it('packs what it sends where the environment asks for it; a timeout that it names has no effect', async (t) => {
    const [house, receiver] = [await openHouse(t), await startOtlpReceiver(t)];
    const product = await house.start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      OTEL_EXPORTER_OTLP_TIMEOUT: '1',
    });
    await sendOrder(product);
    await house.parsed();
    await product.stop();
    assert.ok(receiver.span('smtp transaction'));
    assert.deepEqual(new Set(receiver.headers.map((each) => each['content-encoding'])), new Set(['gzip']));
  });

  it('that is not asked for loads no SDK, and adds nothing to a job', async (t) => {
    const receiver = await startOtlpReceiver(t);
    const loaded = async (env: Readonly<Record<string, string>>) => {
      const [house, witness] = [await openHouse(t), await writeWitness(t)];
      const product = await house.start({ NODE_OPTIONS: `--import=${pathToFileURL(witness.script)}`, ...env });
      await sendOrder(product);
      await house.parsed();
      await product.stop();
      const { payload } = await house.documentJob();
      return { modules: await readFile(witness.seen, 'utf8'), payload: Object.keys(payload).sort() };
    };
    const traced = await loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    assert.match(traced.modules, /@opentelemetry\/(?!api\/)/);
    assert.match(traced.modules, /adapters\/opentelemetry/);
    assert.deepEqual(traced.payload, ['document_id', 'org_id', 'trace_id', 'traceparent']);
    const plain = await loaded({ OTEL_SERVICE_NAME: 'orders', OTEL_METRICS_EXPORTER: 'none' });
    assert.match(plain.modules, /\/pg\//, 'the witness sees');
    // prom-client asks for the API package, which is interfaces and no-ops.
    assert.doesNotMatch(plain.modules, /@opentelemetry\/(?!api\/)|adapters\/opentelemetry/);
    assert.deepEqual(plain.payload, ['document_id', 'org_id', 'trace_id']);
  });
});

/** Writes down every module that a process asks for. */
async function writeWitness(t: TestContext): Promise<{ readonly script: string; readonly seen: string }> {
  const folder = await temporaryFolder(t);
  const [script, seen] = [join(folder, 'witness.mjs'), join(folder, 'seen')];
  appendFileSync(seen, '');
  await writeFile(
    script,
    `import { appendFileSync } from 'node:fs';
     import { registerHooks } from 'node:module';
     registerHooks({
       resolve(specifier, context, next) {
         const found = next(specifier, context);
         appendFileSync(${JSON.stringify(seen)}, found.url + '\\n');
         return found;
       },
     });`,
  );
  return { script, seen };
}
