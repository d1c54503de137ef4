/** Marks and gaps; the arithmetic is that of adapters/postgres/mark-memory.ts and gap-memory.ts. */
import type { GapMemory } from '../../ports/gap-memory.ts';
import type { MarkMemory, MemoryGap } from '../../ports/store-marks.ts';
import type { MarkRow, MemoryDatabase } from './database.ts';
import type { Gate } from './gate.ts';

const MINUTE_MS = 60_000;
const FRESH_MS = 2 * MINUTE_MS;
const TOUCHING_MS = 5 * MINUTE_MS;
const FORGOTTEN_MS = 7 * 24 * 60 * MINUTE_MS;
const WITNESSES = 5;

const latest = (times: readonly (number | null)[]): number | null =>
  times.reduce<number | null>((last, time) => (time !== null && (last === null || time > last) ? time : last), null);

export function createMemoryMarkMemory(o: { readonly database: MemoryDatabase; readonly gate: Gate }): MarkMemory {
  const { database } = o;
  const { marks, gaps, messages } = database.tables;
  const ask = <T>(operation: string, answer: () => T): Promise<T> =>
    o.gate.run('database', operation, () => database.transact(answer));
  const lastLeft = (): number | null => latest(marks.all().map(({ leftAt }) => leftAt));
  const lastMade = (): number | null => latest(marks.all().map(({ madeAt }) => madeAt));
  const asDate = (time: number | null): Date | null => (time === null ? null : new Date(time));

  return {
    recall: (ids) =>
      ask('recall marks', () => {
        const last = lastLeft();
        const isFresh = ({ leftAt, madeAt }: MarkRow): boolean =>
          last === null || (leftAt ?? madeAt) >= last - FRESH_MS;
        const known = marks
          .all()
          .filter(({ id }) => ids.includes(id))
          .sort((a, b) => a.madeAt - b.madeAt || (a.id < b.id ? -1 : 1));
        return { known: known.map((row) => ({ id: row.id, fresh: isFresh(row) })), confirmed: last !== null };
      }),
    remember: (id) =>
      ask('remember mark', () =>
        marks.set(id, { id, madeAt: Math.max(database.now(), lastLeft() ?? 0), leftAt: null }),
      ),
    confirm: (id, { beside, only = false }) =>
      ask('confirm mark', () => {
        const now = database.now();
        for (const row of marks.all()) {
          const old = row.madeAt < now - FORGOTTEN_MS && !beside.includes(row.id);
          if (row.id !== id && (only || old)) marks.remove(row.id);
        }
        const row = marks.get(id);
        if (row !== undefined) marks.set(id, { ...row, leftAt: row.madeAt });
      }),
    witnesses: () =>
      ask('witnesses', () =>
        messages
          .all()
          .filter(({ status, error }) => status !== 'FAILED' || error?.code !== 'object-missing')
          .toReversed()
          .slice(0, WITNESSES)
          .map(({ rawStorageKey }) => rawStorageKey),
      ),
    rememberGap: () =>
      ask('remember gap', () => {
        const last = lastMade();
        const ends = new Date(database.now());
        const touches = ({ begins, ends: end }: MemoryGap): boolean =>
          last !== null && end.getTime() >= last - TOUCHING_MS && (begins === null || begins.getTime() <= last);
        const first = gaps
          .all()
          .map((gap, index) => ({ gap, id: String(index) }))
          .filter(({ gap }) => touches(gap))
          .sort((a, b) => (a.gap.begins?.getTime() ?? 0) - (b.gap.begins?.getTime() ?? 0))[0];
        if (first === undefined) gaps.set(String(gaps.all().length), { begins: asDate(last), ends });
        else gaps.set(first.id, { ...first.gap, ends });
      }),
    gaps: () => ask('gaps', () => gaps.all()),
    openGap: () => ask('open gap', () => ({ begins: asDate(lastMade()), ends: new Date(database.now()) })),
  };
}

export function createMemoryGapMemory(o: { readonly database: MemoryDatabase; readonly gate: Gate }): GapMemory {
  const { database } = o;
  const { gaps, gapCounts } = database.tables;
  const ask = <T>(operation: string, answer: () => T): Promise<T> =>
    o.gate.run('database', operation, () => database.transact(answer));
  return {
    async remember({ mails, documents }, until) {
      if (until !== null) await ask('remember count', () => gapCounts.set('count', { mails, documents, until }));
    },
    recall: () =>
      ask('recall gap', () => {
        const known = gaps.all();
        const [first, ...others] = known;
        if (first === undefined) return null;
        const ends = others.reduce((last, gap) => (gap.ends > last ? gap.ends : last), first.ends);
        const begins = known.reduce<Date | null>(
          (least, gap) => (least === null || gap.begins === null ? null : gap.begins < least ? gap.begins : least),
          first.begins,
        );
        const count = gapCounts.get('count');
        const counts = count !== undefined && count.until >= ends;
        return { begins, ends, objects: counts ? { mails: count.mails, documents: count.documents } : null };
      }),
  };
}
