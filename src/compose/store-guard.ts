/** Does the object store belong to the database? Asked by every process that takes or reads mail, and by `doctor`. */
import type pg from 'pg';
import { fileObjectStoreExists } from '../adapters/fs/object-store.ts';
import { createPostgresGapMemory } from '../adapters/postgres/gap-memory.ts';
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import { pendingMigrations } from '../adapters/postgres/migrate.ts';
import { createPool } from '../adapters/postgres/pool.ts';
import type { Settings } from '../config/settings.ts';
import { broken, type Finding, ok, warning } from '../ports/finding.ts';
import { NotReadyError } from '../ports/not-ready.ts';
import type { ObjectStore, StorePlace } from '../ports/object-store.ts';
import type { StoreGuard, StoreObjection } from '../ports/store-guard.ts';
import { objectionTo, openStoreGuard, type RunningStoreGuard } from '../reconcile/store-guard.ts';
import { createStoreWatch, isObjection } from '../reconcile/store-watch.ts';
import type { Log } from '../telemetry/log.ts';
import { type Closers, createClosers } from './closers.ts';
import { openDatabase } from './database.ts';
import { StartError } from './errors.ts';
import { objectsDir, openObjectStore, openStoreMarks, placeOf } from './object-store.ts';
import type { Pools } from './pools.ts';
import { isUndecided } from './restored-gap.ts';

/** A bucket is often used for a moment only, for a try: it gets nothing but mail until then. */
const FIRST_BUCKET_MARK_MS = 5 * 60_000;

/** `leaveMarks`: the others only look. It has looked when it resolves. */
export async function guardStore(
  o: {
    readonly settings: Settings;
    readonly log: Log;
    readonly objects: ObjectStore;
    readonly place: StorePlace | undefined;
    readonly pool: Pools['view'];
    readonly leaveMarks: boolean;
  },
  closers: Closers,
): Promise<RunningStoreGuard> {
  const { marks, close } = await openStoreMarks(o.settings);
  const guard = await openStoreGuard({
    ...o,
    marks,
    memory: createPostgresMarkMemory({ pool: o.pool }),
    onlyLook: !o.leaveMarks,
    firstMarkAfterMs: o.settings.objectStorage === null ? 0 : FIRST_BUCKET_MARK_MS,
  });
  closers.add('store watch', async () => {
    await guard.stop();
    await close();
  });
  return guard;
}

/** Errors: `StartError`, one line. A store that could not be asked yet is asked again, and takes no mail until then. */
export function assertKnownStore(guard: StoreGuard, settings: Settings): void {
  const objection = guard.objection();
  if (objection === null || objection.code === 'store-unasked') return;
  throw new StartError(inOneLine(objection, settings));
}

export const inOneLine = ({ found, mend }: StoreObjection, settings: Settings): string =>
  `${found} (${placeOf(settings)}); ${mend}`;

export const asNotReady = ({ code, found, since }: StoreObjection): NotReadyError =>
  new NotReadyError(code, found, since);

/** What `doctor` says of the marks; with `adoptStore` it leaves one of its own in place of those that are there. */
export async function examineMarks(o: {
  readonly settings: Settings;
  readonly log: Log;
  readonly adoptStore: boolean;
}): Promise<readonly Finding[]> {
  const { settings, log, adoptStore } = o;
  const closers = createClosers({ log });
  try {
    const database = await openDatabase(settings, log);
    closers.add('database', database.close);
    if ((await pendingMigrations(database.url)).length > 0) {
      return [ok(CHECK, 'asked for when the database is brought up to date: start or migrate does it')];
    }
    const pool = createPool({ url: database.url, applicationName: 'orderflow-doctor', maxConnections: 1, log });
    closers.add('database connections', () => pool.end());
    const { marks, close } = await openStoreMarks(settings);
    closers.add('store marks', close);
    const objects = lookOnly(settings, log, closers);
    const watch = createStoreWatch({ marks, memory: createPostgresMarkMemory({ pool }), objects, log });
    const found = await watch.look();
    if (!isObjection(found)) return [ok(CHECK, MARKS_FOUND[found]), ...(await examineGap(pool))];
    if (!adoptStore) {
      const { found: what, mend } = objectionTo(found);
      return [broken(CHECK, `${what} (${placeOf(settings)})`, mend)];
    }
    await (await objects.opened()).head('a'); // It has to be there, and to answer.
    await watch.adopt();
    return [ok(CHECK, `${placeOf(settings)} are this database's object store from now on`)];
  } finally {
    await closers.closeAll();
  }
}

/** What a restore has made rowless, as far as it was counted. */
async function examineGap(pool: pg.Pool): Promise<readonly Finding[]> {
  const gap = await createPostgresGapMemory({ pool }).recall();
  if (gap === null || !isUndecided(gap)) return [];
  const { objects } = gap;
  const what =
    objects === null
      ? 'what has no row was not counted yet'
      : `${objects.mails} mails and ${objects.documents} documents have no row`;
  return [
    warning(
      'restore',
      `the database was restored and does not remember the time until ${gap.ends.toISOString()}: ${what}`,
      'reconcile lists them, reconcile --redeliver hands the mails in again',
    ),
  ];
}

const CHECK = 'store marks';

const MARKS_FOUND = {
  known: 'the object store is the one this database knows',
  new: 'the object store is empty, and this database has used none yet',
  strange:
    'the object store was last used with another state of this database (restored from a backup?): start notes the gap',
} as const;

/** Opened, and made where it is files, only when its objects are asked for. */
function lookOnly(settings: Settings, log: Log, closers: Closers) {
  let opening: Promise<ObjectStore> | undefined;
  const opened = (): Promise<ObjectStore> => {
    opening ??= openObjectStore(settings, log, { keepLeftovers: true }).then((store) => {
      closers.add('object store', store.close);
      return store.objects;
    });
    return opening;
  };
  // Files that are not there yet: looking makes no folder.
  const isThere = async (): Promise<boolean> =>
    settings.objectStorage !== null || (await fileObjectStoreExists(objectsDir(settings)));
  return {
    opened,
    head: async (key: string) => ((await isThere()) ? (await opened()).head(key) : null),
    async *list(prefix: string) {
      if (await isThere()) yield* (await opened()).list(prefix);
    },
  };
}
