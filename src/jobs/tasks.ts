/** The tasks this product runs itself. `extract_document` is not among them: its consumer is the next stage. */
import * as z from 'zod';
import type { Task } from '../ports/job-runner.ts';

const ExtractAttachments = z.object({ inbound_message_id: z.uuid(), org_id: z.uuid(), trace_id: z.string() });

export interface ExtractAttachments {
  extract(
    inboundMessageId: string,
    run: { readonly attempt: number; readonly lastAttempt: boolean; readonly signal: AbortSignal },
  ): Promise<void>;
}

export function createTasks(o: { readonly documents: ExtractAttachments }): Readonly<Record<string, Task>> {
  return {
    extract_attachments: async (payload, context) => {
      const { inbound_message_id } = ExtractAttachments.parse(payload);
      await o.documents.extract(inbound_message_id, context);
    },
  };
}
