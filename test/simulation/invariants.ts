/** What is true at every moment, and what is true when all is quiet. Each is read from tables and disks alone. */
import { createHash } from 'node:crypto';
import type { ConflictRow, DocumentRow, MessageRow } from '../../src/testing/memory/database.ts';
import type { House } from './house.ts';
import type { SimulatedMail } from './mails.ts';

export class Violation extends Error {
  override readonly name = 'Violation';
}

const checked = new WeakMap<House, string>();

export function assertAlways(house: House): void {
  const state = `${house.database.changes} ${house.home.changes} ${house.ledger.length} ${house.forgetful}`;
  if (checked.get(house) === state) return;
  checked.set(house, state);
  const { messages, conflicts, documents } = house.database.tables;
  const raws = [...messages.all(), ...conflicts.all()];
  for (const row of raws) rightMail(house, row);
  once(
    raws.map(({ orgId, rawSha256 }) => `${orgId} ${rawSha256}`),
    'a mail has two rows in one organisation',
  );
  for (const document of documents.all()) rightDocument(house, document);
  const waiting = new Set(
    house.database.tables.jobs
      .all()
      .filter(({ task }) => task === 'extract_attachments')
      .map(({ payload }) => payload.inbound_message_id),
  );
  for (const row of messages.all()) rightStatus(house, row, waiting.has(row.id));
  rightJobs(house);
  if (!house.forgetful) for (const { mail, ids } of house.ledger) acknowledgedIsThere(house, mail, ids);
}

function once(keys: readonly string[], what: string): void {
  if (new Set(keys).size !== keys.length) throw new Violation(what);
}

type RawRow = Pick<MessageRow, 'id' | 'orgId' | 'rawStorageKey' | 'rawSha256' | 'notes'> | ConflictRow;

const isRedelivered = ({ notes }: RawRow): boolean => notes?.some(({ code }) => code === 'redelivered') ?? false;

function rightMail({ bySha, home }: House, row: RawRow): void {
  const mail = bySha.get(row.rawSha256);
  if (mail === undefined) throw new Violation(`row ${row.id} is of no mail that was sent`);
  // Handed in again after a restore, blocks are not asked: docs/operations.md.
  const wanted = isRedelivered(row) ? mail.to.some(({ id }) => id === row.orgId) : mail.for.has(row.orgId);
  if (!wanted) throw new Violation(`${mail.name} is in ${row.orgId}, which it was not for`);
  if (!row.rawStorageKey.startsWith(`${row.orgId}/`)) throw new Violation(`row ${row.id} names another's object`);
  onDisk(home.readSynced(row.rawStorageKey)?.bytes, row.rawSha256, `raw mail of row ${row.id}`);
}

const digests = new WeakMap<Buffer, string>();

function onDisk(bytes: Buffer | undefined, sha256: string | null, what: string): void {
  if (bytes === undefined) throw new Violation(`${what}: no durable object`);
  const known = digests.get(bytes) ?? createHash('sha256').update(bytes).digest('hex');
  digests.set(bytes, known);
  if (known !== sha256) throw new Violation(`${what}: other bytes`);
}

function rightDocument({ database, home }: House, document: DocumentRow): void {
  const { id, orgId, storageKey, sha256, status } = document;
  const message = database.tables.messages.get(document.inboundMessageId);
  if (message?.orgId !== orgId) throw new Violation(`document ${id} is of another organisation than its message`);
  // RE-002: after five attempts a part is given up alone, and that is told.
  if (status === 'FAILED' && document.error?.code === 'gave-up' && storageKey === null) return;
  if (status === 'FAILED') throw new Violation(`document ${id} is FAILED: ${document.error?.code}`);
  if (!storageKey?.startsWith(`${orgId}/`)) throw new Violation(`document ${id} names another's object`);
  onDisk(home.readSynced(storageKey)?.bytes, sha256, `document ${id}`);
}

function rightStatus({ database, bySha, queue, queueForgot }: House, row: MessageRow, hasJob: boolean): void {
  const own = database.tables.documents.all().filter(({ inboundMessageId }) => inboundMessageId === row.id);
  if (row.status === 'FAILED') throw new Violation(`message ${row.id} is FAILED: ${row.error?.code}`);
  if (row.status !== 'PARSED') {
    if (!hasJob) throw new Violation(`message ${row.id} is ${row.status} and has no job`);
    if (own.length > 0) throw new Violation(`message ${row.id} is ${row.status} and has documents`);
    return;
  }
  const found = own.flatMap(({ sha256 }) => sha256 ?? []);
  const expected = bySha.get(row.rawSha256)?.documents ?? [];
  if (own.length !== expected.length || !found.every((sha256) => expected.includes(sha256))) {
    throw new Violation(`message ${row.id} is PARSED with ${found.length} of ${expected.length} documents`);
  }
  for (const { id, status } of own) {
    const handedOn =
      queue.rows.has(id) || database.tables.jobs.all().some(({ key }) => key === `extract_document:${id}`);
    if (status === 'STORED' && !handedOn && !queueForgot) throw new Violation(`document ${id} has no job anywhere`);
  }
}

function rightJobs({ database, queue }: House): void {
  const { jobs, messages, documents } = database.tables;
  const owner = (payload: Readonly<Record<string, unknown>>): string | undefined =>
    messages.get(String(payload.inbound_message_id))?.orgId ?? documents.get(String(payload.document_id))?.orgId;
  for (const { payload } of [...jobs.all(), ...queue.rows.values()]) {
    const orgId = owner(payload);
    if (orgId !== undefined && orgId !== payload.org_id)
      throw new Violation(`a job for ${payload.org_id} is about ${orgId}'s`);
  }
  const keys = jobs.all().flatMap(({ key }) => (key === null ? [] : [key]));
  once(keys, 'a document has two jobs waiting');
}

function acknowledgedIsThere({ database }: House, mail: SimulatedMail, ids: readonly string[]): void {
  const { messages, conflicts } = database.tables;
  const rows: readonly RawRow[] = [...messages.all(), ...conflicts.all()].filter(
    ({ rawSha256 }) => rawSha256 === mail.sha256,
  );
  for (const orgId of mail.for) {
    if (!rows.some((row) => row.orgId === orgId))
      throw new Violation(`${mail.name} got its 250 and has no row in ${orgId}`);
  }
  if (ids.length !== mail.for.size) throw new Violation(`${mail.name}: the 250 names ${ids.length} rows`);
}

/** Nothing more is to come: all was taken, all was read, all was handed on, and nothing lies about. */
export function assertQuiet(house: House): void {
  const { database, ledger, mails } = house;
  const told = new Set(ledger.map(({ mail }) => mail));
  for (const mail of mails) {
    if (!told.has(mail)) throw new Violation(`${mail.name} never got a 250`);
    acknowledgedIsThere(house, mail, Array(mail.for.size).fill(''));
  }
  const unread = unfinished(house);
  if (unread !== null) throw new Violation(unread);
  const { messages, conflicts, documents } = database.tables;
  const named = new Set([
    ...messages.all().map(({ rawStorageKey }) => rawStorageKey),
    ...conflicts.all().map(({ rawStorageKey }) => rawStorageKey),
    ...documents.all().map(({ storageKey }) => storageKey),
  ]);
  for (const key of house.home.keys()) if (!named.has(key)) throw new Violation(`${key} is nobody's and stays`);
}

/** What still has to happen; null: nothing. */
export function unfinished({ database, queue }: House): string | null {
  const { messages, documents, jobs } = database.tables;
  const open = messages.all().find(({ status }) => status !== 'PARSED');
  if (open !== undefined) return `message ${open.id} is still ${open.status}`;
  const [job] = jobs.all();
  if (job !== undefined) return `job ${job.id} (${job.task}) is still there: ${job.lastError}`;
  const stored = documents.all().find(({ status }) => status !== 'EXTRACTED' && status !== 'FAILED');
  if (stored !== undefined)
    return `document ${stored.id} is still ${stored.status}, in the queue ${queue.rows.get(stored.id)?.state}`;
  return null;
}
