/** Organisations, whom they block, and what waits of them. */
import type { BlockedSenders, OrganisationDirectory } from '../../ports/organisations.ts';
import type { UnfinishedDocuments } from '../../ports/unfinished-documents.ts';
import type { WaitingMessages } from '../../ports/waiting-messages.ts';
import type { DocumentRow, MemoryDatabase } from './database.ts';
import type { Gate } from './gate.ts';

interface Options {
  readonly database: MemoryDatabase;
  readonly gate: Gate;
}

export function createMemoryOrganisations({ database, gate }: Options): OrganisationDirectory {
  return {
    findBySlug: (slug) =>
      gate.run(
        'database',
        'find organisation',
        () => database.tables.orgs.all().find((org) => org.slug === slug) ?? null,
      ),
  };
}

/** `blocks`: whole addresses, each with the organisation that does not want it. */
export function createMemoryBlockedSenders({
  gate,
  blocks,
}: Options & { readonly blocks: ReadonlyMap<string, string | null> }): BlockedSenders {
  return {
    blockedBy: (address) =>
      gate.run('database', 'blocked by', () => {
        const orgId = blocks.get(address);
        return new Set(orgId === undefined ? [] : [orgId]);
      }),
  };
}

export function createMemoryWaitingMessages({ database, gate }: Options): WaitingMessages {
  return {
    next: ({ after, except }) =>
      gate.run('database', 'next waiting', () => {
        const { orgs, messages } = database.tables;
        const ids = orgs.all().map(({ id }) => id);
        const inTurn = [...ids.filter((id) => id > after), ...ids.filter((id) => id <= after)];
        for (const orgId of inTurn.filter((id) => !except.includes(id))) {
          const row = messages.all().find((each) => each.orgId === orgId && each.status === 'RECEIVED');
          if (row !== undefined) return { inboundMessageId: row.id, orgId, traceId: row.traceId };
        }
        return null;
      }),
  };
}

export function createMemoryUnfinishedDocuments({ database, gate }: Options): UnfinishedDocuments {
  const { documents, jobs, messages } = database.tables;
  const described = (row: DocumentRow) => ({
    id: row.id,
    orgId: row.orgId,
    traceId: messages.get(row.inboundMessageId)?.traceId ?? '',
    status: row.status,
    stored: row.storageKey !== null,
    waits: jobs.all().some((job) => job.key === `extract_document:${row.id}` && job.attempts < job.maxAttempts),
  });
  /** Sortable as text. */
  const placeOf = ({ createdAt, id }: DocumentRow): string => `${String(createdAt).padStart(16, '0')} ${id}`;
  return {
    page: ({ before, after, limit }) =>
      gate.run('database', 'page of unfinished', () => {
        const place = after === null ? '' : `${after.createdAt} ${after.id}`;
        const rows = documents
          .all()
          .filter(({ status, createdAt }) => ['STORED', 'PROCESSING'].includes(status) && createdAt < before.getTime())
          .sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
          .filter((row) => placeOf(row) > place)
          .slice(0, limit);
        const last = rows.at(-1);
        const next =
          rows.length < limit || last === undefined ? null : { createdAt: placeOf(last).slice(0, 16), id: last.id };
        return { documents: rows.map(described), next };
      }),
    find: (id) =>
      gate.run('database', 'find document', () => {
        const row = documents.get(id);
        return row === undefined ? null : described(row);
      }),
    countStored: (ids) =>
      gate.run('database', 'count stored', () => ids.filter((id) => documents.get(id)?.status === 'STORED').length),
  };
}
