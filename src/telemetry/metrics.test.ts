import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { replies } from '../smtp/index.ts';
import { createLog } from './log.ts';
import { createMetrics, type DatabaseCounts, type DiskSpace, type ErrorType, type MetricsOptions } from './metrics.ts';

async function scrape(metrics: ReturnType<typeof createMetrics>): Promise<readonly string[]> {
  return (await metrics.scrape()).text.split('\n').filter((line) => line !== '');
}

const series = (lines: readonly string[]): readonly string[] => lines.filter((line) => !line.startsWith('#'));

const names = [
  ['smtp_emails_received_total', 'counter'],
  ['smtp_attachment_extraction_duration_ms', 'histogram'],
  ['smtp_processing_errors_total', 'counter'],
  ['smtp_connections', 'gauge'],
  ['smtp_connections_total', 'counter'],
  ['smtp_message_size_bytes', 'histogram'],
  ['smtp_ack_duration_seconds', 'histogram'],
  ['inbound_messages', 'gauge'],
  ['jobs_waiting', 'gauge'],
  ['jobs_oldest_waiting_seconds', 'gauge'],
  ['smtp_replies_total', 'counter'],
  ['smtp_tls_handshakes_total', 'counter'],
  ['store_gap_objects', 'gauge'],
  ['smtp_tls_certificate_not_after_seconds', 'gauge'],
  ['data_dir_free_bytes', 'gauge'],
  ['data_dir_size_bytes', 'gauge'],
  ['orderflow_build_info', 'gauge'],
  ['object_store_duration_seconds', 'histogram'],
  ['documents', 'gauge'],
  ['document_oldest_stored_seconds', 'gauge'],
  ['ready', 'gauge'],
] as const;

test('exactly the promised names, each of its type, stand in the first scrape, beside those of the process', async () => {
  const lines = await scrape(createMetrics());
  const types = lines.filter((line) => line.startsWith('# TYPE ')).map((line) => line.slice('# TYPE '.length));
  const ours = types.filter((line) => !/^(process|nodejs)_/.test(line));
  assert.deepEqual(ours.toSorted(), names.map(([name, type]) => `${name} ${type}`).toSorted());
  assert.ok(types.includes('process_resident_memory_bytes gauge'));
  assert.match(lines.join('\n'), /^# HELP smtp_attachment_extraction_duration_ms .*once for each document$/m);
});

test('what happens is counted under organisation and outcome, durations in the unit of the name', async () => {
  const metrics = createMetrics();
  const orgId = randomUUID();
  metrics.emailReceived(orgId, 'accepted');
  metrics.emailReceived(orgId, 'accepted');
  metrics.emailReceived(null, 'rejected');
  metrics.processingError(orgId, 'storage-full');
  metrics.acknowledged(250);
  metrics.attachmentExtracted(250);
  metrics.messageSize(1234);
  metrics.connectionOpened();
  metrics.connectionOpened();
  metrics.connectionOpened();
  metrics.connectionOpened();
  metrics.connectionClosed(null);
  metrics.connectionClosed('TLSv1.2');
  metrics.connectionClosed('TLSv9');
  metrics.objectStoreOperation('put', 40);
  metrics.tlsHandshake('failed');
  metrics.tlsCertificateInUse(new Date(4_102_444_800_000));
  const lines = await scrape(metrics);
  for (const expected of [
    `smtp_emails_received_total{org_id="${orgId}",status="accepted"} 2`,
    'smtp_emails_received_total{org_id="unknown",status="rejected"} 1',
    `smtp_processing_errors_total{org_id="${orgId}",error_type="storage-full"} 1`,
    'smtp_ack_duration_seconds_sum 0.25',
    'smtp_attachment_extraction_duration_ms_sum 250',
    'smtp_message_size_bytes_sum 1234',
    'smtp_connections 1',
    'smtp_connections_total{tls_version="none"} 1',
    'smtp_connections_total{tls_version="TLSv1.2"} 1',
    'smtp_connections_total{tls_version="TLSv1"} 0',
    'smtp_connections_total{tls_version="other"} 1',
    'smtp_tls_handshakes_total{outcome="completed"} 0',
    'smtp_tls_handshakes_total{outcome="failed"} 1',
    'smtp_tls_certificate_not_after_seconds 4102444800',
    'object_store_duration_seconds_sum{op="put"} 0.04',
  ]) {
    assert.ok(lines.includes(expected), expected);
  }
});

test('10,000 unknown organisations and made-up error types leave the number of series as it was', async () => {
  const metrics = createMetrics();
  metrics.emailReceived(null, 'rejected');
  metrics.processingError(null, 'unexpected');
  const before = series(await scrape(metrics)).length;
  for (let i = 0; i < 10_000; i += 1) {
    metrics.emailReceived(`organisation-${i}`, 'rejected');
    metrics.processingError(`orders+x${i}@example.com`, `made-up-${i}` as ErrorType);
  }
  const lines = await scrape(metrics);
  assert.equal(series(lines).length, before);
  assert.ok(lines.includes('smtp_emails_received_total{org_id="unknown",status="rejected"} 10001'));
});

const counts: DatabaseCounts = {
  messages: [{ status: 'PARSED', count: 7 }],
  jobs: [{ task: 'extract_document', count: 3, oldestAgeSeconds: 61.5 }],
  documents: { counts: [{ status: 'STORED', count: 9 }], oldestStoredSeconds: 30.5 },
};

function withDatabase(databaseCounts: NonNullable<MetricsOptions['databaseCounts']>) {
  const logged: string[] = [];
  const log = createLog({ level: 'info', format: 'json' }, { write: (line) => void logged.push(line) });
  return { metrics: createMetrics({ databaseCounts, databaseDeadlineMs: 20, log }), logged };
}

test('the gauges of the database are read at each scrape, with zero for what it does not name', async () => {
  const lines = await scrape(withDatabase(async () => counts).metrics);
  assert.ok(lines.includes('inbound_messages{status="PARSED"} 7'));
  assert.ok(lines.includes('inbound_messages{status="FAILED"} 0'));
  assert.ok(lines.includes('jobs_waiting{task="extract_document"} 3'));
  assert.ok(lines.includes('jobs_waiting{task="extract_attachments"} 0'));
  assert.ok(lines.includes('jobs_oldest_waiting_seconds{task="extract_document"} 61.5'));
  assert.ok(lines.includes('jobs_oldest_waiting_seconds{task="extract_attachments"} 0'));
  assert.ok(lines.includes('documents{status="STORED"} 9'));
  assert.ok(lines.includes('documents{status="PROCESSING"} 0'));
  assert.ok(lines.includes('document_oldest_stored_seconds 30.5'));
});

test('a database that fails or hangs costs its own gauges only, and old values do not stay', async () => {
  let answer: () => Promise<DatabaseCounts> = async () => counts;
  const { metrics, logged } = withDatabase(() => answer());
  await scrape(metrics);
  for (const broken of [() => Promise.reject(new Error('down')), () => new Promise<never>(() => {})]) {
    answer = broken;
    const lines = await scrape(metrics);
    assert.ok(lines.includes('smtp_connections 0'));
    assert.deepEqual(
      lines.filter((line) => /^(inbound_messages|jobs_\w+|documents?\w*)[{ ]/.test(line)),
      [],
    );
  }
  assert.equal(logged.length, 2);
  assert.equal(JSON.parse(logged[0] ?? '').level, 'warn');
});

test('replies are counted by code and condition; those that never were stand there with zero', async () => {
  const refusals = [
    { condition: 'unavailable', code: 451, subject: 3, detail: 0, text: 'Later' },
    { condition: 'storage-full', code: 452, subject: 3, detail: 1, text: 'Full' },
  ];
  const metrics = createMetrics({ refusals });
  metrics.replied(replies.accepted);
  metrics.replied(replies.accepted);
  metrics.replied({ condition: 'unavailable', code: 451 });
  metrics.replied({ condition: 'not-known-before', code: 550 });
  for (let scraped = 0; scraped < 2; scraped += 1) {
    const lines = await scrape(metrics);
    assert.ok(lines.includes('smtp_replies_total{code="250",condition="accepted"} 2'));
    assert.ok(lines.includes('smtp_replies_total{code="451",condition="unavailable"} 1'));
    assert.ok(lines.includes('smtp_replies_total{code="452",condition="storage-full"} 0'));
    assert.ok(lines.includes('smtp_replies_total{code="550",condition="not-known-before"} 1'));
    assert.ok(lines.includes('smtp_replies_total{code="421",condition="idle-timeout"} 0'));
  }
});

test('the room of the data folder is told while it can be asked, the program by its version', async () => {
  const logged: string[] = [];
  const log = createLog({ level: 'info', format: 'json' }, { write: (line) => void logged.push(line) });
  let answer: () => Promise<DiskSpace | null> = async () => ({ freeBytes: 10, sizeBytes: 100 });
  const metrics = createMetrics({ diskSpace: () => answer(), version: '1.2.3', log });
  const ofDisk = async () => series(await scrape(metrics)).filter((line) => line.startsWith('data_dir_'));
  assert.deepEqual(await ofDisk(), ['data_dir_free_bytes 10', 'data_dir_size_bytes 100']);
  answer = async () => null;
  assert.deepEqual(await ofDisk(), []);
  assert.equal(logged.length, 0);
  answer = () => Promise.reject(new Error('stale handle'));
  assert.deepEqual(await ofDisk(), []);
  assert.equal(logged.length, 1);
  const info = `orderflow_build_info{version="1.2.3",node="${process.versions.node}"} 1`;
  assert.ok((await scrape(metrics)).includes(info));
});

test('two products in one process count apart', async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.connectionOpened();
  assert.ok((await scrape(other)).includes('smtp_connections 0'));
});
