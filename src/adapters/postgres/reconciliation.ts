/** What `reconcile` reads and mends. As the tables' owner: it looks after all organisations. */
import type pg from 'pg';
import type { KeptKind, KeptObject, Reconciliation } from '../../ports/reconciliation.ts';
import { storableJson, storableText } from './text.ts';

const page = (rows: string, key: string, open: string): string => `
  SELECT id, org_id AS "orgId", ${key} AS "storageKey", ${open} AS open FROM ${rows} AND ($1::uuid IS NULL OR id > $1) AND ${key} IS NOT NULL ORDER BY id LIMIT $2`;

const OPEN = `status IN ('RECEIVED', 'STORED')`;

const PAGES: Readonly<Record<KeptKind, string>> = {
  // Those that are known to have none are not asked for again and again.
  message: page(
    `inbound_message WHERE (status <> 'FAILED' OR error_json->>'code' IS DISTINCT FROM 'object-missing')`,
    'raw_storage_key',
    OPEN,
  ),
  conflict: page('inbound_conflict WHERE true', 'raw_storage_key', 'false'),
  document: page('document WHERE true', 'storage_key', 'false'),
};

const NOT_NAMED_BY_ID = `
  SELECT listed.key FROM unnest($1::uuid[], $2::text[]) AS listed (id, key)
  WHERE NOT EXISTS (SELECT FROM inbound_message AS row WHERE row.id = listed.id AND row.raw_storage_key = listed.key)
    AND NOT EXISTS (SELECT FROM document AS row WHERE row.id = listed.id AND row.storage_key = listed.key)
    AND NOT EXISTS (SELECT FROM inbound_conflict AS row WHERE row.id = listed.id AND row.raw_storage_key = listed.key)`;

const NAMED = `
  SELECT raw_storage_key AS key FROM inbound_message WHERE raw_storage_key = ANY ($1)
  UNION ALL SELECT raw_storage_key FROM inbound_conflict WHERE raw_storage_key = ANY ($1)
  UNION ALL SELECT storage_key FROM document WHERE storage_key = ANY ($1)`;

const RAW_KEY = `
  SELECT raw_storage_key AS key FROM inbound_message WHERE id = $1 AND raw_storage_key IS NOT NULL
  UNION ALL SELECT raw_storage_key FROM inbound_conflict WHERE id = $1`;

const NOTE_REDELIVERY = `
  INSERT INTO audit_log (actor, action, target, org_id, count)
  SELECT $1, 'message.redeliver', 'after-restore', org_id, count(*) FROM unnest($2::uuid[]) AS org_id GROUP BY org_id`;

/**
 * A row is written with its job, and the job goes after the row has become PARSED or FAILED: in any one snapshot, an open
 * message without a job has lost it. A message that ends between this and its new job makes that job do nothing.
 */
const WITHOUT_JOB = `
  SELECT id, org_id, trace_id FROM inbound_message AS message
  WHERE ${OPEN} AND NOT EXISTS (
    SELECT FROM graphile_worker._private_jobs AS job JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
    WHERE task.identifier = 'extract_attachments' AND job.payload->>'inbound_message_id' = message.id::text)`;

const ADD_JOBS = `
  WITH waiting AS (${WITHOUT_JOB} LIMIT $1)
  SELECT count(job.id)::int AS count FROM (
    SELECT array_agg((
      'extract_attachments',
      json_build_object('inbound_message_id', id, 'org_id', org_id, 'trace_id', coalesce(trace_id, '')),
      NULL, NULL, NULL, NULL, NULL, NULL
    )::graphile_worker.job_spec) AS specs
    FROM waiting HAVING count(*) > 0
  ) AS wanted, graphile_worker.add_jobs(wanted.specs) AS job`;

const MISSING = { code: 'object-missing', message: 'the raw mail is not in the object store (found by reconcile)' };

export function createPostgresReconciliation({ pool }: { readonly pool: pg.Pool }): Reconciliation {
  const strings = async (sql: string, ...values: unknown[]): Promise<readonly string[]> =>
    (await pool.query<{ key: string }>(sql, values)).rows.map(({ key }) => key);
  const count = async (sql: string, ...values: unknown[]): Promise<number> =>
    (await pool.query<{ count: number }>(sql, values)).rows[0]?.count ?? 0;
  return {
    page: async (kind, after, limit) => (await pool.query<KeptObject>(PAGES[kind], [after, limit])).rows,
    notNamedById: (keys) =>
      strings(
        NOT_NAMED_BY_ID,
        keys.map(({ id }) => id),
        keys.map(({ key }) => key),
      ),
    named: async (keys) => new Set(await strings(NAMED, keys)),
    async slugs(ids) {
      const sql = 'SELECT id::text, slug FROM org WHERE id = ANY ($1::uuid[])';
      const { rows } = await pool.query<{ id: string; slug: string }>(sql, [ids]);
      return new Map(rows.map(({ id, slug }) => [id, slug]));
    },
    rawKeyOf: async (id) => (await strings(RAW_KEY, id))[0] ?? null,
    async noteRedelivery(orgIds, actor) {
      await pool.query(NOTE_REDELIVERY, [storableText(actor), orgIds]);
    },
    extracting: async (ids, before) =>
      new Set(
        await strings(
          `SELECT DISTINCT org_id::text AS key FROM inbound_message
           WHERE org_id = ANY ($1::uuid[]) AND ${OPEN} AND received_at < $2`,
          ids,
          before,
        ),
      ),
    async fail(id) {
      const { rowCount } = await pool.query(
        `UPDATE inbound_message SET status = 'FAILED', error_json = $2 WHERE id = $1 AND ${OPEN}`,
        [id, storableJson(MISSING)],
      );
      return rowCount === 1;
    },
    countMissingJobs: () => count(`SELECT count(*)::int AS count FROM (${WITHOUT_JOB}) AS waiting`),
    addMissingJobs: (limit) => count(ADD_JOBS, limit),
    async now() {
      const { rows } = await pool.query<{ now: Date }>('SELECT clock_timestamp() AS now');
      return rows[0]?.now ?? new Date();
    },
  };
}
