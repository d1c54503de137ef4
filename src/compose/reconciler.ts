/**
 * The program `reconcile`: the database, on which only one of them may be at work, the object store, and the marks by
 * which these two know each other.
 */
import { fileObjectStoreExists, removeFileLeftovers } from '../adapters/fs/object-store.ts';
import { tryReconcileLock } from '../adapters/postgres/advisory-lock.ts';
import { createPostgresGapMemory } from '../adapters/postgres/gap-memory.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import { createPostgresReconciliation } from '../adapters/postgres/reconciliation.ts';
import type { Reconciler } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { createRedelivery } from '../intake/redelivery.ts';
import { createRecorder } from '../messages/recorder.ts';
import { RecordError } from '../ports/message-store.ts';
import { reconcile } from '../reconcile/reconcile.ts';
import { createStoreWatch } from '../reconcile/store-watch.ts';
import type { Log } from '../telemetry/log.ts';
import { createClosers } from './closers.ts';
import { assertDatabaseExists, assertMigrated, openDatabase } from './database.ts';
import { asStartError, asStartErrorOfStore, StartError } from './errors.ts';
import { objectsDir, openObjectStore, openStoreMarks } from './object-store.ts';
import { VIEW_CONNECTIONS } from './pools.ts';

/** It reads whole tables, and nobody waits for a reply. */
const RECONCILE_STATEMENT_MS = 30 * 60_000;

/** Opens what `reconcile` works with. Errors: `NoDatabaseError`, `StartError`. */
export async function openReconciler(o: { readonly settings: Settings; readonly log: Log }): Promise<Reconciler> {
  const { settings, log } = o;
  await assertDatabaseExists(settings);
  await assertStoreExists(settings);
  const closers = createClosers({ log });
  try {
    const database = await openDatabase(settings, log);
    closers.add('database', database.close);
    await assertMigrated(database.url);
    const lock = await tryReconcileLock(database.url);
    if (lock === null) throw new StartError('another reconcile is at work on this database');
    closers.add('lock', lock.release);
    const pool = createPool({
      url: database.url,
      applicationName: 'orderflow-reconcile',
      maxConnections: VIEW_CONNECTIONS,
      statementTimeoutMs: RECONCILE_STATEMENT_MS,
      log,
    });
    closers.add('database connections', () => pool.end());
    const store = await openObjectStore(settings, log, { check: true, keepLeftovers: true });
    closers.add('object store', store.close);
    const { marks, close } = await openStoreMarks(settings);
    closers.add('store marks', close);
    const memory = createPostgresMarkMemory({ pool });
    // Connected only where mails are handed in again.
    const recording = createPool({
      url: database.url,
      applicationName: 'orderflow-reconcile',
      maxConnections: 1,
      byKeyOnly: true,
      log,
    });
    closers.add('database connection to record mails', () => recording.end());
    const parts = {
      objects: store.objects,
      rows: createPostgresReconciliation({ pool }),
      watch: createStoreWatch({ marks, memory, objects: store.objects, log }),
      memory,
      gapMemory: createPostgresGapMemory({ pool }),
      handIn: createRedelivery({
        objects: store.objects,
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
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}

const notRecorded = (error: RecordError): StartError =>
  new StartError(
    `a mail could not be recorded: ${error.message}; what was handed in stays, run it again for the rest`,
    {
      cause: error,
    },
  );

/** One that is not mounted would be made anew, and every mail in it would look lost. */
export async function assertStoreExists(settings: Settings): Promise<void> {
  const rootDir = objectsDir(settings);
  if (settings.objectStorage !== null || (await fileObjectStoreExists(rootDir).catch(() => true))) return;
  throw new StartError(`no object store in ${rootDir}; is DATA_DIR right, and is it mounted? (start makes one)`);
}

function leftoversOf(settings: Settings, log: Log) {
  const rootDir = objectsDir(settings);
  // A put to S3 is one request: nothing unfinished stays there.
  if (settings.objectStorage !== null) return async () => 0;
  return ({ dryRun }: { readonly dryRun: boolean }) => removeFileLeftovers({ rootDir, dryRun, log });
}
