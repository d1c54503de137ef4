/** A server with every role, put together as compose/ does it, over adapters in memory. */
import pino from 'pino';
import { createExtractor } from '../../src/documents/extractor.ts';
import { createIntake } from '../../src/intake/intake.ts';
import { createMessageIds } from '../../src/intake/message-ids.ts';
import { createFairShare } from '../../src/jobs/fair-share.ts';
import { createLostJobs } from '../../src/jobs/lost-jobs.ts';
import { createRelay } from '../../src/jobs/relay.ts';
import { createTasks } from '../../src/jobs/tasks.ts';
import { createRecorder } from '../../src/messages/recorder.ts';
import { StoreNotKnownError } from '../../src/ports/store-guard.ts';
import { createRawStore } from '../../src/rawstore/index.ts';
import { rememberGapObjects } from '../../src/reconcile/gap-count.ts';
import { openStoreGuard } from '../../src/reconcile/store-guard.ts';
import { createRouter } from '../../src/routing/index.ts';
import type { MailReceiver } from '../../src/smtp/index.ts';
import { createBoundedLines } from '../../src/telemetry/bounded-lines.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import {
  createMemoryBlockedSenders,
  createMemoryOrganisations,
  createMemoryUnfinishedDocuments,
  createMemoryWaitingMessages,
} from '../../src/testing/memory/directory.ts';
import { createMemoryExtractionStore } from '../../src/testing/memory/extraction-store.ts';
import { createMemoryJobOutbox } from '../../src/testing/memory/job-outbox.ts';
import { createMemoryJobQueue } from '../../src/testing/memory/job-queue.ts';
import { createMemoryJobRunner } from '../../src/testing/memory/job-runner.ts';
import { createMemoryGapMemory, createMemoryMarkMemory } from '../../src/testing/memory/mark-memory.ts';
import { createMemoryMessageStore } from '../../src/testing/memory/message-store.ts';
import { createMemoryObjectStore, createMemoryStoreMarks } from '../../src/testing/memory/object-store.ts';
import { createMemoryReconciliation } from '../../src/testing/memory/reconciliation.ts';
import type { House } from './house.ts';
import { DOMAIN, ORGS } from './mails.ts';
import type { Actor } from './world.ts';

export const log = pino({ level: 'silent' });
export const metrics = createMetrics();
const lines = createBoundedLines({ log });

const CONCURRENCY = 2;
const POLL_MS = 5_000;
/** Nobody waits for hours here; what grows is seen with a minute as well. */
const LONGEST_DELAY_MS = 60_000;
/** It gives way to mail by the load of the machine, which is none here. */
const noCourtesy = { mailSeen() {}, async turn() {}, close() {} };

export interface SimulatedServer {
  readonly actor: Actor;
  readonly intake: MailReceiver;
}

/** Errors: when the store is not the known one: the process ends, as `start` does. */
export async function startServer(house: House, actor: Actor): Promise<SimulatedServer> {
  const { database, mount } = house;
  const { gate } = actor;
  const tables = { database, gate };
  const objects = createMemoryObjectStore({ mount, gate });
  const memory = createMemoryMarkMemory(tables);
  const marks = createMemoryStoreMarks({ mount, gate });
  const guard = await openStoreGuard({ marks, memory, objects, place: objects, log });
  const objection = guard.objection();
  if (objection !== null && objection.code !== 'store-unasked') throw new StoreNotKnownError(objection);

  const queue = createMemoryJobQueue({ server: house.queue, gate });
  const outbox = createMemoryJobOutbox({ ...tables, connection: actor });
  const relay = createRelay({ outbox, publisher: queue, log, pollMs: POLL_MS });
  const lostJobs = createLostJobs({
    documents: createMemoryUnfinishedDocuments(tables),
    queue,
    ready: queue.ready,
    log,
  });
  const extractor = createExtractor({
    objects,
    storeGuard: guard,
    store: createMemoryExtractionStore(tables),
    log,
    lines,
    metrics,
  });
  const share = createFairShare({ slots: CONCURRENCY, waiting: createMemoryWaitingMessages(tables), log });
  const jobs = createMemoryJobRunner({
    ...tables,
    connection: actor,
    concurrency: CONCURRENCY,
    pollMs: POLL_MS,
    longestDelayMs: LONGEST_DELAY_MS,
    tasks: createTasks({ extractor, courtesy: noCourtesy, share, documentsReady: relay.wake }),
  });
  guard.follow((found) => jobs.hold(found === null ? null : new StoreNotKnownError(found)));
  countGap(house, actor);
  await jobs.start();
  relay.start();
  lostJobs.start();

  const blocks = new Map(ORGS.flatMap(({ id, blocks: sender }) => (sender === null ? [] : [[sender, id] as const])));
  const intake = createIntake({
    router: createRouter({
      domains: [DOMAIN],
      organisations: createMemoryOrganisations(tables),
      blockedSenders: createMemoryBlockedSenders({ ...tables, blocks }),
    }),
    rawStore: createRawStore({ objects, log }),
    recorder: createRecorder({ store: createMemoryMessageStore(tables) }),
    storeGuard: guard,
    log,
    lines,
    metrics,
    nextMessageId: createMessageIds(),
  });
  return { actor, intake };
}

/** In the background, as the start does it when it finds a gap that nobody has counted. */
function countGap({ database, mount }: House, { gate }: Actor): void {
  const tables = { database, gate };
  const gapMemory = createMemoryGapMemory(tables);
  const count = async (): Promise<void> => {
    const known = await gapMemory.recall();
    if (known === null || known.objects !== null) return;
    await rememberGapObjects({
      objects: createMemoryObjectStore({ mount, gate }),
      rows: createMemoryReconciliation(tables),
      memory: createMemoryMarkMemory(tables),
      gapMemory,
      signal: new AbortController().signal,
    });
  };
  count().catch(() => {});
}
