/** What tests of the tables begin with: a migrated database of their own, an organisation or two, a message. */
import { createHash, randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import type pg from 'pg';
import pino from 'pino';
import { createPool } from '../adapters/postgres/pool.ts';
import { type MessageStore, type NewMessage, RecordError, type Recorded } from '../ports/message-store.ts';
import { cleanUp } from './clean-up.ts';
import { createTestDatabase } from './database.ts';

export interface TestPool {
  readonly pool: pg.Pool;
  readonly url: string;
}

/** A migrated database and connections to it, gone when the test is over. */
export async function openTestPool(t: TestContext): Promise<TestPool> {
  const { close, ...opened } = await createTestPool();
  cleanUp(t, close);
  return opened;
}

/** The same for a whole suite, whose `after` closes it. */
export async function createTestPool(): Promise<TestPool & { close(): Promise<void> }> {
  const database = await createTestDatabase();
  const pool = createPool({
    url: database.url,
    applicationName: 'test',
    maxConnections: 8,
    log: pino({ level: 'silent' }),
  });
  return {
    pool,
    url: database.url,
    async close() {
      await pool.end();
      await database.close();
    },
  };
}

export async function addOrganisation(pool: pg.Pool, slug: string): Promise<string> {
  const { rows } = await pool.query<{ id: string }>('INSERT INTO org (slug, name) VALUES ($1, $1) RETURNING id', [
    slug,
  ]);
  return rows[0]?.id ?? assertNever();
}

export function newMessage(orgId: string, over: Partial<NewMessage> = {}): NewMessage {
  const id = randomUUID();
  return {
    id,
    orgId,
    sourceMessageId: `<${id}@buyer.example>`,
    messageIdSynthetic: false,
    reversePath: 'Buyer@Example.com',
    fromEmail: 'Buyer@Example.com',
    toEmail: 'orders+acme@orderflow.example.com',
    subject: 'Order 4711',
    receivedAt: new Date('2026-03-01T10:00:00Z'),
    rawStorageKey: `${orgId}/2026/03/${id}.eml`,
    traceId: '0af7651916cd43dd8448eb211c80319c',
    sizeBytes: 1234,
    rawSha256: createHash('sha256').update(id).digest('hex'),
    contentSha256: createHash('sha256').update('fields and content').digest('hex'),
    contentSha256V1: createHash('sha256').update('content').digest('hex'),
    headerFrom: 'Buyer <buyer@example.com>',
    headerTo: 'orders@example.com',
    headerDate: new Date('2026-03-01T09:59:00Z'),
    remoteAddress: '127.0.0.1',
    heloName: 'client.example',
    tlsVersion: 'TLSv1.3',
    tlsCipher: 'TLS_AES_256_GCM_SHA384',
    ...over,
  };
}

function assertNever(): never {
  throw new Error('the database answered no row');
}

/** What became of every message of every envelope; throws where an envelope was not recorded. */
export async function record(
  store: MessageStore,
  envelopes: readonly (readonly NewMessage[])[],
): Promise<readonly (readonly Recorded[])[]> {
  return (await store.record(envelopes)).map((recorded) => {
    if (recorded instanceof RecordError) throw recorded;
    return recorded;
  });
}
