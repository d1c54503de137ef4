/** Rows and their objects for tests of `reconcile --verify`: every kind, whole until a test damages it. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type pg from 'pg';
import { createPostgresMessageStore } from '../adapters/postgres/message-store.ts';
import { addOrganisation, newMessage, record } from './postgres-fixtures.ts';

export interface StoredRow {
  readonly id: string;
  readonly orgId: string;
  readonly key: string;
  readonly bytes: Buffer;
}

export type PutObject = (key: string, bytes: Buffer) => Promise<void>;

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Mails of this status with their objects, in order of id. */
export async function storeMails(
  pool: pg.Pool,
  put: PutObject,
  o: { readonly orgId: string; readonly count: number; readonly sizeBytes?: number; readonly status?: string },
): Promise<readonly StoredRow[]> {
  const mails = Array.from({ length: o.count }, () => {
    const bytes = randomBytes(o.sizeBytes ?? 2_000);
    const message = newMessage(o.orgId, { sizeBytes: bytes.length, rawSha256: sha256Of(bytes) });
    return { message, row: { id: message.id, orgId: o.orgId, key: message.rawStorageKey, bytes } };
  });
  for (const { row } of mails) await put(row.key, row.bytes);
  await record(
    createPostgresMessageStore({ pool }),
    mails.map(({ message }) => [message]),
  );
  const ids = mails.map(({ row }) => row.id);
  const steps = { RECEIVED: [], PARSED: ['STORED', 'PARSED'], FAILED: ['FAILED'] }[o.status ?? 'PARSED'] ?? [];
  for (const step of steps) await pool.query('UPDATE inbound_message SET status = $2 WHERE id = ANY ($1)', [ids, step]);
  return mails.map(({ row }) => row).sort((one, other) => (one.id < other.id ? -1 : 1));
}

export async function storeDocument(
  pool: pg.Pool,
  put: PutObject,
  mail: StoredRow,
  status = 'STORED',
): Promise<StoredRow> {
  const [id, bytes] = [randomUUID(), randomBytes(2_000)];
  const key = `${mail.orgId}/2026/03/${id}.pdf`;
  await put(key, bytes);
  await pool.query(
    `INSERT INTO document (id, org_id, inbound_message_id, file_name, mime_type, size_bytes, sha256, storage_key, status, part_path)
     VALUES ($1::uuid, $2, $3, 'a.pdf', 'application/pdf', $4, $5, $6, $7, $1::uuid::text)`,
    [id, mail.orgId, mail.id, bytes.length, sha256Of(bytes), key, status],
  );
  return { id, orgId: mail.orgId, key, bytes };
}

export async function storeConflict(pool: pg.Pool, put: PutObject, mail: StoredRow): Promise<StoredRow> {
  const [id, bytes] = [randomUUID(), randomBytes(2_000)];
  const key = `${mail.orgId}/2026/03/${id}.eml`;
  await put(key, bytes);
  await pool.query(
    `INSERT INTO inbound_conflict (id, org_id, inbound_message_id, raw_storage_key, content_sha256, received_at, size_bytes, raw_sha256)
     VALUES ($1::uuid, $2, $3, $4, $1::uuid::text, now(), $5, $6)`,
    [id, mail.orgId, mail.id, key, bytes.length, sha256Of(bytes)],
  );
  return { id, orgId: mail.orgId, key, bytes };
}

/** One of each kind: a mail that was read, one that FAILED, a conflict, a document. */
export async function storeOneOfEach(pool: pg.Pool, put: PutObject) {
  const orgId = await addOrganisation(pool, 'acme');
  const [parsed] = await storeMails(pool, put, { orgId, count: 1 });
  const [failed] = await storeMails(pool, put, { orgId, count: 1, status: 'FAILED' });
  if (parsed === undefined || failed === undefined) throw new Error('no mail was stored');
  const conflict = await storeConflict(pool, put, parsed);
  return { orgId, parsed, failed, conflict, document: await storeDocument(pool, put, parsed) };
}

/** The same size, another digest: one bit of rot. */
export function rotten(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}
