/** The role `worker`: the job queue, the extraction that its jobs do, and where Redis is configured the relay to it. */
import { createGraphileJobRunner } from '../adapters/graphile/job-runner.ts';
import { createPostgresExtractionStore } from '../adapters/postgres/extraction-store.ts';
import { createPostgresJobOutbox } from '../adapters/postgres/job-outbox.ts';
import { createPostgresReconciliation } from '../adapters/postgres/reconciliation.ts';
import { createPostgresUnfinishedDocuments } from '../adapters/postgres/unfinished-documents.ts';
import { createPostgresWaitingMessages } from '../adapters/postgres/waiting-messages.ts';
import { createExtractor } from '../documents/extractor.ts';
import { createFairShare } from '../jobs/fair-share.ts';
import { createLostJobs, type LostJobs } from '../jobs/lost-jobs.ts';
import { createRelay, type Relay } from '../jobs/relay.ts';
import { createTasks } from '../jobs/tasks.ts';
import type { JobRunner } from '../ports/job-runner.ts';
import type { Parts } from './parts.ts';
import { asNotReady } from './store-guard.ts';

/** The jobs, and where Redis is configured, what hands over their outcome. */
export interface Worker {
  readonly jobs: JobRunner;
  readonly nextStage: NextStage | null;
}

/** Of jobs that go to Redis. */
interface NextStage {
  readonly relay: Relay;
  readonly lostJobs: LostJobs;
}

export async function createWorker(parts: Parts): Promise<Worker> {
  const nextStage = await createNextStage(parts);
  const jobs = createJobs(parts, nextStage?.relay ?? null);
  // In another store every mail would look lost.
  parts.storeGuard.follow((objection) => jobs.hold(objection === null ? null : asNotReady(objection)));
  return { nextStage, jobs };
}

/** Loaded only where it is used: the Redis libraries take 30 MB. */
async function createNextStage({ settings, log, metrics, tracing, pools }: Parts): Promise<NextStage | null> {
  if (settings.redisUrl === null) return null;
  const { createBullmqPublisher } = await import('../adapters/bullmq/job-publisher.ts');
  const queue = createBullmqPublisher({
    url: settings.redisUrl,
    urlFile: settings.redisUrlFile,
    queueName: 'extract_document',
    log,
    metrics,
  });
  return {
    relay: createRelay({ outbox: createPostgresJobOutbox({ pool: pools.worker }), publisher: queue, log, tracing }),
    lostJobs: createLostJobs({
      documents: createPostgresUnfinishedDocuments({ pool: pools.worker }),
      queue,
      ready: queue.ready,
      log,
    }),
  };
}

function createJobs(
  { settings, log, lines, metrics, tracing, objects, storeGuard, pools, courtesy, url }: Parts,
  relay: Relay | null,
): JobRunner {
  return createGraphileJobRunner({
    url,
    pool: pools.queue,
    concurrency: settings.worker.concurrency,
    log,
    addMissingJobs: createPostgresReconciliation({ pool: pools.queue }).addMissingJobs,
    lines,
    tasks: createTasks({
      courtesy,
      share: createFairShare({
        slots: settings.worker.concurrency,
        waiting: createPostgresWaitingMessages({ pool: pools.worker }),
        log,
      }),
      tracing,
      ...(relay === null ? {} : { documentsReady: relay.wake }),
      extractor: createExtractor({
        objects,
        storeGuard,
        store: createPostgresExtractionStore({ pool: pools.worker }),
        log,
        lines,
        metrics,
      }),
    }),
  });
}
