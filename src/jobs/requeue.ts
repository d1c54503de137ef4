/** Puts jobs of the next stage back by hand: `jobs requeue`. */
import type { NextStageQueue, QueuedState } from '../ports/next-stage-queue.ts';
import type { DocumentCursor, DocumentToExtract, UnfinishedDocuments } from '../ports/unfinished-documents.ts';

/** Some 50 KB of jobs, and one round trip for their states. */
const PAGE = 500;

export interface Requeued {
  /** Ids of the documents whose jobs were put back. */
  readonly requeued: readonly string[];
  /** How many have a live job: those stay as they are. */
  readonly live: number;
}

/** Errors: rejects when database or queue cannot be asked; what was put back until then stays so. */
export interface JobRequeue {
  /** Shape: null when there is no such document; `done` when there is nothing to do for it, with its status. */
  document(id: string): Promise<Requeued | { readonly done: DocumentToExtract } | null>;
  /** All that are STORED or PROCESSING, and were recorded before that moment. */
  storedBefore(before: Date): Promise<Requeued>;
}

export const jobOf = ({ id, orgId, traceId }: DocumentToExtract, state: QueuedState) => ({
  id,
  payload: { document_id: id, org_id: orgId, trace_id: traceId },
  state,
});

export function createJobRequeue(o: {
  readonly documents: UnfinishedDocuments;
  readonly queue: NextStageQueue;
}): JobRequeue {
  const requeue = async (documents: readonly DocumentToExtract[]): Promise<Requeued> => {
    // What waits in the database is handed on by itself.
    const candidates = documents.filter(({ waits }) => !waits);
    const states = await o.queue.states(candidates.map(({ id }) => id));
    const jobs = candidates
      .map((document) => jobOf(document, states.get(document.id) ?? 'missing'))
      .filter(({ state }) => state !== 'live');
    if (jobs.length > 0) await o.queue.requeue(jobs);
    return { requeued: jobs.map(({ id }) => id), live: documents.length - jobs.length };
  };
  return {
    async document(id) {
      const found = await o.documents.find(id);
      if (found === null) return null;
      return found.status === 'EXTRACTED' || !found.stored ? { done: found } : await requeue([found]);
    },
    async storedBefore(before) {
      const requeued: string[] = [];
      let live = 0;
      let after: DocumentCursor | null = null;
      do {
        const page: Awaited<ReturnType<UnfinishedDocuments['page']>> = await o.documents.page({
          before,
          after,
          limit: PAGE,
        });
        const some = await requeue(page.documents);
        requeued.push(...some.requeued);
        live += some.live;
        after = page.next;
      } while (after !== null);
      return { requeued, live };
    },
  };
}
