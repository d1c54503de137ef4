/** What `reconcile` and `reconcile --verify` have in common: one of a kind at work on a database, beside servers or without them. */

import { fileObjectStoreExists } from '../adapters/fs/object-store.ts';
import type { HeldLock } from '../adapters/postgres/advisory-lock.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import type { Settings } from '../config/settings.ts';
import type { ConnectionUrl } from '../ports/renewable-url.ts';
import { createStoreWatch } from '../reconcile/store-watch.ts';
import type { Log } from '../telemetry/log.ts';
import { type Closers, createClosers } from './closers.ts';
import { assertDatabaseExists, assertMigrated, openDatabase } from './database.ts';
import { asStartError, StartError } from './errors.ts';
import { objectsDir, openObjectStore, openStoreMarks } from './object-store.ts';
import { VIEW_CONNECTIONS } from './pools.ts';

/** They read, or count, whole tables, and nobody waits for a reply. */
const STATEMENT_MS = 30 * 60_000;

export interface MaintenanceOptions {
  readonly settings: Settings;
  readonly log: Log;
  /** For errors. */
  readonly command: string;
  readonly applicationName: string;
  readonly tryLock: (url: ConnectionUrl) => Promise<HeldLock | null>;
  /** Whether something is going to be written into the store. */
  readonly checkStore: boolean;
}

/**
 * Opens database, lock, store and marks, and what `open` makes of them. Errors: `NoDatabaseError`, `StartError`.
 * Owns: all of it is closed by what `open` gives, or when that fails.
 */
export async function openMaintenance<T>(
  o: MaintenanceOptions,
  open: (parts: Awaited<ReturnType<typeof openParts>>, closers: Closers) => T,
): Promise<T> {
  await assertDatabaseExists(o.settings);
  await assertStoreExists(o.settings);
  const closers = createClosers({ log: o.log });
  try {
    return open(await openParts(o, closers), closers);
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}

async function openParts({ settings, log, ...o }: MaintenanceOptions, closers: Closers) {
  const database = await openDatabase(settings, log);
  closers.add('database', database.close);
  await assertMigrated(database.url);
  const lock = await o.tryLock(database.url);
  if (lock === null) throw new StartError(`another ${o.command} is at work on this database`);
  closers.add('lock', lock.release);
  const { url } = database;
  const pool = createPool({
    url,
    applicationName: o.applicationName,
    maxConnections: VIEW_CONNECTIONS,
    statementTimeoutMs: STATEMENT_MS,
    log,
  });
  closers.add('database connections', () => pool.end());
  const store = await openObjectStore(settings, log, { check: o.checkStore, keepLeftovers: true });
  closers.add('object store', store.close);
  const { marks, close } = await openStoreMarks(settings);
  closers.add('store marks', close);
  const memory = createPostgresMarkMemory({ pool });
  const { objects } = store;
  return { url, pool, objects, memory, watch: createStoreWatch({ marks, memory, objects, log }) };
}

/** One that is not mounted would be made anew, and every mail in it would look lost. */
async function assertStoreExists(settings: Settings): Promise<void> {
  const rootDir = objectsDir(settings);
  if (settings.objectStorage !== null || (await fileObjectStoreExists(rootDir).catch(() => true))) return;
  throw new StartError(`no object store in ${rootDir}; is DATA_DIR right, and is it mounted? (start makes one)`);
}
