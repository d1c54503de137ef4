/** As the worker's statements: an organisation's own rows only, and commits that do not wait for the disk. */
import type { ExtractionResult, ExtractionStore, MessageToExtract, NewDocument } from '../../ports/extraction-store.ts';
import type { DocumentRow, MemoryDatabase, MessageRow } from './database.ts';
import type { Gate } from './gate.ts';

export function createMemoryExtractionStore(o: {
  readonly database: MemoryDatabase;
  readonly gate: Gate;
}): ExtractionStore {
  const { database, gate } = o;
  const repeatable = { durable: false };
  return {
    take: (id, orgId) =>
      gate.run('database', 'take message', () =>
        database.transact(({ messages }) => {
          const row = messages.get(id);
          if (row === undefined || row.orgId !== orgId) return null;
          const taken: MessageRow = row.status === 'RECEIVED' ? { ...row, status: 'STORED' } : row;
          if (taken !== row) messages.set(id, taken);
          return toExtract(taken);
        }, repeatable),
      ),

    finish: (message, result, traceparent) =>
      gate.run('database', 'finish message', () =>
        database.transact(() => finish(database, message, result, traceparent), repeatable),
      ),
  };
}

const toExtract = (row: MessageRow): MessageToExtract => ({
  id: row.id,
  orgId: row.orgId,
  status: row.status,
  rawStorageKey: row.rawStorageKey,
  receivedAt: row.receivedAt,
  sizeBytes: row.sizeBytes,
  sourceMessageId: row.sourceMessageId,
  traceId: row.traceId,
});

function finish(
  database: MemoryDatabase,
  message: MessageToExtract,
  result: ExtractionResult,
  traceparent: string | undefined,
): boolean {
  const { messages } = database.tables;
  const found = messages.get(message.id);
  const row = found?.orgId === message.orgId ? found : undefined;
  if (row?.status === 'RECEIVED') throw new Error('the message is RECEIVED again: that it was taken is forgotten');
  if (row?.status !== 'STORED') return false;
  messages.set(row.id, {
    ...row,
    status: result.failure === null ? 'PARSED' : 'FAILED',
    error: result.failure,
    parts: result.parts,
    parserVersion: result.reading?.parserVersion ?? null,
    notes: [...row.notes, ...(result.reading?.notes ?? [])],
  });
  for (const document of result.documents) {
    if (!upsert(database, message, document) || document.status !== 'STORED') continue;
    addDocumentJob(database, {
      document_id: document.id,
      org_id: message.orgId,
      trace_id: message.traceId,
      ...(traceparent === undefined ? {} : { traceparent }),
    });
  }
  return true;
}

/** false: what is there stays as the next stage has left it. */
function upsert({ tables, now }: MemoryDatabase, message: MessageToExtract, document: NewDocument): boolean {
  const same = ({ inboundMessageId, partPath }: DocumentRow): boolean =>
    inboundMessageId === message.id && partPath === document.partPath;
  const before = tables.documents.all().find(same);
  if (before !== undefined && !['UPLOADED', 'FAILED'].includes(before.status) && before.sha256 === document.sha256) {
    return false;
  }
  const id = before?.id ?? document.id;
  const createdAt = before?.createdAt ?? now();
  tables.documents.set(id, { ...document, id, orgId: message.orgId, inboundMessageId: message.id, createdAt });
  return true;
}

/** The key keeps a second job for the same document from ever waiting beside the first. */
function addDocumentJob({ tables, addJob }: MemoryDatabase, payload: Readonly<Record<string, string>>): void {
  const key = `extract_document:${payload.document_id}`;
  const waiting = tables.jobs.all().find((job) => job.key === key && job.lockedBy === null);
  if (waiting === undefined) addJob({ task: 'extract_document', payload, key });
  else tables.jobs.set(waiting.id, { ...waiting, payload });
}
