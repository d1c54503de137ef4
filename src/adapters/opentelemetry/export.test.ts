import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { cleanUp } from '../../testing/clean-up.ts';
import { freePort } from '../../testing/free-port.ts';
import { startOtlpReceiver } from '../../testing/otlp-receiver.ts';
import { recordingLog } from '../../testing/recording-log.ts';
import { waitFor } from '../../testing/wait-for.ts';
import { openTraceExport, type SamplerName } from './export.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const OTHER_TRACE = '1bf7651916cd43dd8448eb211c80319c';
const session = { sessionId: 's1', remoteAddress: '192.0.2.7', remotePort: 4711 };

function open(
  t: TestContext,
  url: string,
  sampler: SamplerName = 'parentbased_always_on',
  ratio = 1,
  renewHeaders?: () => Record<string, string> | null,
) {
  const { log, lines } = recordingLog();
  const tracing = openTraceExport({
    url: `${url}/v1/traces`,
    headers: { authorization: 'Bearer token' },
    renewHeaders,
    serviceName: 'orders',
    resourceAttributes: { 'deployment.environment.name': 'test' },
    sampler: { name: sampler, ratio },
    version: '1.2.3',
    log,
    timing: { batchEveryMs: 10, lastSpansMs: 300, sendTimeoutMs: 500 },
  });
  cleanUp(t, () => tracing.close());
  return { tracing, lines };
}

/** The spans of one mail. Shape: what its job carries. */
function traceMail(tracing: ReturnType<typeof open>['tracing'], traceId = TRACE): string {
  tracing.connectionOpened(session);
  const transaction = tracing.transaction({ traceId, sessionId: session.sessionId });
  transaction.child('store').end();
  transaction.end();
  tracing.connectionClosed(session, { 'orderflow.accepted': 1 });
  return transaction.traceparent;
}

describe('the spans that are exported', { timeout: 30_000 }, () => {
  it('begin a trace of the id that the log has, with a link to the connection, which is a trace of its own', async (t) => {
    const receiver = await startOtlpReceiver(t);
    const { tracing, lines } = open(t, receiver.url);
    const traceparent = traceMail(tracing);
    await tracing.close();

    const [connection, transaction] = [receiver.span('smtp connection'), receiver.span('smtp transaction')];
    assert.equal(transaction.traceId, TRACE);
    assert.equal(transaction.parentSpanId, '', 'the first of its trace');
    assert.equal(traceparent, `00-${TRACE}-${transaction.spanId}-01`);
    assert.notEqual(connection.traceId, TRACE);
    assert.deepEqual(
      transaction.links.map(({ traceId, spanId }) => [traceId, spanId]),
      [[connection.traceId, connection.spanId]],
    );
    assert.equal(connection.attributes['client.address'], '192.0.2.7');
    assert.equal(Number(connection.attributes['orderflow.accepted']), 1);
    const store = receiver.span('store');
    assert.deepEqual([store.traceId, store.parentSpanId], [TRACE, transaction.spanId]);
    assert.equal(receiver.headers[0]?.authorization, 'Bearer token');
    const { 'service.name': name, 'service.version': version, 'deployment.environment.name': where } = store.resource;
    assert.deepEqual([name, version, where], ['orders', '1.2.3', 'test']);
    assert.deepEqual(lines, []);
  });

  it('go on behind a traceparent, and begin at the trace id where it is missing, malformed or of another trace', async (t) => {
    const receiver = await startOtlpReceiver(t);
    const { tracing } = open(t, receiver.url);
    const good = `00-${TRACE}-00f067aa0ba902b7-01`;
    const bad = [
      undefined,
      null,
      7,
      '',
      'x',
      `${good}-x`,
      `00-${TRACE}-0000000000000000-01`,
      `00-${OTHER_TRACE}-00f067aa0ba902b7-01`,
    ];
    for (const traceparent of [good, ...bad]) tracing.jobRun('task', { traceId: TRACE, traceparent }, {}).end();
    tracing.jobRun('lost', { traceId: '0'.repeat(32) }, {}).end();
    await tracing.close();

    assert.deepEqual(
      receiver.spans
        .filter(({ name }) => name === 'process task')
        .map(({ traceId, parentSpanId }) => [traceId, parentSpanId]),
      [[TRACE, '00f067aa0ba902b7'], ...bad.map(() => [TRACE, ''])],
    );
    assert.match(receiver.span('process lost').traceId, /^(?!0+$)[0-9a-f]{32}$/);
  });

  it('tell of a fault by status and type, and are ended once', async (t) => {
    const receiver = await startOtlpReceiver(t);
    const { tracing } = open(t, receiver.url);
    const span = tracing.transaction({ traceId: TRACE, sessionId: 'unknown' });
    span.fail(Object.assign(new Error(`the disk is full ${'x'.repeat(1_000)}`), { code: 'storage-full' }));
    span.end();
    span.set({ late: true });
    span.fail('late');
    span.end();
    await tracing.close();
    const { status, attributes } = receiver.span('smtp transaction');
    assert.equal(status.code, 2);
    assert.match(status.message ?? '', /^the disk is full x+$/);
    assert.ok((status.message?.length ?? 0) <= 300);
    assert.equal(attributes['error.type'], 'storage-full');
    assert.equal(attributes.late, undefined);
  });

  it('are a share of the traces where that is asked for, and of each trace all or none, in another process too', async (t) => {
    const receiver = await startOtlpReceiver(t);
    const edge = open(t, receiver.url, 'parentbased_traceidratio', 0.5).tracing;
    const worker = open(t, receiver.url).tracing;
    const ids = Array.from({ length: 200 }, () => randomUUID().replaceAll('-', ''));
    for (const traceId of ids) {
      const { traceparent, ...transaction } = edge.transaction({ traceId, sessionId: 's' });
      transaction.end();
      worker.jobRun('task', { traceId, traceparent }, {}).end();
    }
    await Promise.all([edge.close(), worker.close()]);
    const of = (name: string) => receiver.spans.filter((span) => span.name === name).map(({ traceId }) => traceId);
    const taken = of('smtp transaction');
    assert.ok(taken.length > 40 && taken.length < 160, `${taken.length} of 200`);
    assert.deepEqual(of('process task').sort(), taken.sort());
  });
});

describe('a receiver of spans that is away', { timeout: 30_000 }, () => {
  it('is told of once, with a count when it is back', async (t) => {
    const receiver = await startOtlpReceiver(t);
    const { tracing, lines } = open(t, receiver.url);
    receiver.answer(400);
    for (const attempts of [1, 2]) {
      traceMail(tracing);
      await waitFor(() => receiver.headers.length >= attempts, { what: `attempt ${attempts}` });
    }
    receiver.answer(200);
    await waitFor(
      () => {
        traceMail(tracing);
        return lines.length > 1;
      },
      { what: 'the line that it is back' },
    );
    assert.deepEqual(lines, [
      'warn spans cannot be exported, they are dropped; mail goes on',
      'info spans are exported again',
    ]);
  });

  it('have other headers after those of before were refused, where there are some', async (t) => {
    const receiver = await startOtlpReceiver(t);
    receiver.answer(401);
    let renewed: Record<string, string> | null = null;
    const { tracing } = open(t, receiver.url, 'parentbased_always_on', 1, () => renewed);
    const sentWith = () => receiver.headers.at(-1)?.authorization;
    traceMail(tracing);
    await waitFor(() => sentWith() === 'Bearer token', { what: 'the first refusal' });
    renewed = { authorization: 'Bearer next' };
    await waitFor(
      () => {
        traceMail(tracing);
        return sentWith() === 'Bearer next';
      },
      { what: 'the new headers' },
    );
    receiver.answer(200);
    traceMail(tracing, OTHER_TRACE);
    await waitFor(() => receiver.spans.some(({ traceId }) => traceId === OTHER_TRACE), { what: 'spans' });
  });

  it('costs a bounded number of spans in memory: more are dropped, and told of', async (t) => {
    const receiver = await startOtlpReceiver(t);
    receiver.answer(null);
    const { tracing, lines } = open(t, receiver.url);
    for (let n = 0; n < 4_000; n += 1) tracing.transaction({ traceId: TRACE, sessionId: 's' }).end();
    assert.deepEqual(lines, ['warn spans cannot be exported, they are dropped; mail goes on']);
  });

  it('does not keep a stop waiting', async (t) => {
    for (const url of [(await hanging(t)).url, `http://127.0.0.1:${await freePort()}`]) {
      const { tracing, lines } = open(t, url);
      traceMail(tracing);
      await tracing.close();
      assert.match(lines.join(), /^warn [^,]*spans (could not|cannot) be exported/);
      assert.equal(lines.length, 1);
    }
  });
});

async function hanging(t: TestContext) {
  const receiver = await startOtlpReceiver(t);
  receiver.answer(null);
  return receiver;
}
