/** The tasks this product runs itself. `extract_document` is not among them: the next stage does, or `relay.ts` hands it on. */
import * as z from 'zod';
import type { Extractor } from '../documents/extractor.ts';
import type { Task } from '../ports/job-runner.ts';
import type { TraceSpan, Tracing } from '../telemetry/tracing.ts';
import type { Courtesy } from './courtesy.ts';
import type { FairShare } from './fair-share.ts';

const ExtractAttachments = z
  .object({ inbound_message_id: z.uuid(), org_id: z.uuid(), trace_id: z.string(), traceparent: z.unknown().optional() })
  .transform((payload) => ({
    inboundMessageId: payload.inbound_message_id,
    orgId: payload.org_id,
    traceId: payload.trace_id,
    traceparent: payload.traceparent,
  }));

export function createTasks(o: {
  readonly extractor: Extractor;
  readonly courtesy: Courtesy;
  readonly share: FairShare;
  readonly tracing?: Tracing | undefined;
  /** Called when there may be new jobs for the next stage. */
  readonly documentsReady?: () => void;
}): Readonly<Record<string, Task>> {
  return {
    extract_attachments: {
      async run(payload, context) {
        await o.courtesy.turn(context.signal);
        const job = ExtractAttachments.parse(payload);
        await o.share.run(job, context.signal, async (message, own) => {
          // What is read ahead is a first attempt; the queue counts those of its own job.
          const run = own ? context : { ...context, attempt: 1, lastAttempt: false };
          const span = o.tracing?.jobRun('extract_attachments', message, {
            'orderflow.inbound_message_id': message.inboundMessageId,
            'orderflow.org_id': message.orgId,
            'orderflow.attempt': run.attempt,
          });
          await tracedBy(span, () => o.extractor.extract(message, { ...run, span }));
          o.documentsReady?.();
        });
      },
      giveUp: (payload) => o.extractor.giveUp(ExtractAttachments.parse(payload)),
    },
  };
}

async function tracedBy(span: TraceSpan | undefined, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    span?.fail(error);
    throw error;
  } finally {
    span?.end();
  }
}
