/** See migrations/0013. As the tables' owner: a run looks at the objects of all organisations. */
import type pg from 'pg';
import type { KeptKind } from '../../ports/reconciliation.ts';
import type { ExpectedObject, Verification, VerifyProgress } from '../../ports/verification.ts';
import { storableJson } from './text.ts';

interface Source {
  readonly table: string;
  readonly key: string;
  readonly digest: string;
  /** Whose object is to be there. */
  readonly which: string;
  /** Whose object may be another than the row says, for the moment. */
  readonly changing: string;
}

const SOURCES: Readonly<Record<KeptKind, Source>> = {
  message: {
    table: 'inbound_message',
    key: 'raw_storage_key',
    digest: 'raw_sha256',
    which: 'raw_storage_key IS NOT NULL',
    changing: 'false',
  },
  conflict: {
    table: 'inbound_conflict',
    key: 'raw_storage_key',
    digest: 'raw_sha256',
    which: 'true',
    changing: 'false',
  },
  document: {
    table: 'document',
    key: 'storage_key',
    digest: 'sha256',
    which: `storage_key IS NOT NULL AND status <> 'UPLOADED'`,
    changing: `EXISTS (
      SELECT FROM inbound_message AS message
      WHERE message.id = document.inbound_message_id AND message.status IN ('RECEIVED', 'STORED'))`,
  },
};

const columns = ({ key, digest }: Source): string =>
  `id, org_id AS "orgId", ${key} AS "storageKey", size_bytes AS "sizeBytes", ${digest} AS sha256`;

const pageOf = (source: Source): string => `
  SELECT ${columns(source)} FROM ${source.table}
  WHERE ${source.which} AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2`;

const rowOf = (source: Source): string => `
  SELECT ${columns(source)} FROM ${source.table} WHERE id = $1 AND ${source.which} AND NOT ${source.changing}`;

const TOTAL = Object.values(SOURCES)
  .map(
    ({ table, which }) => `SELECT count(*) AS rows, coalesce(sum(size_bytes), 0) AS bytes FROM ${table} WHERE ${which}`,
  )
  .join(' UNION ALL ');

const PROGRESS = `
  id, started_at AS "startedAt", total_rows AS "totalRows", total_bytes AS "totalBytes", at_kind AS kind, after_id AS after,
  rows, bytes, without_digest AS "withoutDigest", problems AS "problemCount", problems_json AS problems`;

const RESUME = `SELECT ${PROGRESS} FROM reconcile_run WHERE ended_at IS NULL`;

const BEGIN = `
  INSERT INTO reconcile_run (total_rows, total_bytes)
  SELECT sum(rows)::bigint, sum(bytes)::bigint FROM (${TOTAL}) AS each RETURNING ${PROGRESS}`;

/** `problems_json` is written only where it has grown: it may be long, and the place is saved every second. */
const SAVE = `
  UPDATE reconcile_run
  SET at_kind = $2, after_id = $3, rows = $4, bytes = $5, without_digest = $6, problems = $7,
    problems_json =
      CASE WHEN jsonb_array_length(problems_json) = jsonb_array_length($8) THEN problems_json ELSE $8 END,
    saved_at = clock_timestamp(), ended_at = CASE WHEN $9 THEN clock_timestamp() END
  WHERE id = $1`;

type RunRow = VerifyProgress & {
  readonly id: string;
  readonly startedAt: Date;
  readonly totalRows: number;
  readonly totalBytes: number;
};

export function createPostgresVerification({ pool }: { readonly pool: pg.Pool }): Verification {
  return {
    async resumeOrBegin() {
      const stopped = (await pool.query<RunRow>(RESUME)).rows[0];
      const found = stopped ?? (await pool.query<RunRow>(BEGIN)).rows[0];
      if (found === undefined) throw new Error('the database answered no run');
      const { id, startedAt, totalRows, totalBytes, ...progress } = found;
      return { id, startedAt, total: { rows: totalRows, bytes: totalBytes }, progress };
    },
    async save(runId, { kind, after, rows, bytes, withoutDigest, problemCount, problems }, { ended }) {
      const place = [kind, after, rows, bytes, withoutDigest];
      await pool.query(SAVE, [runId, ...place, problemCount, storableJson(problems), ended]);
    },
    page: async (kind, after, limit) => (await pool.query<ExpectedObject>(pageOf(SOURCES[kind]), [after, limit])).rows,
    lookAgain: async (kind, id) => (await pool.query<ExpectedObject>(rowOf(SOURCES[kind]), [id])).rows[0] ?? null,
  };
}
