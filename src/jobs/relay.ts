/**
 * Hands the jobs of the next stage from our database to a queue outside of it, in batches, for as long as the process
 * lives. A job leaves the database only after the queue has acknowledged it.
 *
 * States: *waiting for the queue* (it cannot be reached: the database is left alone, the publisher keeps trying);
 * *handing over*, batch after batch; *idle*, until woken or for POLL_MS; *stopped*.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { JobOutbox, RefusedJob, WaitingJob } from '../ports/job-outbox.ts';
import { type JobPublisher, type JobToPublish, PublishError } from '../ports/job-publisher.ts';
import type { Log } from '../telemetry/log.ts';
import type { TraceSpan, Tracing } from '../telemetry/tracing.ts';

/** One transaction and one round trip to the queue for so many; about 50 KB. */
const BATCH = 100;
/** The extraction wakes us; this is for what another process left lying. */
const POLL_MS = 1_000;
const RETRY_MS = 2_000;

/** Everything else in a payload is passed on as it is. */
const ExtractDocument = z.looseObject({ document_id: z.uuid(), org_id: z.uuid(), trace_id: z.string() });

export interface Relay {
  start(): void;
  /** There may be something to hand over. */
  wake(): void;
  /** Waits up to `graceMs` for the batch under way; what was not acknowledged stays in the database. */
  stop(graceMs: number): Promise<void>;
}

export function createRelay(o: {
  readonly outbox: JobOutbox;
  readonly publisher: JobPublisher;
  readonly log: Log;
  readonly tracing?: Tracing | undefined;
  readonly pollMs?: number;
}): Relay {
  const stopping = new AbortController();
  const { signal } = stopping;
  let bell = Promise.withResolvers<void>();
  let running: Promise<void> = Promise.resolve();
  let inTrouble = false;

  const handOver = async (): Promise<number> => {
    await o.publisher.ready(signal);
    bell = Promise.withResolvers();
    const taken = await o.outbox.handOver({ task: 'extract_document', limit: BATCH, deliver });
    inTrouble = false;
    return taken;
  };

  const deliver = async (jobs: readonly WaitingJob[]): Promise<readonly RefusedJob[]> => {
    const { good, refused } = sortOut(jobs);
    for (const { id, reason } of refused) o.log.error({ job_id: id, reason }, 'a job that is none cannot be published');
    if (good.length > 0) await publish(good);
    o.log.debug({ jobs: good.length }, 'jobs published');
    return refused;
  };

  /** An attempt that fails ends no span: with Redis away for a day, each trace would fill with thousands. */
  const publish = async (jobs: readonly JobToPublish[]): Promise<void> => {
    const spans = o.tracing === undefined ? [] : jobs.map(({ payload }) => publication(o.tracing, payload));
    await o.publisher.publish(jobs);
    for (const span of spans) span?.end();
  };

  /** Once for each time of trouble. What the queue is about has been told by the publisher. */
  const tell = (error: unknown): void => {
    if (!(error instanceof PublishError) && !inTrouble) {
      o.log.warn({ err: error }, 'jobs could not be handed to the next stage, trying again');
      inTrouble = true;
    }
  };

  const idle = async (): Promise<void> => {
    const woken = new AbortController();
    await Promise.race([bell.promise, pause(o.pollMs ?? POLL_MS, AbortSignal.any([signal, woken.signal]))]);
    // Woken hundreds of times a second, it would leave as many timers behind.
    woken.abort();
  };

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        const taken = await handOver();
        if (taken < BATCH) await idle();
      } catch (error) {
        if (signal.aborted) return;
        tell(error);
        await pause(RETRY_MS, signal);
      }
    }
  };

  return {
    start() {
      running = run();
    },
    wake: () => bell.resolve(),
    async stop(graceMs) {
      stopping.abort(new Error('the worker is stopping'));
      const impatient = setTimeout(() => o.publisher.close(), graceMs);
      await running;
      clearTimeout(impatient);
      o.publisher.close();
    },
  };
}

function publication(tracing: Tracing | undefined, payload: JobToPublish['payload']): TraceSpan | undefined {
  const span = tracing?.publication('extract_document', {
    traceId: String(payload.trace_id),
    traceparent: payload.traceparent,
  });
  span?.set({ 'messaging.message.id': String(payload.document_id), 'orderflow.org_id': String(payload.org_id) });
  return span;
}

function sortOut(jobs: readonly WaitingJob[]): { good: readonly JobToPublish[]; refused: readonly RefusedJob[] } {
  const good: JobToPublish[] = [];
  const refused: RefusedJob[] = [];
  for (const { id, payload } of jobs) {
    const read = ExtractDocument.safeParse(payload);
    if (read.success) good.push({ id: read.data.document_id, payload: read.data });
    else refused.push({ id, reason: `not the payload of extract_document: ${z.prettifyError(read.error)}` });
  }
  return { good, refused };
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await sleep(durationMs, undefined, { signal }).catch(() => {});
}
