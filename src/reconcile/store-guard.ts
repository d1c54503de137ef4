/** Asks again and again whether the object store is the known one, and says so to who takes mail and who reads it. */
import type { StorePlace } from '../ports/object-store.ts';
import type { StoreGuard, StoreObjection, StoreObjectionCode } from '../ports/store-guard.ts';
import type { Log } from '../telemetry/log.ts';
import { type Acquaintance, createStoreWatch, isObjection, type StoreWatchOptions } from './store-watch.ts';

/** A restore that is over within this of its backup goes unnoticed; nobody is that quick. */
const VISIT_INTERVAL_MS = 30_000;
/** While mail waits for the right store to come back. */
const ANXIOUS_INTERVAL_MS = 2_000;

export interface RunningStoreGuard extends StoreGuard {
  stop(): Promise<void>;
}

export interface StoreGuardOptions extends StoreWatchOptions {
  /** Trusted as long as the store is known. */
  readonly place?: StorePlace | undefined;
  /** Others leave the marks, this process only looks. */
  readonly onlyLook?: boolean;
  /** A store that has no mark gets its first one after this only. */
  readonly firstMarkAfterMs?: number;
  readonly intervalMs?: number;
  readonly anxiousIntervalMs?: number;
}

/**
 * Looks now and then until it is stopped, and leaves a mark each time that the store is ours. Nothing is taken before the
 * first look; one that fails later changes nothing, and is made again at the next turn.
 * Errors: none. The first look has ended when it resolves.
 */
export async function openStoreGuard(o: StoreGuardOptions): Promise<RunningStoreGuard> {
  const watch = createStoreWatch(o);
  const listeners = new Set<(objection: StoreObjection | null) => void>();
  const startedAt = performance.now();
  let objection: StoreObjection | null = objectionTo('store-unasked');
  let turn: Promise<unknown> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let failing = false;

  const learn = (found: Acquaintance): void => {
    const before = objection;
    objection = isObjection(found) ? { ...objectionTo(found), since: before?.since ?? new Date() } : null;
    if (before?.code === objection?.code) return;
    tell(o.log, before, objection);
    if (objection !== null) schedule();
    for (const listener of listeners) listener(objection);
  };

  const look = async (visiting: boolean): Promise<void> => {
    const early = performance.now() - startedAt < (o.firstMarkAfterMs ?? 0);
    const mayLeave = visiting && o.onlyLook !== true && !(early && (await o.marks.read()).length === 0);
    const asked = async (): Promise<boolean> => {
      const found = mayLeave ? (await watch.visit()).found : await watch.look();
      learn(found);
      return !isObjection(found);
    };
    if (o.place === undefined) await asked();
    else await o.place.trustIf(asked);
  };

  /** One after the other: two at once would find each other's marks half-way. */
  const inTurn = (visiting: boolean): Promise<void> => {
    const mine = turn.then(() => look(visiting));
    turn = mine.catch(() => {});
    return mine;
  };

  const schedule = (): void => {
    clearTimeout(timer);
    if (stopped) return;
    const calmMs = o.intervalMs ?? VISIT_INTERVAL_MS;
    timer = setTimeout(() => void goOn(), objection === null ? calmMs : (o.anxiousIntervalMs ?? ANXIOUS_INTERVAL_MS));
  };

  async function goOn(): Promise<void> {
    try {
      await inTurn(true);
      failing = false;
    } catch (error) {
      // As long as it lasts the last verdict stands; once is enough to say so.
      const level = failing || stopped ? 'debug' : 'warn';
      o.log[level]({ err: error }, 'whether this is the known object store could not be asked, trying again');
      failing = true;
    }
    schedule();
  }
  await goOn();

  return {
    objection: () => objection,
    async ask() {
      await inTurn(false);
      return objection;
    },
    follow(listener) {
      listeners.add(listener);
      listener(objection);
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await turn;
    },
  };
}

const FOUND: Readonly<Record<StoreObjectionCode, string>> = {
  'store-unmarked':
    'the object store is not the one this database knows: it holds no mark of it; it is empty, new or not mounted',
  'store-foreign': 'the object store is not the one this database knows: it holds the marks of another',
  'store-outdated': 'the object store is an older copy of the one this database knows: its last mark is not in it',
  'store-unasked': 'the object store or the database could not be asked yet whether they know each other',
};

const MEND = 'mount the right folder, or name the right bucket; if this one is meant, run: doctor --adopt-store';

export function objectionTo(code: StoreObjectionCode): StoreObjection {
  const mend = code === 'store-unasked' ? 'it is tried again' : MEND;
  return { code, found: FOUND[code], mend, since: new Date() };
}

function tell(log: Log, before: StoreObjection | null, now: StoreObjection | null): void {
  if (now !== null) {
    const facts = { reason: now.code, found: now.found, mend: now.mend };
    log.error(facts, 'not the known object store: no mail is taken and none is read until it is back');
  } else if (before !== null && before.code !== 'store-unasked') {
    log.info({ since: before.since }, 'the known object store is back: mail is taken and read again');
  }
}
