/** What the extraction worker reads and writes. Spec: FR-007, FR-009, FR-ORQ-001 */
import type pg from 'pg';
import type {
  DocumentError,
  ExtractionResult,
  ExtractionStore,
  MessageToExtract,
  NewDocument,
  Note,
} from '../../ports/extraction-store.ts';
import { asOrganisation, createTenantStatement, leaveOrganisation } from './tenant.ts';
import { storableJson, storableText } from './text.ts';

const COLUMNS = `
  id, org_id AS "orgId", status, raw_storage_key AS "rawStorageKey", received_at AS "receivedAt",
  size_bytes AS "sizeBytes", source_message_id AS "sourceMessageId", trace_id AS "traceId"`;

const TAKE = `
  WITH taken AS (
    UPDATE inbound_message SET status = 'STORED' WHERE id = $1 AND org_id = $2 AND status = 'RECEIVED' RETURNING ${COLUMNS}
  )
  SELECT * FROM taken
  UNION ALL
  SELECT ${COLUMNS} FROM inbound_message WHERE id = $1 AND org_id = $2 AND NOT EXISTS (SELECT FROM taken)`;

/**
 * One turn to the database. The documents come from `finished`: a message that is not STORED gets none. They are upserted,
 * because a message that was FAILED may be read again (`messages retry`); one with the same bytes, which the next stage was
 * told of then, stays as that has left it, and is not handed on twice. Notes from before the mail was
 * read (`field-unstorable`, `redelivered`) stay, before those of the reading.
 */
const FINISH = `
  WITH finished AS (
    UPDATE inbound_message
    SET status = $3, parts_json = $4, error_json = $5, parser_version = $7,
      notes_json = CASE WHEN notes_json IS NULL THEN $6::jsonb ELSE notes_json || coalesce($6::jsonb, '[]') END
    WHERE id = $2 AND status = 'STORED' RETURNING id
  ), documents AS (
    INSERT INTO document (
      id, org_id, inbound_message_id, part_path, file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key,
      status, error_json)
    SELECT found.id, $1, finished.id, part_path, file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key,
      status, error_json
    FROM finished, unnest(
      $8::uuid[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[],
      $16::text[], $17::jsonb[]
    ) AS found (
      id, part_path, file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key, status, error_json)
    ON CONFLICT (inbound_message_id, part_path) DO UPDATE SET
      file_name = excluded.file_name, mime_type = excluded.mime_type, declared_mime_type = excluded.declared_mime_type,
      size_bytes = excluded.size_bytes, sha256 = excluded.sha256, storage_key = excluded.storage_key,
      status = excluded.status, error_json = excluded.error_json
    WHERE document.status IN ('UPLOADED', 'FAILED') OR document.sha256 IS DISTINCT FROM excluded.sha256
    RETURNING id, status
  )
  SELECT ARRAY(SELECT id FROM documents WHERE status = 'STORED') AS stored FROM finished`;

/** The key keeps a second job for the same document from ever waiting beside the first. */
const ADD_DOCUMENT_JOBS = `
  SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
    SELECT (
      'extract_document',
      json_strip_nulls(json_build_object(
        'document_id', document_id, 'org_id', $2::uuid, 'trace_id', $3::text, 'traceparent', $4::text)),
      NULL, NULL, NULL, 'extract_document:' || document_id, NULL, NULL
    )::graphile_worker.job_spec
    FROM unnest($1::uuid[]) AS document_id), true)`;

export function createPostgresExtractionStore(o: { readonly pool: pg.Pool }): ExtractionStore {
  const take = createTenantStatement<MessageToExtract>(o.pool, { name: 'take_message', parameters: 2, text: TAKE });
  return {
    take: async (inboundMessageId, orgId) => (await take(orgId, inboundMessageId, orgId))[0] ?? null,

    finish: (message, result, traceparent) =>
      asOrganisation(o.pool, message.orgId, (client) => finish(client, message, result, traceparent)),
  };
}

async function finish(
  client: pg.PoolClient,
  message: MessageToExtract,
  result: ExtractionResult,
  traceparent: string | undefined,
): Promise<boolean> {
  const { rows } = await client.query<{ stored: readonly string[] }>({
    name: 'finish-message',
    text: FINISH,
    values: [
      message.orgId,
      message.id,
      result.failure === null ? 'PARSED' : 'FAILED',
      storableJson(result.parts.map(partRow)),
      storableJson(result.failure),
      storableJson(result.reading?.notes satisfies readonly Note[] | undefined),
      result.reading?.parserVersion ?? null,
      ...documentColumns(result.documents),
    ],
  });
  const [finished] = rows;
  if (finished === undefined) return notStored(client, message);
  const { stored } = finished;
  if (stored.length > 0) {
    await leaveOrganisation(client);
    await client.query({
      name: 'add-document-jobs',
      text: ADD_DOCUMENT_JOBS,
      values: [stored, message.orgId, message.traceId, traceparent ?? null],
    });
  }
  return true;
}

/**
 * false where somebody else finished it while this run was under way: its documents and jobs are there, ours would be
 * second ones. Otherwise a crash of the database has forgotten that it was taken (its commit did not wait for the disk), and the job
 * must not be told done: it is tried again.
 */
async function notStored(client: pg.PoolClient, { id }: MessageToExtract): Promise<false> {
  const { rows } = await client.query<{ status: string }>('SELECT status FROM inbound_message WHERE id = $1', [id]);
  const status = rows[0]?.status;
  if (status === 'RECEIVED' || status === 'STORED')
    throw new Error(`the message is ${status} again: the database has forgotten that it was taken`);
  return false;
}

function documentColumns(documents: readonly NewDocument[]): unknown[] {
  const column = (value: (document: NewDocument) => unknown): unknown[] => documents.map(value);
  return [
    column((d) => d.id),
    column((d) => d.partPath),
    column((d) => storableText(d.fileName)),
    column((d) => storableText(d.mimeType)),
    column((d) => storableText(d.declaredMimeType)),
    column((d) => d.sizeBytes),
    column((d) => d.sha256),
    column((d) => d.storageKey),
    column((d) => d.status),
    column((d) => storableJson(d.error satisfies DocumentError | null)),
  ];
}

function partRow(part: ExtractionResult['parts'][number]): Record<string, unknown> {
  return {
    path: part.path,
    media_type: part.mediaType,
    file_name: part.fileName,
    disposition: part.disposition,
    size_bytes: part.sizeBytes,
    decision: part.decision,
    reason: part.reason,
    ...(part.documentId === undefined ? {} : { document_id: part.documentId }),
    ...(part.notes === undefined ? {} : { notes: part.notes }),
  };
}
