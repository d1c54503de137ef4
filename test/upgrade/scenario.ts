/**
 * One of everything that this version writes and reads, through its own code: rows in every table and in every status,
 * jobs that wait. Names are unique, so that it can run any number of times on one database.
 */
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import type pg from 'pg';
import { createPostgresExtractionStore } from '../../src/adapters/postgres/extraction-store.ts';
import { readDatabaseCounts } from '../../src/adapters/postgres/gauges.ts';
import { createPostgresMessageStore } from '../../src/adapters/postgres/message-store.ts';
import { createPostgresMessageViews } from '../../src/adapters/postgres/message-views.ts';
import { createPostgresBlockList, createPostgresOrganisations } from '../../src/adapters/postgres/organisations.ts';
import type { ExtractionResult, NewDocument } from '../../src/ports/extraction-store.ts';
import type { NewMessage } from '../../src/ports/message-store.ts';
import { newMessage, record } from '../../src/testing/postgres-fixtures.ts';

export async function oneOfEverything(pool: pg.Pool): Promise<void> {
  const acme = await organisation(pool);
  const globex = await organisation(pool);
  await blockedSenders(pool, acme);
  await mailsTaken(pool, acme, globex);
  await mailsRead(pool, acme);
  await readDatabaseCounts(pool);
}

async function organisation(pool: pg.Pool): Promise<string> {
  const organisations = createPostgresOrganisations({ pool });
  const slug = `org-${randomUUID()}`;
  const added = await organisations.add(slug, 'An organisation');
  assert.ok('id' in added);
  await organisations.findBySlug(slug);
  await organisations.list();
  return added.id;
}

async function blockedSenders(pool: pg.Pool, orgId: string): Promise<void> {
  const blocks = createPostgresBlockList({ pool });
  const domain = `@${randomUUID()}.example`;
  await blocks.block(domain, null);
  await blocks.block(domain, orgId);
  await blocks.block(`spam${domain}`, orgId);
  await blocks.unblock(`spam${domain}`, orgId);
  await blocks.blockedBy(`spam${domain}`);
  await blocks.listBlocked();
}

/** New, to two organisations, again, and with a Message-ID that is taken; each of these rows stays RECEIVED. */
async function mailsTaken(pool: pg.Pool, acme: string, globex: string): Promise<void> {
  const store = createPostgresMessageStore({ pool });
  const mail = newMessage(acme);
  const receivedAt = new Date('2026-03-02T10:00:00Z'); // Lists are in this order.
  const nothing = { fromEmail: null, subject: null, headerDate: null, heloName: null };
  const { id: _, ...both } = newMessage(acme, { receivedAt, ...nothing });
  await store.record([[mail], [newMessage(acme, both), newMessage(globex, both)]]);
  const again = newMessage(acme, { sourceMessageId: mail.sourceMessageId });
  const other = newMessage(acme, { sourceMessageId: mail.sourceMessageId, contentSha256: sha256('other') });
  const outcomes = (await record(store, [[again], [other]])).flat().map(({ outcome }) => outcome);
  assert.deepEqual(outcomes, ['duplicate', 'conflict']);
  const views = createPostgresMessageViews({ pool });
  await views.listMessages({ orgId: acme, limit: 10 });
  await views.findMessage(mail.id, acme);
  await views.findMessage(mail.id);
}

/** One whose worker was cut off (STORED), one PARSED with documents in every status, one FAILED. */
async function mailsRead(pool: pg.Pool, orgId: string): Promise<void> {
  const store = createPostgresMessageStore({ pool });
  const extraction = createPostgresExtractionStore({ pool });
  const taken = async (): Promise<NonNullable<Awaited<ReturnType<typeof extraction.take>>>> => {
    const mail: NewMessage = newMessage(orgId);
    await store.record([[mail]]);
    return (await extraction.take(mail.id, orgId)) ?? assert.fail('the message is not there');
  };
  await taken();
  const documents = Array.from({ length: 5 }, (_, index) => document(orgId, index));
  const parts: ExtractionResult['parts'] = [
    {
      path: '1',
      mediaType: 'application/pdf',
      fileName: 'order.pdf',
      disposition: 'attachment',
      sizeBytes: 17,
      decision: 'document',
      reason: 'attachment',
      notes: ['base64-cut'],
    },
  ];
  const notes = [{ code: 'base64-cut', part: '1', text: 'order.pdf: base64 that stops in the middle' }];
  const reading = { parserVersion: 1, notes };
  const finished = await extraction.finish(await taken(), { documents, parts, reading, failure: null });
  assert.equal(finished, true);
  // The next stage.
  for (const [index, status] of (['PROCESSING', 'EXTRACTED', 'UPLOADED'] as const).entries())
    await pool.query('UPDATE document SET status = $2 WHERE id = $1', [documents[index]?.id, status]);
  const failure = { code: 'limit-exceeded', message: 'too deep', limit: 'maxDepth' } as const;
  await extraction.finish(await taken(), { documents: [], parts: [], reading: null, failure });
}

/** The last one could not be stored. */
function document(orgId: string, index: number): NewDocument {
  const id = randomUUID();
  const stored = index < 4;
  return {
    id,
    partPath: String(index + 1),
    fileName: `order-${index}.pdf`,
    mimeType: 'application/pdf',
    declaredMimeType: null,
    sizeBytes: stored ? 17 : null,
    sha256: stored ? sha256(id) : null,
    storageKey: stored ? `${orgId}/2026/03/${id}.pdf` : null,
    status: stored ? 'STORED' : 'FAILED',
    error: stored ? null : { code: 'limit-exceeded', message: 'too large' },
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
