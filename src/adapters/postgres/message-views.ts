import type pg from 'pg';
import type {
  ConflictView,
  DocumentView,
  MessageFilter,
  MessageSummary,
  MessageView,
  MessageViews,
} from '../../ports/message-view.ts';
import { comparePartPaths } from '../../ports/part-path.ts';
import { inTransaction } from './pool.ts';
import { asOrganisation } from './tenant.ts';

const SUMMARY = `
  message.id, message.org_id AS "orgId", org.slug AS "orgSlug", message.status,
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

export function createPostgresMessageViews(o: { readonly pool: pg.Pool }): MessageViews {
  const reading = <T>(orgId: string | undefined, work: (client: pg.PoolClient) => Promise<T>): Promise<T> =>
    orgId === undefined ? inTransaction(o.pool, work) : asOrganisation(o.pool, orgId, work);
  return {
    listMessages: (filter) => reading(filter.orgId, (client) => listMessages(client, filter)),
    findMessage: (id, orgId) => reading(orgId, (client) => findMessage(client, id)),
  };
}

async function listMessages(client: pg.PoolClient, filter: MessageFilter): Promise<readonly MessageSummary[]> {
  const { rows } = await client.query<MessageSummary>(
    `SELECT ${SUMMARY} FROM inbound_message AS message JOIN org ON org.id = message.org_id
     WHERE ($1::uuid IS NULL OR message.org_id = $1) AND ($2::text IS NULL OR message.status = $2)
     ORDER BY message.received_at DESC, message.id DESC LIMIT $3`,
    [filter.orgId ?? null, filter.status ?? null, filter.limit],
  );
  return rows;
}

async function findMessage(client: pg.PoolClient, id: string): Promise<MessageView | null> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return null;
  const { rows } = await client.query<Omit<MessageView, 'documents' | 'conflicts'>>(
    `SELECT ${DETAIL} FROM inbound_message AS message JOIN org ON org.id = message.org_id
     WHERE message.id = coalesce((SELECT inbound_message_id FROM inbound_conflict WHERE id = $1), $1)`,
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

async function documentsOf(client: pg.PoolClient, messageId: string): Promise<readonly DocumentView[]> {
  const { rows } = await client.query<DocumentView>(
    `SELECT id, part_path AS "partPath", file_name AS "fileName", mime_type AS "mimeType",
       declared_mime_type AS "declaredMimeType", size_bytes AS "sizeBytes", sha256, storage_key AS "storageKey", status,
       error_json AS error
     FROM document WHERE inbound_message_id = $1`,
    [messageId],
  );
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
