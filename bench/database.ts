/** What the product's own database says became of the mails. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface Counts {
  readonly messages: number;
  readonly unfinished: number;
  readonly parsed: number;
  readonly failed: number;
  readonly conflicts: number;
  readonly documents: number;
  /** Waiting for the next stage. */
  readonly documentJobs: number;
}

export interface BenchDatabase {
  readonly version: string;
  counts(): Promise<Counts>;
  now(): Promise<Date>;
  /** Write-ahead log since the cluster was made. */
  walBytes(): Promise<number>;
  /** Errors: rejects when some are left after the deadline. */
  allFinished(): Promise<{ readonly lastFinishedAt: Date }>;
  close(): Promise<void>;
}

const COUNTS = `
  SELECT
    (SELECT count(*) FROM inbound_message)::int AS messages,
    (SELECT count(*) FROM inbound_message WHERE status IN ('RECEIVED', 'STORED'))::int AS unfinished,
    (SELECT count(*) FROM inbound_message WHERE status = 'PARSED')::int AS parsed,
    (SELECT count(*) FROM inbound_message WHERE status = 'FAILED')::int AS failed,
    (SELECT count(*) FROM inbound_conflict)::int AS conflicts,
    (SELECT count(*) FROM document WHERE status = 'STORED')::int AS documents,
    (SELECT count(*) FROM graphile_worker.jobs WHERE task_identifier = 'extract_document')::int AS "documentJobs"`;

const POLL_MS = 200;
const FINISH_TIMEOUT_MS = 300_000;
/** What makes a commit durable; the figures mean nothing without. */
const DURABLE = ['fsync', 'synchronous_commit', 'full_page_writes'];

/** Errors: rejects when this database does not keep what it has committed. */
export async function openBenchDatabase(url: string): Promise<BenchDatabase> {
  const client = new pg.Client({ connectionString: url, application_name: 'bench', connectionTimeoutMillis: 15_000 });
  client.on('error', () => {}); // It ends with the product.
  await client.connect();
  const query = async <Row extends pg.QueryResultRow>(text: string): Promise<Row> => {
    const { rows } = await client.query<Row>(text);
    if (rows[0] === undefined) throw new Error('the database answered no row');
    return rows[0];
  };
  for (const name of DURABLE) {
    const { value } = await query<{ value: string }>(`SELECT current_setting('${name}') AS value`);
    if (value !== 'on') throw new Error(`PostgreSQL runs with ${name}=${value}: nothing to measure`);
  }
  const unfinished = `SELECT count(*)::int AS left FROM inbound_message WHERE status IN ('RECEIVED', 'STORED')`;
  return {
    version: (await query<{ server_version: string }>('SHOW server_version')).server_version,
    counts: () => query<Counts & pg.QueryResultRow>(COUNTS),
    now: async () => (await query<{ now: Date }>('SELECT clock_timestamp() AS now')).now,
    walBytes: async () =>
      (await query<{ bytes: number }>(`SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS bytes`)).bytes,
    async allFinished() {
      const deadline = performance.now() + FINISH_TIMEOUT_MS;
      for (;;) {
        const { left } = await query<{ left: number }>(unfinished);
        if (left === 0) break;
        if (performance.now() > deadline) throw new Error(`${left} mails are neither PARSED nor FAILED`);
        await sleep(POLL_MS);
      }
      const { at } = await query<{ at: Date }>(
        'SELECT coalesce(max(updated_at), clock_timestamp()) AS at FROM inbound_message',
      );
      return { lastFinishedAt: at };
    },
    close: () => client.end(),
  };
}
