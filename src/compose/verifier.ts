/** The program `reconcile --verify`: the database, on which only one of them may be at work, and the object store, only read. */
import { tryVerifyLock } from '../adapters/postgres/advisory-lock.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import { createPostgresVerification } from '../adapters/postgres/verification.ts';
import type { Verifier } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { createStoreWatch } from '../reconcile/store-watch.ts';
import { verify } from '../reconcile/verify.ts';
import type { Log } from '../telemetry/log.ts';
import { createClosers } from './closers.ts';
import { assertDatabaseExists, assertMigrated, openDatabase } from './database.ts';
import { asStartError, asStartErrorOfStore, StartError } from './errors.ts';
import { openObjectStore, openStoreMarks } from './object-store.ts';
import { VIEW_CONNECTIONS } from './pools.ts';
import { assertStoreExists } from './reconciler.ts';

/** A new run counts the rows of whole tables. */
const VERIFY_STATEMENT_MS = 30 * 60_000;

/** Opens what `reconcile --verify` works with. Errors: `NoDatabaseError`, `StartError`. */
export async function openVerifier(o: { readonly settings: Settings; readonly log: Log }): Promise<Verifier> {
  const { settings, log } = o;
  await assertDatabaseExists(settings);
  await assertStoreExists(settings);
  const closers = createClosers({ log });
  try {
    const database = await openDatabase(settings, log);
    closers.add('database', database.close);
    await assertMigrated(database.url);
    const lock = await tryVerifyLock(database.url);
    if (lock === null) throw new StartError('another reconcile --verify is at work on this database');
    closers.add('lock', lock.release);
    const pool = createPool({
      url: database.url,
      applicationName: 'orderflow-verify',
      maxConnections: VIEW_CONNECTIONS,
      statementTimeoutMs: VERIFY_STATEMENT_MS,
      log,
    });
    closers.add('database connections', () => pool.end());
    const store = await openObjectStore(settings, log, { keepLeftovers: true });
    closers.add('object store', store.close);
    const { marks, close } = await openStoreMarks(settings);
    closers.add('store marks', close);
    const { objects } = store;
    const watch = createStoreWatch({ marks, memory: createPostgresMarkMemory({ pool }), objects, log });
    const rows = createPostgresVerification({ pool });
    return {
      run: (options) =>
        verify({ objects, rows, watch, log, ...options }).catch((error: unknown) => {
          throw asStartErrorOfStore(error);
        }),
      close: async () => void (await closers.closeAll()),
    };
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}
