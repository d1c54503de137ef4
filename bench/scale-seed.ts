/** Fills the product's own database as months of mail would have, in one go: rows are inserted as they are in the end. */
import pg from 'pg';
import type { Case } from './scale-cases.ts';

const ORGANISATIONS = `INSERT INTO org (slug, name) SELECT 'org-' || n, 'Organisation ' || n FROM generate_series(0, $1::int - 1) AS n`;

/** As wide as in real mails: an address of 28 octets, a Message-ID of 60, a subject of 40. */
const MESSAGES = `
  INSERT INTO inbound_message (
    id, org_id, source, source_message_id, from_email, to_email, subject, received_at, raw_storage_key, status, trace_id,
    size_bytes, raw_sha256, content_sha256, header_from, header_to, header_date, remote_address, helo_name, parts_json)
  SELECT gen_random_uuid(), org.id, 'EMAIL', '<' || gen_random_uuid() || '@mail.buyer.example>',
    'purchasing-' || n % 997 || '@buyer.example', 'orders+' || slug || '@orderflow.example.com',
    'Purchase order ' || n || ' of our company', now() - ($2::int - n) * interval '2 s',
    org.id || '/2026/03/' || gen_random_uuid() || '.eml', 'PARSED', md5(n::text), 42000,
    encode(sha256(n::text::bytea), 'hex'), encode(sha256((n + 1)::text::bytea), 'hex'),
    'Purchasing <purchasing-' || n % 997 || '@buyer.example>', 'orders+' || slug || '@orderflow.example.com', now(),
    '192.0.2.' || n % 250, 'mail.buyer.example',
    '[{"path": "1", "media_type": "text/plain", "file_name": null, "disposition": null, "size_bytes": 300, "decision": "skipped", "reason": "body text"},
      {"path": "2", "media_type": "application/pdf", "file_name": "purchase-order-4711.pdf", "disposition": "attachment", "size_bytes": 30000, "decision": "document", "reason": "attachment"}]'
  FROM generate_series($1::int, $2::int) AS n, org WHERE slug = 'acme'`;

const DOCUMENTS = `
  INSERT INTO document (
    org_id, inbound_message_id, part_path, file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key, status)
  SELECT org_id, id, '2', 'purchase-order-4711.pdf', 'application/pdf', 'application/pdf', 30000, raw_sha256,
    org_id || '/2026/03/' || gen_random_uuid() || '.pdf', 'STORED' FROM inbound_message`;

const JOBS = `
  INSERT INTO graphile_worker._private_jobs (task_id, payload, key, run_at)
  SELECT task.id, CASE identifier
      WHEN 'extract_document' THEN json_build_object('document_id', made.id, 'org_id', org.id, 'trace_id', md5(n::text))
      ELSE json_build_object('inbound_message_id', made.id, 'org_id', org.id, 'trace_id', md5(n::text)) END,
    CASE identifier WHEN 'extract_document' THEN 'extract_document:' || made.id END,
    now() - ($2::int - n) * interval '1 ms'
  FROM generate_series(1, $2::int) AS n CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id, n AS of) AS made,
    graphile_worker._private_tasks AS task, org
  WHERE identifier = $1 AND slug = 'acme'`;

const ROWS_A_STATEMENT = 50_000;

export async function seed(url: string, { rows, organisations, waiting, unread }: Case): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'bench-seed' });
  await client.connect();
  try {
    if (organisations > 1) await client.query(ORGANISATIONS, [organisations]);
    if (rows > 0) await seedMessages(client, rows);
    if (waiting > 0) await client.query(JOBS, ['extract_document', waiting]);
    if (unread > 0) await client.query(JOBS, ['extract_attachments', unread]);
    await client.query('VACUUM ANALYZE');
  } finally {
    await client.end();
  }
}

async function seedMessages(client: pg.Client, rows: number): Promise<void> {
  const trigger = (what: string) =>
    client.query(`ALTER TABLE inbound_message ${what} TRIGGER inbound_message_starts_received`);
  await trigger('DISABLE');
  for (let from = 1; from <= rows; from += ROWS_A_STATEMENT) {
    await client.query(MESSAGES, [from, Math.min(rows, from + ROWS_A_STATEMENT - 1)]);
  }
  await trigger('ENABLE');
  await client.query(DOCUMENTS);
}
