/** The tasks this product runs itself. `extract_document` is not among them: its consumer is the next stage. */
import * as z from 'zod';
import type { Task } from '../ports/job-runner.ts';

const ExtractAttachments = z.object({ inbound_message_id: z.uuid(), org_id: z.uuid(), trace_id: z.string() });

export interface ExtractAttachments {
  extract(
    inboundMessageId: string,
    run: { readonly attempt: number; readonly lastAttempt: boolean; readonly signal: AbortSignal },
  ): Promise<void>;
  giveUp(inboundMessageId: string): Promise<void>;
}

export function createTasks(o: { readonly documents: ExtractAttachments }): Readonly<Record<string, Task>> {
  return {
    extract_attachments: {
      run: (payload, context) => o.documents.extract(ExtractAttachments.parse(payload).inbound_message_id, context),
      giveUp: (payload) => o.documents.giveUp(ExtractAttachments.parse(payload).inbound_message_id),
    },
  };
}
