/**
 * How the tables grow: fills a throw-away database with mails that have led a whole life (RECEIVED, STORED, PARSED, a
 * document, its job taken by the next stage) and tells what a row of each table costs. See docs/scaling.md.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startTestCluster } from '../src/testing/cluster.ts';

const { values } = parseArgs({ options: { mails: { type: 'string', default: '100000' } } });
const mails = Number(values.mails);
const batch = 5_000;
/** PostgreSQL's own autovacuum comes when a fifth of a table has changed; here, after so many batches. */
const batchesPerVacuum = 4;

/** As wide as in real mails: an address of 28 octets, a Message-ID of 60, a subject of 40. */
const RECEIVE = `
  INSERT INTO inbound_message (
    id, org_id, source, source_message_id, from_email, to_email, subject, received_at, raw_storage_key, status, trace_id,
    size_bytes, raw_sha256, content_sha256, header_from, header_to, header_date, remote_address, helo_name)
  SELECT uuidv7(), org.id, 'EMAIL', '<' || gen_random_uuid() || '@mail.buyer.example>', 'purchasing-' || n % 997 || '@buyer.example',
    'orders+' || slug || '@orderflow.example.com', 'Purchase order ' || n || ' of our company', now(),
    org.id || '/2026/03/' || gen_random_uuid() || '.eml', 'RECEIVED', encode(sha256(n::text::bytea), 'hex')::char(32), 42000,
    encode(sha256(n::text::bytea), 'hex'), encode(sha256((n + 1)::text::bytea), 'hex'),
    'Purchasing <purchasing-' || n % 997 || '@buyer.example>', 'orders+' || slug || '@orderflow.example.com', now(),
    '192.0.2.' || n % 250, 'mail.buyer.example'
  FROM generate_series($1::int, $2::int) AS n JOIN org ON slug = 'org-' || n % 100`;

const PARTS = JSON.stringify(
  ['text/plain', 'application/pdf'].map((media_type, index) => ({
    path: String(index + 1),
    media_type,
    file_name: index === 0 ? null : 'purchase-order-4711.pdf',
    disposition: index === 0 ? null : 'attachment',
    size_bytes: 30_000,
    decision: index === 0 ? 'skipped' : 'document',
    reason: index === 0 ? 'body text' : 'attachment',
    ...(index === 0 ? {} : { document_id: '01890a5d-ac96-774b-bcce-b302099a8057' }),
  })),
);

const LATER: readonly string[] = [
  `UPDATE inbound_message SET status = 'STORED' WHERE status = 'RECEIVED'`,
  `INSERT INTO document (org_id, inbound_message_id, part_path, file_name, mime_type, declared_mime_type, size_bytes, sha256,
     storage_key, status)
   SELECT org_id, id, '2', 'purchase-order-4711.pdf', 'application/pdf', 'application/pdf', 30000, raw_sha256,
     org_id || '/2026/03/' || gen_random_uuid() || '.pdf', 'STORED' FROM inbound_message WHERE status = 'STORED'`,
  `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
     SELECT ('extract_document', json_build_object('document_id', id, 'org_id', org_id, 'trace_id', trace_id),
       NULL, NULL, NULL, 'extract_document:' || id, NULL, NULL)::graphile_worker.job_spec
     FROM inbound_message WHERE status = 'STORED'), true)`,
  `UPDATE inbound_message SET status = 'PARSED', parts_json = '${PARTS}' WHERE status = 'STORED'`,
];

const TOLD = `
  SELECT relname AS "table", reltuples::bigint AS rows, pg_relation_size(oid) AS heap, pg_indexes_size(oid) AS indexes,
    pg_total_relation_size(oid) AS total
  FROM pg_class WHERE oid IN ('inbound_message'::regclass, 'document'::regclass, 'graphile_worker._private_jobs'::regclass)
  ORDER BY 1 DESC`;

const INDEXES = `
  SELECT indexrelname AS index, pg_relation_size(indexrelid) AS bytes FROM pg_stat_user_indexes
  WHERE relname IN ('inbound_message', 'document') ORDER BY relname DESC, 1`;

async function measure(client: pg.Client): Promise<void> {
  await client.query(
    `INSERT INTO org (slug, name) SELECT 'org-' || n, 'Organisation' FROM generate_series(0, 99) AS n`,
  );
  for (let from = 1, round = 1; from <= mails; from += batch, round++) {
    await client.query(RECEIVE, [from, Math.min(mails, from + batch - 1)]);
    for (const statement of LATER) await client.query(statement);
    if (round % batchesPerVacuum === 0) await client.query('VACUUM inbound_message');
  }
  await client.query('VACUUM ANALYZE');
  const perRow = (bytes: string, rows: string): string => `${Math.round(Number(bytes) / Number(rows))}`.padStart(6);
  const { rows } = await client.query(TOLD);
  console.log(`${mails} mails, a document each; bytes per row:`);
  for (const row of rows)
    console.log(
      `${row.table.padEnd(18)} heap ${perRow(row.heap, row.rows)}  indexes ${perRow(row.indexes, row.rows)}  total ${perRow(row.total, row.rows)}`,
    );
  const indexes = await client.query(INDEXES);
  for (const row of indexes.rows) console.log(`  ${row.index.padEnd(36)} ${perRow(row.bytes, String(mails))}`);
}

const cluster = await startTestCluster();
try {
  const client = new pg.Client({ connectionString: cluster.templateUrl });
  await client.connect();
  await measure(client).finally(() => client.end());
} finally {
  await cluster.close();
}
