/**
 * The whole way of an order, by clients that are not ours: 250, raw mail and attachments byte for byte in the object
 * store, PARSED, four documents, four jobs, one trace through the log, the metrics counted. On both databases.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PARSER_VERSION } from '../../src/documents/parser-version.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { missing } from '../../src/testing/missing.ts';
import { acceptedId, assertSameItems } from './support/assertions.ts';
import {
  type Delivered,
  SMTP_SOURCE,
  SMTPLIB,
  SWAKS,
  sendByNodemailer,
  sendBySmtplib,
  sendBySmtpSource,
  sendBySwaks,
} from './support/clients.ts';
import { type Ingest, startIngest } from './support/ingest.ts';
import { ORDER } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

const ACME = 'orders+acme@orderflow.example.com';

for (const [database, name] of [
  ['embedded', 'the embedded database'],
  ['given', 'a PostgreSQL given by DATABASE_URL'],
] as const) {
  test(`FR-ORQ-003, SC-002, on ${name}: Email received → MIME parsed → attachments stored → documents created → extraction jobs enqueued`, async (t) => {
    const ingest = await startIngest(t, { database });
    // The parent's cleaning up must find the product alive; whatever a subtest sets up is its own.
    cleanUp(t, () => assert.deepEqual(ingest.product.strayOutput, []));

    await t.test('by swaks: a mail with a PDF, an XLSX, a CSV and a ZIP', async (t) => {
      if (SWAKS === null) return missing(t, 'swaks', 'apt-get install swaks');
      await assertOrderArrives(ingest, () => sendBySwaks(ingest, ORDER, ['--header', 'Subject: Order by swaks']));
    });
    await t.test('by swaks without types: the same four documents by name and first bytes', async (t) => {
      if (SWAKS === null) return missing(t, 'swaks', 'apt-get install swaks');
      const untyped = ORDER.map((file) => ({ ...file, type: 'application/octet-stream' }));
      await assertOrderArrives(ingest, () => sendBySwaks(ingest, untyped), 'application/octet-stream');
    });
    await t.test("by Python's smtplib: a mail with a PDF, an XLSX, a CSV and a ZIP", async (t) => {
      if (SMTPLIB === null) return missing(t, 'python3', 'apt-get install python3');
      const headers = [
        ['From', 'Büro <buyer@customer.example>'],
        ['To', ACME],
        ['Subject', 'Bestellung Nº 4711 – Müller'],
        ['Date', 'Sun, 01 Mar 2026 10:00:00 +0100'],
        ['Message-ID', `<order-4711-${database}@customer.example>`],
      ] as const;
      const sent = await assertOrderArrives(ingest, () =>
        sendBySmtplib(ingest, { headers, text: 'Anbei unsere Bestellung.\n.\n..\n', attachments: ORDER }),
      );
      await assertEveryColumn(ingest, sent, `<order-4711-${database}@customer.example>`);
    });
    await t.test('by nodemailer: a mail with a PDF, an XLSX, a CSV and a ZIP', async () => {
      const attachments = ORDER.map(({ path, name, type }) => ({ path, filename: name, contentType: type }));
      await assertOrderArrives(ingest, () => sendByNodemailer(ingest, { subject: 'Order by nodemailer', attachments }));
    });
    await t.test('by smtp-source: plain mails in many sessions at once', async (t) => {
      if (SMTP_SOURCE === null) return missing(t, 'smtp-source', 'apt-get install postfix');
      await assertPlainMailsArrive(ingest);
    });
    await t.test(
      'nothing lies in the object store that no row knows, and the gauges tell what the tables hold',
      async () => {
        await ingest.objects.assertMatchRows(ingest.rows);
        const messages = await ingest.rows.messages();
        assert.equal(await ingest.metric('inbound_messages', { status: 'PARSED' }), messages.length);
        const jobs = await ingest.rows.jobs('extract_document');
        assert.equal(await ingest.metric('jobs_waiting', { task: 'extract_document' }), jobs.length);
      },
    );
  });
}

interface Arrived extends Delivered {
  readonly id: string;
}

/** Sends one mail with the four files and looks at everything that has to come of it. */
async function assertOrderArrives(
  ingest: Ingest,
  send: () => Promise<Delivered>,
  declaredType?: string,
): Promise<Arrived> {
  const before = await counted(ingest);
  const delivered = await send();
  const id = acceptedId(delivered.verdict);
  await ingest.rows.settled();

  const message = await ingest.rows.message(id);
  assert.equal(message.status, 'PARSED');
  const raw = await ingest.objects.read(message.raw_storage_key);
  if (delivered.data !== null) assert.ok(raw.equals(delivered.data), 'the raw mail is what the client sent');
  assert.equal(message.raw_sha256, sha256(raw));
  assert.equal(message.size_bytes, raw.length);

  await assertDocuments(ingest, id, declaredType);
  await assertTrace(ingest, id);
  const after = await counted(ingest);
  assert.deepEqual(
    { accepted: after.accepted - before.accepted, extracted: after.extracted - before.extracted, errors: after.errors },
    { accepted: 1, extracted: 4, errors: 0 },
  );
  assert.ok(after.acknowledged > before.acknowledged && after.sizes > before.sizes);
  return { ...delivered, id };
}

async function assertDocuments(ingest: Ingest, messageId: string, declaredType?: string): Promise<void> {
  const orgId = ingest.orgId('acme');
  const documents = await ingest.rows.documents(messageId);
  assertSameItems(
    documents.map((one) => [
      one.file_name,
      one.mime_type,
      one.declared_mime_type,
      one.size_bytes,
      one.sha256,
      one.status,
    ]),
    ORDER.map(({ name, type, content }) => [
      name,
      type,
      declaredType ?? type,
      content.length,
      sha256(content),
      'STORED',
    ]),
    'four documents',
  );
  for (const document of documents) {
    assert.equal(document.org_id, orgId);
    assert.equal(document.error_json, null);
    assert.match(
      document.storage_key ?? '',
      new RegExp(`^${orgId}/\\d{4}/\\d{2}/${document.id}\\.(pdf|xlsx|csv|zip)$`),
    );
    const stored = await ingest.objects.read(document.storage_key ?? '');
    assert.ok(stored.equals(ORDER.find(({ name }) => name === document.file_name)?.content ?? Buffer.alloc(0)));
  }
  const { trace_id } = await ingest.rows.message(messageId);
  const ids = documents.map(({ id }) => id);
  const jobs = (await ingest.rows.jobs('extract_document')).filter(({ payload }) =>
    ids.includes(payload.document_id ?? ''),
  );
  assertSameItems(
    jobs.map(({ payload }) => payload),
    ids.map((document_id) => ({ document_id, org_id: orgId, trace_id })),
    'four extract_document jobs',
  );
}

/** RE-004: Message-ID → inbound_message.id → document.id is one grep for the trace id. */
async function assertTrace(ingest: Ingest, messageId: string): Promise<void> {
  const message = await ingest.rows.message(messageId);
  await ingest.waitForLog({ msg: 'mail parsed', inbound_message_id: messageId });
  const lines = ingest.logged({ trace_id: message.trace_id });
  const steps = ['mail accepted', ...ORDER.map(() => 'document stored'), 'mail parsed'];
  assertSameItems(
    lines.map(({ msg }) => msg),
    steps,
    'a line for each step',
  );
  for (const line of lines) {
    assert.equal(line.message_id, message.source_message_id);
    assert.equal(line.inbound_message_id, messageId);
    assert.equal(line.org_id, message.org_id);
  }
  const documents = await ingest.rows.documents(messageId);
  assertSameItems(
    lines.filter(({ msg }) => msg === 'document stored').map(({ document_id }) => document_id),
    documents.map(({ id }) => id),
    'a line for each document',
  );
  // Extraction may be quicker than the reply, and then logs first.
  const { session_id } = lines.find(({ msg }) => msg === 'mail accepted') ?? {};
  assert.equal(typeof session_id, 'string');
}

async function assertPlainMailsArrive(ingest: Ingest): Promise<void> {
  const before = new Set((await ingest.rows.messages()).map(({ id }) => id));
  const documentsBefore = (await ingest.rows.documents()).length;
  await sendBySmtpSource(ingest, { mails: 40, sessions: 8, bytes: 10_000 });
  await ingest.rows.settled();
  const arrived = (await ingest.rows.messages()).filter(({ id }) => !before.has(id));
  assert.equal(arrived.length, 40);
  for (const { status, size_bytes } of arrived) assert.ok(status === 'PARSED' && size_bytes >= 10_000);
  assert.equal((await ingest.rows.documents()).length, documentsBefore);
}

async function assertEveryColumn(ingest: Ingest, { id, data }: Arrived, messageId: string): Promise<void> {
  const orgId = ingest.orgId('acme');
  const message = await ingest.rows.message(id);
  const content = data?.subarray(data.indexOf('\r\n\r\n') + 4) ?? Buffer.alloc(0);
  const { received_at, created_at, updated_at, trace_id, content_sha256, helo_name, parts_json, ...rest } = message;
  assert.deepEqual(rest, {
    id,
    org_id: orgId,
    source: 'EMAIL',
    source_message_id: messageId,
    from_email: 'buyer@customer.example',
    to_email: ACME,
    subject: 'Bestellung Nº 4711 – Müller',
    raw_storage_key: `${orgId}/${received_at.toISOString().slice(0, 7).replace('-', '/')}/${id}.eml`,
    status: 'PARSED',
    error_json: null,
    size_bytes: data?.length,
    raw_sha256: sha256(data ?? Buffer.alloc(0)),
    header_from: 'Büro <buyer@customer.example>',
    header_to: ACME,
    header_date: new Date('2026-03-01T09:00:00Z'),
    remote_address: '127.0.0.1',
    tls_version: null,
    tls_cipher: null,
    message_id_synthetic: false,
    notes_json: [],
    parser_version: PARSER_VERSION,
    reverse_path: 'buyer@customer.example',
    content_digest_version: 2,
  });
  assert.match(trace_id, /^[0-9a-f]{32}$/);
  assert.match(content_sha256, /^[0-9a-f]{64}$/);
  assert.notEqual(content_sha256, sha256(content), 'the fields that give it its meaning are in it');
  assert.ok(helo_name.length > 0);
  assert.ok(received_at <= created_at && created_at < updated_at, 'received, recorded, and updated by the worker');
  assert.deepEqual(
    parts_json?.map(({ path, decision, reason, file_name }) => [path, decision, reason, file_name]),
    [
      ['1', 'skipped', 'no-file-name-and-no-attachment-disposition', null],
      ...ORDER.map(({ name }, index) => [`${index + 2}`, 'document', 'attachment', name]),
    ],
  );
}

async function counted(ingest: Ingest) {
  const [accepted, extracted, errors, acknowledged, sizes] = await Promise.all([
    ingest.metric('smtp_emails_received_total', { org_id: ingest.orgId('acme'), status: 'accepted' }),
    ingest.metric('smtp_attachment_extraction_duration_ms_count'),
    ingest.metric('smtp_processing_errors_total'),
    ingest.metric('smtp_ack_duration_seconds_count'),
    ingest.metric('smtp_message_size_bytes_count'),
  ]);
  return { accepted, extracted, errors, acknowledged, sizes };
}
