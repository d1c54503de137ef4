import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { createSmtpServer, type MailReceiver } from '../smtp/index.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { connectSmtp } from '../testing/smtp-client.ts';
import { createSmtpObserver } from './observer.ts';

const receivers: readonly (readonly [string, string, MailReceiver])[] = [
  ['is not back in time', 'deadline', { begin: () => new Promise(() => {}) }],
  ['fails', 'unexpected', { begin: () => Promise.reject(new Error('broken')) }],
];

for (const [what, errorType, receiver] of receivers) {
  test(`a call of the receiver that ${what} is counted as ${errorType}, once`, async (t) => {
    const metrics = createMetrics();
    const observer = createSmtpObserver({ log: pino({ level: 'silent' }), metrics });
    const limits = { receiverTimeoutMs: 60 };
    const server = createSmtpServer({ receiver, hostName: 'mx.example', limits, observer });
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    cleanUp(t, () => server.close({ graceMs: 0 }));
    const client = await connectSmtp({ port });
    cleanUp(t, () => client.close());
    await client.readReply('greeting');
    await client.command('EHLO c');
    assert.equal((await client.command('MAIL FROM:<a@b.example>')).code, 451);
    const counted = (await metrics.scrape()).text.match(/^smtp_processing_errors_total\{.*$/gm);
    assert.deepEqual(counted, [`smtp_processing_errors_total{org_id="unknown",error_type="${errorType}"} 1`]);
  });
}

test('every reply is counted by code and condition, also the one to a connection that is turned away', async (t) => {
  const metrics = createMetrics();
  const observer = createSmtpObserver({ log: pino({ level: 'silent' }), metrics });
  const limits = { maxConnections: 1 };
  const receiver: MailReceiver = { begin: () => new Promise(() => {}) };
  const server = createSmtpServer({ receiver, hostName: 'mx.example', limits, observer });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  cleanUp(t, () => server.close({ graceMs: 0 }));
  const client = await connectSmtp({ port });
  cleanUp(t, () => client.close());
  await client.readReply('greeting');
  await client.command('EHLO c');
  await client.command('NOOP');
  await client.command('WHAT');
  const second = await connectSmtp({ port });
  cleanUp(t, () => second.close());
  assert.equal((await second.readReply('greeting')).code, 421);
  const counted = (await metrics.scrape()).text.match(/^smtp_replies_total\{.* [1-9]\d*$/gm);
  assert.deepEqual(counted?.toSorted(), [
    'smtp_replies_total{code="220",condition="greeting"} 1',
    'smtp_replies_total{code="250",condition="ehlo-ok"} 1',
    'smtp_replies_total{code="250",condition="noop-ok"} 1',
    'smtp_replies_total{code="421",condition="too-many-connections"} 1',
    'smtp_replies_total{code="500",condition="unknown-command"} 1',
  ]);
});
