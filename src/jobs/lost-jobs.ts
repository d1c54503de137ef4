/**
 * Finds documents whose jobs were lost in the queue of the next stage, and puts those back: a consumer was killed in one job more
 * often than the queue allows, or the queue has lost its data. A document's row and its job are written together, and the job
 * leaves our database only once the queue has it: so a document that is STORED, has no job here, and is not known there has
 * lost it.
 *
 * What a consumer gave up itself is not put back, only told; nor is what it has finished without writing a status. A consumer
 * that never writes one would be given its whole past again when the queue forgets what is done: so the jobs finished last are
 * looked at first, and where their documents are STORED still, nothing that is missing is put back.
 *
 * Costs: a look at an index each minute while the next stage keeps up; at most 10,000 documents, the next ones a minute later.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PublishError } from '../ports/job-publisher.ts';
import type { RememberingQueue } from '../ports/next-stage-queue.ts';
import type { DocumentCursor, DocumentToExtract, UnfinishedDocuments } from '../ports/unfinished-documents.ts';
import type { Log } from '../telemetry/log.ts';
import { jobOf } from './requeue.ts';

const LOOK_EVERY_MS = 60_000;
/** Nothing hangs on this but that a document of this moment is not worth a question. */
const OLDER_THAN_MS = 60_000;
const PAGE = 500;
const PAGES_AT_ONCE = 20;
/** Of the jobs finished last. */
const SAMPLE = 100;

export interface LostJobs {
  start(): void;
  /** One look. Errors: rejects when database or queue cannot be asked. */
  look(): Promise<void>;
  /** Waits for the look under way. */
  stop(): Promise<void>;
}

export function createLostJobs(o: {
  readonly documents: UnfinishedDocuments;
  readonly queue: RememberingQueue;
  /** Resolves when the queue can be asked. Errors: the signal's reason. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  readonly log: Log;
  readonly lookEveryMs?: number;
  readonly olderThanMs?: number;
}): LostJobs {
  const { signal, abort } = abortable();
  const olderThanMs = o.olderThanMs ?? OLDER_THAN_MS;
  let running: Promise<void> = Promise.resolve();
  let cursor: DocumentCursor | null = null;
  let failedBefore = 0;
  /** Of the round under way, which may take several looks. */
  let failed = 0;
  let toldStatuses = false;

  /** Does the next stage write what it has done? */
  const statusesAreWritten = async (): Promise<boolean> => {
    const done = await o.queue.doneLately({ limit: SAMPLE, olderThanMs });
    if (done.length === 0) return true;
    const written = (await o.documents.countStored(done)) * 2 <= done.length;
    if (!written && !toldStatuses) {
      o.log.warn(
        { jobs: done.length },
        'the next stage finishes jobs and leaves their documents STORED: jobs that Redis has lost are not queued again',
      );
    }
    toldStatuses = !written;
    return written;
  };

  const putBack = async (documents: readonly DocumentToExtract[]): Promise<void> => {
    const candidates = documents.filter(({ waits }) => !waits);
    if (candidates.length === 0) return;
    const states = await o.queue.states(candidates.map(({ id }) => id));
    const jobs = candidates.map((document) => jobOf(document, states.get(document.id) ?? 'live'));
    failed += jobs.filter(({ state }) => state === 'failed').length;
    const stored = new Set(candidates.filter(({ status }) => status === 'STORED').map(({ id }) => id));
    // Whoever writes PROCESSING and finishes the job works on without it.
    const missing = jobs.filter(({ id, state }) => state === 'missing' && stored.has(id));
    const lost = jobs.filter(({ state }) => state === 'lost');
    const back = [...lost, ...(missing.length > 0 && (await statusesAreWritten()) ? missing : [])];
    if (back.length === 0) return;
    await o.queue.requeue(back);
    const document_ids = back.slice(0, 50).map(({ id }) => id);
    o.log.warn({ jobs: back.length, document_ids }, 'jobs that the next stage had lost are queued again');
  };

  const tellFailed = (): void => {
    if (failed > failedBefore) {
      o.log.warn({ jobs: failed }, 'jobs of the next stage have failed for good: jobs requeue tries them again');
    }
    failedBefore = failed;
    failed = 0;
  };

  const look = async (): Promise<void> => {
    const before = new Date(Date.now() - olderThanMs);
    for (let pages = 0; pages < PAGES_AT_ONCE && !signal.aborted; pages++) {
      const { documents, next }: Awaited<ReturnType<UnfinishedDocuments['page']>> = await o.documents.page({
        before,
        after: cursor,
        limit: PAGE,
      });
      await putBack(documents);
      cursor = next;
      if (next === null) return tellFailed();
    }
  };

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await o.ready(signal);
        await look();
      } catch (error) {
        if (signal.aborted) return;
        // What the queue is about has been told by its adapter.
        if (!(error instanceof PublishError)) o.log.warn({ err: error }, 'could not look for lost jobs, trying again');
      }
      await sleep(o.lookEveryMs ?? LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  };

  return {
    start() {
      running = run();
    },
    look,
    async stop() {
      abort();
      await running;
    },
  };
}

function abortable(): { readonly signal: AbortSignal; readonly abort: () => void } {
  const stopping = new AbortController();
  return { signal: stopping.signal, abort: () => stopping.abort(new Error('the worker is stopping')) };
}
