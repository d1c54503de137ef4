import type pg from 'pg';
import type {
  ConflictView,
  DocumentFilter,
  DocumentSummary,
  DocumentView,
  MessageFilter,
  MessageSummary,
  MessageView,
  MessageViews,
} from '../../ports/message-view.ts';
import { comparePartPaths } from '../../ports/part-path.ts';
import { conflictConditions, documentConditions, messageConditions } from './message-filter.ts';
import { inTransaction } from './pool.ts';
import { asOrganisation } from './tenant.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const SUMMARY = `
  message.id, message.org_id AS "orgId", org.slug AS "orgSlug", message.status, NULL::uuid AS "conflictWith",
  message.source_message_id AS "sourceMessageId", message.from_email AS "fromEmail", message.to_email AS "toEmail",
  message.subject, message.received_at AS "receivedAt", message.size_bytes AS "sizeBytes",
  (SELECT count(*) FROM document WHERE document.inbound_message_id = message.id) AS "documentCount",
  message.notes_json AS notes`;

const DETAIL = `${SUMMARY},
  message.trace_id AS "traceId", message.raw_storage_key AS "rawStorageKey", message.raw_sha256 AS "rawSha256",
  message.content_sha256 AS "contentSha256", message.message_id_synthetic AS "messageIdSynthetic",
  message.header_from AS "headerFrom", message.header_to AS "headerTo", message.header_date AS "headerDate",
  message.remote_address AS "remoteAddress", message.helo_name AS "heloName", message.tls_version AS "tlsVersion",
  message.tls_cipher AS "tlsCipher", message.error_json AS error, message.parts_json AS parts,
  message.parser_version AS "parserVersion", message.reverse_path AS "reversePath"`;

/** Of a mail kept aside; its identity is that of the message it meets. */
const CONFLICT_SUMMARY = `
  conflict.id, conflict.org_id AS "orgId", org.slug AS "orgSlug", 'CONFLICT' AS status,
  conflict.inbound_message_id AS "conflictWith", message.source_message_id AS "sourceMessageId",
  conflict.from_email AS "fromEmail", conflict.to_email AS "toEmail", conflict.subject,
  conflict.received_at AS "receivedAt", conflict.size_bytes AS "sizeBytes", 0::bigint AS "documentCount",
  NULL::jsonb AS notes`;

const CONFLICT_DETAIL = `${CONFLICT_SUMMARY},
  conflict.trace_id AS "traceId", conflict.raw_storage_key AS "rawStorageKey", conflict.raw_sha256 AS "rawSha256",
  conflict.content_sha256 AS "contentSha256", message.message_id_synthetic AS "messageIdSynthetic",
  NULL AS "headerFrom", NULL AS "headerTo", NULL AS "headerDate", NULL AS "remoteAddress", NULL AS "heloName",
  NULL AS "tlsVersion", NULL AS "tlsCipher", NULL AS error, NULL AS parts, NULL AS "parserVersion", NULL AS "reversePath"`;

const OF_CONFLICT = 'message.org_id = conflict.org_id AND message.id = conflict.inbound_message_id';

export function createPostgresMessageViews(o: { readonly pool: pg.Pool }): MessageViews {
  const reading = <T>(orgId: string | undefined, work: (client: pg.PoolClient) => Promise<T>): Promise<T> =>
    orgId === undefined ? inTransaction(o.pool, work) : asOrganisation(o.pool, orgId, work);
  return {
    listMessages: (filter) => reading(filter.orgId, (client) => listMessages(client, filter)),
    findMessage: (id, orgId) => reading(orgId, (client) => findMessage(client, id)),
    listDocuments: (filter) => reading(filter.orgId, (client) => listDocuments(client, filter)),
    findDocument: (id, orgId) => reading(orgId, (client) => findDocument(client, id)),
  };
}

const NEWEST = 'ORDER BY "receivedAt" DESC, id DESC LIMIT $2';

/** The newest of each organisation first, then the newest of these: each by the index, and nothing is sorted as a whole. */
async function listMessages(client: pg.PoolClient, filter: MessageFilter): Promise<readonly MessageSummary[]> {
  const messages = messageConditions(filter, 3);
  const conflicts = conflictConditions(filter, 3 + (messages?.values.length ?? 0));
  const selects = [
    messages &&
      `SELECT ${SUMMARY} FROM org CROSS JOIN LATERAL (
         SELECT * FROM inbound_message AS message WHERE message.org_id = org.id${messages.sql}
         ORDER BY message.received_at DESC, message.id DESC LIMIT $2) AS message
       WHERE ($1::uuid IS NULL OR org.id = $1) ORDER BY message.received_at DESC, message.id DESC LIMIT $2`,
    conflicts &&
      `SELECT ${CONFLICT_SUMMARY} FROM org CROSS JOIN LATERAL (
         SELECT * FROM inbound_conflict AS conflict WHERE conflict.org_id = org.id${conflicts.sql}
         ORDER BY conflict.received_at DESC, conflict.id DESC LIMIT $2) AS conflict
       JOIN inbound_message AS message ON ${OF_CONFLICT}
       WHERE ($1::uuid IS NULL OR org.id = $1)`,
  ].filter((select) => select !== null);
  if (selects.length === 0) return [];
  const { rows } = await client.query<MessageSummary>(
    `SELECT * FROM (${selects.map((select) => `(${select})`).join(' UNION ALL ')}) AS listed ${NEWEST}`,
    [filter.orgId ?? null, filter.limit, ...(messages?.values ?? []), ...(conflicts?.values ?? [])],
  );
  return rows;
}

async function findMessage(client: pg.PoolClient, id: string): Promise<MessageView | null> {
  if (!UUID.test(id)) return null;
  const { rows } = await client.query<Omit<MessageView, 'documents' | 'conflicts'>>(
    `SELECT ${DETAIL} FROM inbound_message AS message JOIN org ON org.id = message.org_id WHERE message.id = $1
     UNION ALL
     SELECT ${CONFLICT_DETAIL} FROM inbound_conflict AS conflict JOIN org ON org.id = conflict.org_id
     JOIN inbound_message AS message ON ${OF_CONFLICT} WHERE conflict.id = $1`,
    [id],
  );
  const message = rows[0];
  if (message === undefined) return null;
  return {
    ...message,
    documents: await documentsOf(client, message.id),
    conflicts: await conflictsOf(client, message.id),
  };
}

const DOCUMENT = `
  document.id, document.part_path AS "partPath", document.file_name AS "fileName", document.mime_type AS "mimeType",
  document.declared_mime_type AS "declaredMimeType", document.size_bytes AS "sizeBytes", document.sha256,
  document.storage_key AS "storageKey", document.status, document.error_json AS error`;

const DOCUMENT_SUMMARY = `${DOCUMENT}, document.org_id AS "orgId", org.slug AS "orgSlug",
  document.inbound_message_id AS "messageId", document.created_at AS "createdAt"`;

async function listDocuments(client: pg.PoolClient, filter: DocumentFilter): Promise<readonly DocumentSummary[]> {
  const { sql, values } = documentConditions(filter, 3);
  const { rows } = await client.query<DocumentSummary>(
    `SELECT ${DOCUMENT_SUMMARY} FROM org CROSS JOIN LATERAL (
       SELECT * FROM document WHERE document.org_id = org.id${sql} ORDER BY created_at DESC, id DESC LIMIT $2) AS document
     WHERE ($1::uuid IS NULL OR org.id = $1) ORDER BY document.created_at DESC, document.id DESC LIMIT $2`,
    [filter.orgId ?? null, filter.limit, ...values],
  );
  return rows;
}

async function findDocument(client: pg.PoolClient, id: string): Promise<DocumentSummary | null> {
  if (!UUID.test(id)) return null;
  const { rows } = await client.query<DocumentSummary>(
    `SELECT ${DOCUMENT_SUMMARY} FROM document JOIN org ON org.id = document.org_id WHERE document.id = $1`,
    [id],
  );
  return rows[0] ?? null;
}

async function documentsOf(client: pg.PoolClient, messageId: string): Promise<readonly DocumentView[]> {
  const { rows } = await client.query<DocumentView>(`SELECT ${DOCUMENT} FROM document WHERE inbound_message_id = $1`, [
    messageId,
  ]);
  return rows.sort((a, b) => comparePartPaths(a.partPath, b.partPath));
}

async function conflictsOf(client: pg.PoolClient, messageId: string): Promise<readonly ConflictView[]> {
  const { rows } = await client.query<ConflictView>(
    `SELECT id, from_email AS "fromEmail", subject, raw_storage_key AS "rawStorageKey",
       content_sha256 AS "contentSha256", received_at AS "receivedAt"
     FROM inbound_conflict WHERE inbound_message_id = $1 ORDER BY received_at, id`,
    [messageId],
  );
  return rows;
}
