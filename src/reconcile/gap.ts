/** Objects by their keys and times, and which of them are of a time that the database has no memory of. */
import type { ObjectFacts } from '../ports/object-store.ts';
import type { MemoryGap } from '../ports/store-marks.ts';

/** Clocks that differ by more are called broken by `doctor`. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000;
/** Times of a bucket are whole seconds. */
const STORE_TIME_STEP_MS = 2_000;
/** From the last byte of a mail to its row: senders wait ten minutes for the reply (RFC 5321 §4.5.3.2.6). */
const UNDER_WAY_MS = 15 * 60_000;

/** An object whose key is of the form of ours. */
export interface Candidate {
  readonly key: string;
  readonly orgId: string;
  readonly id: string;
  readonly facts: ObjectFacts;
}

const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const KEY = new RegExp(`^(${UUID})/\\d{4}/\\d{2}/(${UUID})\\.[a-z0-9]+$`);

export function candidateOf(facts: ObjectFacts): Candidate | null {
  const [, orgId, id] = KEY.exec(facts.key) ?? [];
  return orgId === undefined || id === undefined ? null : { key: facts.key, orgId, id, facts };
}

/** Ids of documents are UUIDs of version 5; those of mails never are. */
export const isDocument = ({ id }: Pick<Candidate, 'id'>): boolean => id[14] === '5';

/** When its mail came: the time in its id (UUID version 7) where it has one, which no copying changes; else the store's. */
export function receivedAt({ id, facts }: Candidate): Date {
  return id[14] === '7' ? new Date(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)) : facts.modifiedAt;
}

export interface Gaps {
  /** Is it of a time that the database does not remember? Not what a server may have taken since it noticed the restore. */
  holds(candidate: Candidate): boolean;
  /** Nobody can be at work on it any more: a row that it was written for is there. */
  isQuiet(candidate: Candidate): boolean;
  /** By the database's clock; null where there is none. */
  readonly lastEnd: Date | null;
}

/** `storeNow` and `databaseNow`: the same moment by either clock. */
export function gapsOf(o: {
  readonly gaps: readonly MemoryGap[];
  readonly storeNow: Date;
  readonly databaseNow: Date;
}): Gaps {
  const lastEnd = o.gaps.reduce<Date | null>((last, { ends }) => (last === null || ends > last ? ends : last), null);
  const apartMs = o.storeNow.getTime() - o.databaseNow.getTime();
  const noticedAt = (lastEnd?.getTime() ?? 0) + apartMs - STORE_TIME_STEP_MS;
  const quietSince = o.storeNow.getTime() - UNDER_WAY_MS;
  return {
    lastEnd,
    isQuiet: ({ facts }) => facts.modifiedAt.getTime() < quietSince,
    // A server notices a restore before it takes its first mail, but in a bucket without a mark, within five minutes of it.
    holds: (candidate) =>
      candidate.facts.modifiedAt.getTime() < Math.max(noticedAt, quietSince) && isOfGap(candidate, o.gaps),
  };
}

/** By the store's time of the object, and by the time that is part of a mail's id. */
function isOfGap(candidate: Candidate, gaps: readonly MemoryGap[]): boolean {
  const times = [candidate.facts.modifiedAt.getTime(), receivedAt(candidate).getTime()];
  return gaps.some(({ begins, ends }) =>
    times.some(
      (time) =>
        (begins === null || time >= begins.getTime() - CLOCK_TOLERANCE_MS) &&
        time <= ends.getTime() + CLOCK_TOLERANCE_MS,
    ),
  );
}
