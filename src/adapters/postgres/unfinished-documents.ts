/** As the tables' owner: lost jobs are looked for in all organisations. */
import type pg from 'pg';
import type { DocumentToExtract, UnfinishedDocuments } from '../../ports/unfinished-documents.ts';

/** The job of a document is known by its key, which has an index. One without attempts left waits for nobody. */
const COLUMNS = `
  document.id, document.org_id AS "orgId", coalesce(message.trace_id, '') AS "traceId", document.status,
  document.storage_key IS NOT NULL AS stored,
  EXISTS (
    SELECT FROM graphile_worker._private_jobs AS job
    WHERE job.key = 'extract_document:' || document.id AND (job.attempts < job.max_attempts OR job.locked_at IS NOT NULL)
  ) AS waits`;

/** By the index `document_unfinished`; the limit comes first, so that jobs and messages are looked up for one page only. */
const PAGE = `
  SELECT ${COLUMNS}, document.created_at::text AS "createdAt" FROM (
    SELECT * FROM document
    WHERE status IN ('STORED', 'PROCESSING') AND created_at < $1
      AND ($2::timestamptz IS NULL OR (created_at, id) > ($2::timestamptz, $3::uuid))
    ORDER BY created_at, id LIMIT $4
  ) AS document JOIN inbound_message AS message ON message.id = document.inbound_message_id
  ORDER BY document.created_at, document.id`;

const FIND = `
  SELECT ${COLUMNS} FROM document JOIN inbound_message AS message ON message.id = document.inbound_message_id
  WHERE document.id = $1`;

export function createPostgresUnfinishedDocuments({ pool }: { readonly pool: pg.Pool }): UnfinishedDocuments {
  return {
    async page({ before, after, limit }) {
      const { rows } = await pool.query<DocumentToExtract & { createdAt: string }>(PAGE, [
        before,
        after?.createdAt ?? null,
        after?.id ?? null,
        limit,
      ]);
      const last = rows.at(-1);
      const next = rows.length < limit || last === undefined ? null : { createdAt: last.createdAt, id: last.id };
      return { documents: rows.map(({ createdAt: _, ...document }) => document), next };
    },
    find: async (id) => (await pool.query<DocumentToExtract>(FIND, [id])).rows[0] ?? null,
    async countStored(ids) {
      const { rows } = await pool.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM document WHERE id = ANY ($1::uuid[]) AND status = 'STORED'`,
        [ids],
      );
      return rows[0]?.count ?? 0;
    },
  };
}
