/** `jobs requeue`: the documents, and the queue that the next stage takes its jobs from, Redis or our database. */
import type pg from 'pg';
import { createPostgresNextStageQueue } from '../adapters/postgres/next-stage-queue.ts';
import { createPostgresUnfinishedDocuments } from '../adapters/postgres/unfinished-documents.ts';
import type { Settings } from '../config/settings.ts';
import { createJobRequeue, type JobRequeue } from '../jobs/requeue.ts';
import type { NextStageQueue } from '../ports/next-stage-queue.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { StartError } from './errors.ts';

/** Somebody waits at a terminal: a Redis that is away is told, not waited for. */
const REDIS_READY_MS = 6_000;

export function openJobRequeue(o: { readonly settings: Settings; readonly log: Log; readonly pool: pg.Pool }): {
  readonly jobs: JobRequeue;
  close(): Promise<void>;
} {
  const documents = createPostgresUnfinishedDocuments(o);
  const { redisUrl, redisUrlFile: urlFile } = o.settings;
  if (redisUrl === null) {
    return { jobs: createJobRequeue({ documents, queue: createPostgresNextStageQueue(o) }), close: async () => {} };
  }
  let opened: ReturnType<typeof openRedisQueue> | undefined;
  const queue = () => (opened ??= openRedisQueue({ url: redisUrl, urlFile, log: o.log }));
  const late: NextStageQueue = {
    states: async (ids) => (await queue()).states(ids),
    requeue: async (jobs) => (await queue()).requeue(jobs),
  };
  return {
    jobs: createJobRequeue({ documents, queue: late }),
    close: async () => (await opened?.catch(() => null))?.close(),
  };
}

/** Errors: `StartError`. Why it cannot be used has been logged by then. */
async function openRedisQueue(o: { readonly url: string; readonly urlFile: string | null; readonly log: Log }) {
  const { createBullmqPublisher } = await import('../adapters/bullmq/job-publisher.ts');
  const queue = createBullmqPublisher({ ...o, queueName: 'extract_document', metrics: createMetrics() });
  try {
    await queue.ready(AbortSignal.timeout(REDIS_READY_MS));
    return queue;
  } catch (error) {
    queue.close();
    throw new StartError('REDIS_URL: Redis cannot be used; doctor says why. Nothing was queued again', {
      cause: error,
    });
  }
}
