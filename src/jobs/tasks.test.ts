import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import pino from 'pino';
import { openTraceExport } from '../adapters/opentelemetry/export.ts';
import { startOtlpReceiver } from '../testing/otlp-receiver.ts';
import { createFairShare } from './fair-share.ts';
import { createTasks } from './tasks.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';

test('each run of an extraction is a span, one that fails too; a run without tracing is none', async (t) => {
  const receiver = await startOtlpReceiver(t);
  const tracing = openTraceExport({
    url: `${receiver.url}/v1/traces`,
    headers: {},
    serviceName: 'orders',
    resourceAttributes: {},
    sampler: { name: 'always_on', ratio: 1 },
    version: '0',
    log: pino({ level: 'silent' }),
  });
  const parts = {
    extractor: {
      extract: async (_job: unknown, { attempt }: { readonly attempt: number }) => {
        if (attempt === 1) throw Object.assign(new Error('the store is away'), { code: 'store-unavailable' });
      },
      giveUp: async () => {},
    },
    share: createFairShare({ slots: 4, waiting: { next: async () => null }, log: pino({ level: 'silent' }) }),
    courtesy: { mailSeen: () => {}, turn: async () => {}, close: () => {} },
  };
  const payload = { inbound_message_id: randomUUID(), org_id: randomUUID(), trace_id: TRACE };
  const run = (tasks: ReturnType<typeof createTasks>, attempt: number) =>
    tasks.extract_attachments?.run(payload, { attempt, lastAttempt: false, signal: new AbortController().signal });

  await assert.rejects(async () => run(createTasks({ ...parts, tracing }), 1), /the store is away/);
  await run(createTasks({ ...parts, tracing }), 2);
  await run(createTasks(parts), 3);
  await tracing.close();

  assert.deepEqual(
    receiver.spans.map(({ traceId, status, attributes }) => [
      traceId,
      Number(attributes['orderflow.attempt']),
      status.code ?? 0,
      attributes['error.type'],
    ]),
    [
      [TRACE, 1, 2, 'store-unavailable'],
      [TRACE, 2, 0, undefined],
    ],
  );
});
