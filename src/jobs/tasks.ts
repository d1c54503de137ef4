/** The tasks this product runs itself. `extract_document` is not among them: the next stage does, or `relay.ts` hands it on. */
import * as z from 'zod';
import type { Extractor } from '../documents/extractor.ts';
import type { Task } from '../ports/job-runner.ts';
import type { Courtesy } from './courtesy.ts';

const ExtractAttachments = z
  .object({ inbound_message_id: z.uuid(), org_id: z.uuid(), trace_id: z.string() })
  .transform((payload) => ({ inboundMessageId: payload.inbound_message_id, orgId: payload.org_id }));

export function createTasks(o: {
  readonly extractor: Extractor;
  readonly courtesy: Courtesy;
  /** Called when there may be new jobs for the next stage. */
  readonly documentsReady?: () => void;
}): Readonly<Record<string, Task>> {
  return {
    extract_attachments: {
      async run(payload, context) {
        await o.courtesy.turn(context.signal);
        await o.extractor.extract(ExtractAttachments.parse(payload), context);
        o.documentsReady?.();
      },
      giveUp: (payload) => o.extractor.giveUp(ExtractAttachments.parse(payload)),
    },
  };
}
