/**
 * The program `reconcile`: the database, on which only one of them may be at work, the object store, and the marks by
 * which these two know each other.
 */
import { removeFileLeftovers } from '../adapters/fs/object-store.ts';
import { tryReconcileLock } from '../adapters/postgres/advisory-lock.ts';
import { createPostgresGapMemory } from '../adapters/postgres/gap-memory.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import { createPostgresReconciliation } from '../adapters/postgres/reconciliation.ts';
import type { Reconciler } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { createRedelivery } from '../intake/redelivery.ts';
import { createRecorder } from '../messages/recorder.ts';
import { RecordError } from '../ports/message-store.ts';
import { reconcile } from '../reconcile/reconcile.ts';
import type { Log } from '../telemetry/log.ts';
import { asStartErrorOfStore, StartError } from './errors.ts';
import { openMaintenance } from './maintenance.ts';
import { objectsDir } from './object-store.ts';

const APPLICATION = 'orderflow-reconcile';

/** Opens what `reconcile` works with. Errors: `NoDatabaseError`, `StartError`. */
export function openReconciler(o: { readonly settings: Settings; readonly log: Log }): Promise<Reconciler> {
  const { settings, log } = o;
  const about = { command: 'reconcile', applicationName: APPLICATION, tryLock: tryReconcileLock, checkStore: true };
  return openMaintenance({ ...o, ...about }, ({ url, pool, objects, memory, watch }, closers) => {
    // Connected only where mails are handed in again.
    const recording = createPool({ url, applicationName: APPLICATION, maxConnections: 1, byKeyOnly: true, log });
    closers.add('database connection to record mails', () => recording.end());
    const parts = {
      objects,
      rows: createPostgresReconciliation({ pool }),
      watch,
      memory,
      gapMemory: createPostgresGapMemory({ pool }),
      handIn: createRedelivery({
        objects,
        recorder: createRecorder({ store: createPostgresMessageStore({ pool: recording }) }),
        domain: settings.smtp.domains[0] ?? 'localhost',
      }),
      leftovers: leftoversOf(settings, log),
    };
    return {
      run: (options) =>
        reconcile({ ...parts, ...options }).catch((error: unknown) => {
          if (error instanceof RecordError) throw notRecorded(error);
          throw asStartErrorOfStore(error);
        }),
      close: async () => void (await closers.closeAll()),
    };
  });
}

const notRecorded = (error: RecordError): StartError =>
  new StartError(
    `a mail could not be recorded: ${error.message}; what was handed in stays, run it again for the rest`,
    {
      cause: error,
    },
  );

function leftoversOf(settings: Settings, log: Log) {
  const rootDir = objectsDir(settings);
  // A put to S3 is one request: nothing unfinished stays there.
  if (settings.objectStorage !== null) return async () => 0;
  return ({ dryRun }: { readonly dryRun: boolean }) => removeFileLeftovers({ rootDir, dryRun, log });
}
