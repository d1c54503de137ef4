/** As the statements behind a 250: rows and jobs in one transaction, envelopes of one row in one statement. */
import { type MessageStore, type NewMessage, RecordError, type Recorded } from '../../ports/message-store.ts';
import type { MemoryDatabase, MessageRow } from './database.ts';
import { type Gate, LinkError } from './gate.ts';

export function createMemoryMessageStore(o: { readonly database: MemoryDatabase; readonly gate: Gate }): MessageStore {
  const ask = <T>(operation: string, work: () => T): Promise<T> =>
    o.gate
      .run('database', operation, () => o.database.transact(work))
      .catch((error: unknown) => {
        throw asRecordError(error);
      });
  return {
    async record(envelopes) {
      if (envelopes.some(({ length }) => length !== 1)) {
        return await ask('record envelopes', () => envelopes.map((envelope) => recordAll(o.database, envelope)));
      }
      const messages = envelopes.flat();
      const inserted = await ask('record', () => messages.map((message) => insert(o.database, message)));
      // From here on the others are committed, and a failure is about the taken ones alone.
      const taken = messages.filter((_, index) => !inserted[index]);
      if (taken.length === 0) return messages.map(({ id }) => [{ outcome: 'accepted', id }]);
      const settled = await ask('settle taken', () => taken.map((message) => [settle(o.database, message)])).catch(
        (error: RecordError) => taken.map(() => error),
      );
      return messages.map((message, index) =>
        inserted[index]
          ? [{ outcome: 'accepted', id: message.id } as const]
          : (settled[taken.indexOf(message)] ?? new RecordError('unavailable', 'no answer for a message')),
      );
    },
  };
}

function asRecordError(error: unknown): RecordError {
  if (error instanceof RecordError) return error;
  const unknown = error instanceof LinkError && error.sent;
  return new RecordError(unknown ? 'outcome-unknown' : 'unavailable', String(error), { cause: error });
}

function recordAll(database: MemoryDatabase, envelope: readonly NewMessage[]): readonly Recorded[] {
  return envelope.map((message) =>
    insert(database, message) ? { outcome: 'accepted', id: message.id } : settle(database, message),
  );
}

/** false: its identity is taken. */
function insert({ tables, addJob }: MemoryDatabase, message: NewMessage): boolean {
  if (takenBy(tables.messages.all(), message) !== undefined) return false;
  if (tables.messages.get(message.id) !== undefined) throw new RecordError('refused', 'the id is taken');
  if (tables.orgs.get(message.orgId) === undefined) throw new RecordError('refused', 'no such organisation');
  const { id, orgId, traceId } = message;
  const unread = { status: 'RECEIVED', error: null, parts: null, parserVersion: null } as const;
  tables.messages.set(id, { ...message, ...unread, notes: message.notes ?? [] });
  addJob({ task: 'extract_attachments', payload: { inbound_message_id: id, org_id: orgId, trace_id: traceId } });
  return true;
}

function takenBy(rows: readonly MessageRow[], { orgId, sourceMessageId }: NewMessage): MessageRow | undefined {
  return rows.find((row) => row.orgId === orgId && row.sourceMessageId === sourceMessageId);
}

function settle({ tables }: MemoryDatabase, message: NewMessage): Recorded {
  const first = takenBy(tables.messages.all(), message);
  if (first === undefined) throw new Error('a message was refused as taken, and nothing has taken it');
  if (first.contentSha256 === message.contentSha256) return { outcome: 'duplicate', id: first.id };
  const kept = tables.conflicts
    .all()
    .find((row) => row.inboundMessageId === first.id && row.contentSha256 === message.contentSha256);
  if (kept !== undefined) return { outcome: 'duplicate', id: kept.id };
  tables.conflicts.set(message.id, { ...message, inboundMessageId: first.id });
  return { outcome: 'conflict', id: message.id };
}
