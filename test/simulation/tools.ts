/** What an operator runs beside the servers, put together as compose/ does it. */
import { createRedelivery } from '../../src/intake/redelivery.ts';
import { createJobRequeue } from '../../src/jobs/requeue.ts';
import { createRecorder } from '../../src/messages/recorder.ts';
import { type ReconcileReport, reconcile } from '../../src/reconcile/reconcile.ts';
import { createStoreWatch } from '../../src/reconcile/store-watch.ts';
import { createMemoryUnfinishedDocuments } from '../../src/testing/memory/directory.ts';
import { createMemoryJobQueue } from '../../src/testing/memory/job-queue.ts';
import { createMemoryGapMemory, createMemoryMarkMemory } from '../../src/testing/memory/mark-memory.ts';
import { createMemoryMessageStore } from '../../src/testing/memory/message-store.ts';
import { createMemoryObjectStore, createMemoryStoreMarks } from '../../src/testing/memory/object-store.ts';
import { createMemoryReconciliation } from '../../src/testing/memory/reconciliation.ts';
import type { House } from './house.ts';
import { DOMAIN } from './mails.ts';
import { log } from './server.ts';
import type { Actor } from './world.ts';

export function runReconcile(
  { database, mount }: House,
  { gate }: Actor,
  o: { readonly redeliver: boolean; readonly evenAfterRestore: boolean },
): Promise<ReconcileReport> {
  const tables = { database, gate };
  const objects = createMemoryObjectStore({ mount, gate });
  const memory = createMemoryMarkMemory(tables);
  const recorder = createRecorder({ store: createMemoryMessageStore(tables) });
  return reconcile({
    objects,
    rows: createMemoryReconciliation(tables),
    watch: createStoreWatch({ marks: createMemoryStoreMarks({ mount, gate }), memory, objects, log }),
    memory,
    gapMemory: createMemoryGapMemory(tables),
    handIn: createRedelivery({ objects, recorder, domain: DOMAIN }),
    leftovers: async () => 0,
    dryRun: false,
    acceptMissing: false,
    evenAfterRestore: o.evenAfterRestore,
    redeliver: o.redeliver ? { actor: 'operator' } : null,
  });
}

/** `jobs requeue --stored-before`, as docs/operations.md wants it after a restore. */
export async function requeueStored({ database, queue: server }: House, { gate }: Actor): Promise<void> {
  const documents = createMemoryUnfinishedDocuments({ database, gate });
  const queue = createMemoryJobQueue({ server, gate });
  await createJobRequeue({ documents, queue }).storedBefore(new Date(database.now()));
}
