/** Does the object store belong to the database? Asked by every process that takes or reads mail, and by `doctor`. */
import { createPostgresMarkMemory } from '../adapters/postgres/mark-memory.ts';
import type { Settings } from '../config/settings.ts';
import { NotReadyError } from '../ports/not-ready.ts';
import type { ObjectStore, StorePlace } from '../ports/object-store.ts';
import type { StoreGuard, StoreObjection } from '../ports/store-guard.ts';
import { openStoreGuard, type RunningStoreGuard } from '../reconcile/store-guard.ts';
import type { Log } from '../telemetry/log.ts';
import type { Closers } from './closers.ts';
import { StartError } from './errors.ts';
import { openStoreMarks, placeOf } from './object-store.ts';
import type { Pools } from './pools.ts';

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
