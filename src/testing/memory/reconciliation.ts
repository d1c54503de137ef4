/** What `reconcile` reads and mends, over all organisations. */
import type { KeptKind, KeptObject, Reconciliation } from '../../ports/reconciliation.ts';
import type { MemoryDatabase, MessageRow } from './database.ts';
import type { Gate } from './gate.ts';

const isOpen = ({ status }: MessageRow): boolean => status === 'RECEIVED' || status === 'STORED';

export function createMemoryReconciliation(o: {
  readonly database: MemoryDatabase;
  readonly gate: Gate;
}): Reconciliation {
  const { database } = o;
  const { tables } = database;
  const ask = <T>(operation: string, answer: () => T): Promise<T> =>
    o.gate.run('database', operation, () => database.transact(answer));

  const kept: Readonly<Record<KeptKind, () => readonly KeptObject[]>> = {
    message: () =>
      tables.messages
        .all()
        .filter(({ status, error }) => status !== 'FAILED' || error?.code !== 'object-missing')
        .map((row) => ({ id: row.id, orgId: row.orgId, storageKey: row.rawStorageKey, open: isOpen(row) })),
    conflict: () =>
      tables.conflicts
        .all()
        .map(({ id, orgId, rawStorageKey }) => ({ id, orgId, storageKey: rawStorageKey, open: false })),
    document: () =>
      tables.documents
        .all()
        .flatMap(({ id, orgId, storageKey }) => (storageKey === null ? [] : [{ id, orgId, storageKey, open: false }])),
  };
  const keyOf = (id: string): readonly (string | null | undefined)[] => [
    tables.messages.get(id)?.rawStorageKey,
    tables.documents.get(id)?.storageKey,
    tables.conflicts.get(id)?.rawStorageKey,
  ];
  const namedKeys = (): ReadonlySet<string | null> =>
    new Set([
      ...tables.messages.all().map(({ rawStorageKey }) => rawStorageKey),
      ...tables.conflicts.all().map(({ rawStorageKey }) => rawStorageKey),
      ...tables.documents.all().map(({ storageKey }) => storageKey),
    ]);
  const withoutJob = (): readonly MessageRow[] => {
    const jobs = tables.jobs.all().filter(({ task }) => task === 'extract_attachments');
    const wanted = new Set(jobs.map(({ payload }) => payload.inbound_message_id));
    return tables.messages.all().filter((row) => isOpen(row) && !wanted.has(row.id));
  };

  return {
    page: (kind, after, limit) =>
      ask(`page of ${kind}s`, () =>
        kept[kind]()
          .filter(({ id }) => after === null || id > after)
          .slice(0, limit),
      ),
    notNamedById: (keys) =>
      ask('not named by id', () => keys.filter(({ id, key }) => !keyOf(id).includes(key)).map(({ key }) => key)),
    named: (keys) =>
      ask('named', () => {
        const named = namedKeys();
        return new Set(keys.filter((key) => named.has(key)));
      }),
    slugs: (orgIds) =>
      ask('slugs', () => {
        const known = tables.orgs.all().filter(({ id }) => orgIds.includes(id));
        return new Map(known.map(({ id, slug }) => [id, slug]));
      }),
    rawKeyOf: (id) =>
      ask('raw key', () => tables.messages.get(id)?.rawStorageKey ?? tables.conflicts.get(id)?.rawStorageKey ?? null),
    noteRedelivery: (orgIds, actor) =>
      ask('note redelivery', () => {
        const action = 'message.redeliver';
        for (const orgId of orgIds) tables.audit.set(database.newId(), { action, actor, orgId });
      }),
    extracting: (orgIds, before) =>
      ask('extracting', () => {
        const open = tables.messages.all().filter((row) => isOpen(row) && row.receivedAt < before);
        return new Set(open.map(({ orgId }) => orgId).filter((id) => orgIds.includes(id)));
      }),
    fail: (id) =>
      ask('fail', () => {
        const row = tables.messages.get(id);
        if (row === undefined || !isOpen(row)) return false;
        const error = { code: 'object-missing', message: 'the raw mail is not in the object store' } as const;
        tables.messages.set(id, { ...row, status: 'FAILED', error });
        return true;
      }),
    countMissingJobs: () => ask('count missing jobs', () => withoutJob().length),
    addMissingJobs: (limit) =>
      ask('add missing jobs', () => {
        const waiting = withoutJob().slice(0, limit);
        for (const { id, orgId, traceId } of waiting) {
          const payload = { inbound_message_id: id, org_id: orgId, trace_id: traceId };
          database.addJob({ task: 'extract_attachments', payload });
        }
        return waiting.length;
      }),
    now: () => ask('now', () => new Date(database.now())),
  };
}
