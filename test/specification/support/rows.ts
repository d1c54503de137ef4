/** What the next stage, and an operator with psql, see of a mail: rows and jobs as the tables hold them. */
import type pg from 'pg';
import { waitFor } from '../../../src/testing/wait-for.ts';

export interface MessageRow {
  readonly id: string;
  readonly org_id: string;
  readonly source: string;
  readonly source_message_id: string;
  readonly from_email: string | null;
  readonly to_email: string;
  readonly subject: string | null;
  readonly received_at: Date;
  readonly raw_storage_key: string;
  readonly status: 'RECEIVED' | 'STORED' | 'PARSED' | 'FAILED';
  readonly error_json: { code: string; message: string; limit?: string } | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly trace_id: string;
  readonly size_bytes: number;
  readonly raw_sha256: string;
  readonly content_sha256: string;
  readonly header_from: string | null;
  readonly header_to: string | null;
  readonly header_date: Date | null;
  readonly remote_address: string;
  readonly helo_name: string;
  readonly tls_version: string | null;
  readonly tls_cipher: string | null;
  readonly message_id_synthetic: boolean;
  readonly parts_json: readonly PartRow[] | null;
  readonly notes_json: readonly NoteRow[] | null;
  readonly parser_version: number | null;
  readonly reverse_path: string | null;
  readonly content_digest_version: number;
}

export interface PartRow {
  readonly path: string;
  readonly media_type: string;
  readonly file_name: string | null;
  readonly disposition: string | null;
  readonly size_bytes: number;
  readonly decision: 'document' | 'skipped';
  readonly reason: string;
  readonly document_id?: string;
  readonly notes?: readonly string[];
}

export interface NoteRow {
  readonly code: string;
  readonly part: string | null;
  readonly text: string;
  readonly detail?: Readonly<Record<string, string | number>>;
}

export interface DocumentRow {
  readonly id: string;
  readonly org_id: string;
  readonly inbound_message_id: string;
  readonly file_name: string;
  readonly mime_type: string;
  readonly size_bytes: number | null;
  readonly sha256: string | null;
  readonly storage_key: string | null;
  readonly status: string;
  readonly error_json: { code: string; message: string } | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly part_path: string;
  readonly declared_mime_type: string | null;
}

export interface ConflictRow {
  readonly id: string;
  readonly org_id: string;
  readonly inbound_message_id: string;
  readonly raw_storage_key: string;
  readonly content_sha256: string;
  readonly from_email: string;
  readonly to_email: string;
  readonly subject: string;
  readonly trace_id: string;
  readonly size_bytes: number;
  readonly raw_sha256: string;
}

export interface JobRow {
  readonly task: string;
  readonly payload: Readonly<Record<string, string>>;
}

export interface Rows {
  messages(): Promise<readonly MessageRow[]>;
  message(id: string): Promise<MessageRow>;
  /** By part path. */
  documents(inboundMessageId?: string): Promise<readonly DocumentRow[]>;
  conflicts(): Promise<readonly ConflictRow[]>;
  /** Oldest first. */
  jobs(task: 'extract_document' | 'extract_attachments'): Promise<readonly JobRow[]>;
  /** Every message PARSED or FAILED, and none of their jobs left. */
  settled(timeoutMs?: number): Promise<void>;
}

const JOBS = `
  SELECT task.identifier AS task, job.payload FROM graphile_worker._private_jobs AS job
  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
  WHERE task.identifier = $1 ORDER BY job.id`;

const UNSETTLED = `
  SELECT (SELECT count(*) FROM inbound_message WHERE status NOT IN ('PARSED', 'FAILED'))
    + (SELECT count(*) FROM graphile_worker.jobs WHERE task_identifier = 'extract_attachments') AS count`;

export function readRows(pool: pg.Pool): Rows {
  const all = async <T extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) =>
    (await pool.query<T>(sql, [...values])).rows;
  return {
    messages: () => all('SELECT * FROM inbound_message ORDER BY received_at, id'),
    async message(id) {
      const [row] = await all<MessageRow>('SELECT * FROM inbound_message WHERE id = $1', [id]);
      if (row === undefined) throw new Error(`no inbound_message ${id}`);
      return row;
    },
    documents: (id) =>
      all('SELECT * FROM document WHERE inbound_message_id = coalesce($1, inbound_message_id) ORDER BY part_path', [
        id ?? null,
      ]),
    conflicts: () => all('SELECT * FROM inbound_conflict ORDER BY created_at, id'),
    jobs: (task) => all(JOBS, [task]),
    async settled(timeoutMs = 30_000) {
      const nothingLeft = async () => Number((await all<{ count: string }>(UNSETTLED))[0]?.count) === 0;
      await waitFor(nothingLeft, { timeoutMs, what: 'every message PARSED or FAILED' });
    },
  };
}
