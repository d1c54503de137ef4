/** How many documents there are by status, and how long the next stage has left the oldest waiting, at a cost that does not grow. */
import type pg from 'pg';
import type { DocumentCounts } from '../../telemetry/metrics.ts';

/** So many of a status are counted one by one, which takes some 40 ms. */
const COUNTED_DOCUMENTS = 100_000;

/** Every status but EXTRACTED, as the index has them. */
const unfinished = ['UPLOADED', 'STORED', 'PROCESSING', 'FAILED'] as const;

/**
 * What waits or failed is counted by the index `document_by_status`, and beyond the bound by PostgreSQL's statistics of the
 * column. What is extracted is in no index: it is the others' rest of the table's estimated rows, grown as the table has grown
 * since, and counted only while the table is small. The order keeps the plan on the index whatever the statistics say.
 */
const countsUpTo = (bound: number): string => `
  WITH whole AS (
    SELECT (reltuples * pg_relation_size(oid) / current_setting('block_size')::int / greatest(relpages, 1))::bigint AS estimate
    FROM pg_class WHERE oid = 'document'::regclass
  ), shares AS (
    SELECT share.* FROM pg_stats, unnest(most_common_vals::text::text[], most_common_freqs) AS share (status, frequency)
    WHERE schemaname = current_schema() AND tablename = 'document' AND attname = 'status'
  ), counted AS (${unfinished
    .map(
      (status) => `
    SELECT '${status}' AS status, count(*) AS count FROM (
      SELECT FROM document WHERE status = '${status}' ORDER BY created_at LIMIT ${bound}) AS one`,
    )
    .join(' UNION ALL')}
  ), judged AS (
    SELECT counted.status, CASE WHEN count < ${bound} THEN count
      ELSE greatest(count, round(estimate * coalesce(frequency, 0))::bigint) END AS count
    FROM counted CROSS JOIN whole LEFT JOIN shares USING (status)
  )
  SELECT status, count FROM judged
  UNION ALL
  SELECT 'EXTRACTED', CASE
    WHEN estimate < ${bound} THEN (SELECT count(*) FROM (
      SELECT FROM document WHERE status = 'EXTRACTED' LIMIT ${bound}) AS one)
    ELSE greatest(0, estimate - (SELECT sum(count)::bigint FROM judged)) END
  FROM whole`;

const OLDEST_STORED = `
  SELECT greatest(0, extract(epoch FROM now() - created_at))::float8 AS seconds
  FROM document WHERE status = 'STORED' ORDER BY created_at LIMIT 1`;

/** Errors: rejects when the database cannot be asked. */
export async function readDocumentCounts(
  pool: pg.Pool,
  { counted = COUNTED_DOCUMENTS }: { readonly counted?: number } = {},
): Promise<DocumentCounts> {
  const [counts, oldest] = await Promise.all([
    pool.query<DocumentCounts['counts'][number]>(countsUpTo(counted)),
    pool.query<{ seconds: number }>(OLDEST_STORED),
  ]);
  return { counts: counts.rows, oldestStoredSeconds: oldest.rows[0]?.seconds ?? 0 };
}
