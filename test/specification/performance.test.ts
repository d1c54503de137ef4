/** "Performance Tests" of the specification's testing strategy, in its words. Times are deadlines, not measurements. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { acceptedId, assertSameItems } from './support/assertions.ts';
import { SMTP_SOURCE, sendBySmtpSource } from './support/clients.ts';
import { startIngest } from './support/ingest.ts';
import { CSV, mailWith, type OrderFile, PDF } from './support/mails.ts';
import { sha256 } from './support/objects.ts';

/** SC-001 */
const DEADLINE_MS = 5_000;
const LIMIT_BYTES = 26_214_400;

test('Performance Tests', async (t) => {
  const ingest = await startIngest(t, { database: 'embedded' });
  const { rows, objects } = ingest;
  const replyTimesMs: number[] = [];

  await t.test('SC-004: Process 100 emails concurrently', async (t) => {
    await t.test('a hundred connections, an attachment each: all accepted, all PARSED', async () => {
      const verdicts = await Promise.all(
        Array.from({ length: 100 }, async (_, index) => {
          const data = mailWith([index % 2 === 0 ? PDF : CSV]);
          const begun = performance.now();
          const verdict = await ingest.send({ data });
          replyTimesMs.push(performance.now() - begun);
          return verdict;
        }),
      );
      const ids = verdicts.map(acceptedId);
      assert.equal(new Set(ids).size, 100);
      await rows.settled();
      const messages = (await rows.messages()).filter(({ id }) => ids.includes(id));
      assert.equal(messages.length, 100);
      assert.ok(messages.every(({ status }) => status === 'PARSED'));
      assert.equal((await rows.documents()).length, 100);
    });
    await t.test('smtp-source: a hundred sessions, three hundred mails', async (t) => {
      if (SMTP_SOURCE === null) return missing(t, 'smtp-source', 'apt-get install postfix');
      const before = (await rows.messages()).length;
      await sendBySmtpSource(ingest, { mails: 300, sessions: 100, bytes: 5_000 });
      assert.equal((await rows.messages()).length, before + 300);
      await rows.settled(60_000);
    });
  });

  await t.test('Process email with 10 attachments', async () => {
    const files = randomFiles(10, 50_000);
    const { documents } = await ingest.take(mailWith(files));
    assertSameItems(
      documents.map(({ file_name, sha256, size_bytes }) => [file_name, sha256, size_bytes]),
      files.map(({ name, content }) => [name, sha256(content), content.length]),
      'ten documents',
    );
  });

  await t.test('Process 25MB email (max size)', async () => {
    // Base64 makes four bytes of three, and 78 of 76.
    const files = randomFiles(10, Math.floor((LIMIT_BYTES * 0.999 * 3 * 76) / (4 * 78 * 10)));
    const data = mailWith(files);
    assert.ok(data.length > LIMIT_BYTES * 0.99 && data.length <= LIMIT_BYTES, String(data.length));
    const { message, documents } = await ingest.take(data);
    assert.deepEqual([message.status, message.raw_sha256], ['PARSED', sha256(data)]);
    assert.deepEqual(
      documents.map(({ sha256 }) => sha256).toSorted(),
      files.map(({ content }) => sha256(content)).toSorted(),
    );
  });

  await t.test('SC-001: SMTP response time <5 seconds (P95)', async (t) => {
    const p95 = replyTimesMs.toSorted((a, b) => a - b)[Math.ceil(replyTimesMs.length * 0.95) - 1] ?? Infinity;
    t.diagnostic(`P95 of 100 concurrent mails, connection to reply: ${Math.round(p95)} ms`);
    assert.equal(replyTimesMs.length, 100);
    assert.ok(p95 < DEADLINE_MS, `${p95} ms`);
    const all = await ingest.metric('smtp_ack_duration_seconds_count');
    const inTime = await ingest.metric('smtp_ack_duration_seconds_bucket', { le: String(DEADLINE_MS / 1000) });
    assert.ok(all >= 100 && inTime >= all * 0.95, `${inTime} of ${all} acknowledged in time`);
  });

  await t.test('Attachment extraction throughput (attachments per second)', async (t) => {
    const files = randomFiles(10, 20_000);
    const extracted = () => ingest.metric('smtp_attachment_extraction_duration_ms_count');
    const before = await extracted();
    const begun = performance.now();
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => ingest.send({ data: mailWith(files) })));
    await rows.settled();
    const seconds = (performance.now() - begun) / 1000;
    t.diagnostic(`${Math.round(200 / seconds)} attachments of 20 KB a second, from connection to PARSED`);
    assert.equal(new Set(verdicts.map(acceptedId)).size, 20);
    assert.equal(await extracted(), before + 200, 'each attachment is measured');
  });

  await t.test('SC-005, SC-006: nothing of all that was lost', async () => {
    const documents = await rows.documents();
    assert.equal(documents.length, 100 + 10 + 10 + 200);
    assert.ok(documents.every(({ status, error_json }) => status === 'STORED' && error_json === null));
    assert.equal((await rows.jobs('extract_document')).length, documents.length);
    await objects.assertMatchRows(rows);
  });
});

function randomFiles(count: number, sizeBytes: number): readonly OrderFile[] {
  return Array.from({ length: count }, (_, index) => ({
    path: '',
    name: `order-${index + 1}.pdf`,
    type: 'application/pdf',
    content: Buffer.concat([Buffer.from('%PDF-1.7\n'), randomBytes(sizeBytes - 9)]),
  }));
}
