/** The statements behind a 250. Spec: FR-006, FR-008, FR-013, TC-003 */
import type pg from 'pg';
import type { MessageStore, NewMessage, Recorded } from '../../ports/message-store.ts';
import { RecordError } from '../../ports/message-store.ts';
import { CommitUnknownError, inOneStatement, inTransaction, isServerError } from './pool.ts';
import { storableJson, storableText } from './text.ts';
import { onceMoreElsewhere } from './wrong-server.ts';

/**
 * A 250 rests on this commit being on disk: a server, database or login set to `synchronous_commit = off` for other reasons
 * does not weaken it. Any other setting waits for the disk at least, and stays. It holds until the transaction ends.
 */
const WAIT_FOR_THE_DISK = `
  SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`;

/** Of the digests that are written; rows of an earlier version are compared by theirs. */
const CONTENT_DIGEST_VERSION = 2;

/**
 * One row per message that is not there yet, one job per new row. A row whose identity is taken, by an earlier mail or by
 * one of this very statement, is left out of the answer. Arrays keep the statement the same for any number of rows, so
 * that it is planned once per connection.
 */
const insert = (payload: string, notes: string | null = null): string => `
  WITH inserted AS (
    INSERT INTO inbound_message (
      id, org_id, source, source_message_id, message_id_synthetic, from_email, to_email, subject, received_at,
      raw_storage_key, status, trace_id, size_bytes, raw_sha256, content_sha256, header_from, header_to, header_date,
      remote_address, helo_name, tls_version, tls_cipher, reverse_path,
      content_digest_version${notes === null ? '' : ', notes_json'})
    SELECT id, org_id, 'EMAIL', source_message_id, message_id_synthetic, from_email, to_email, subject, received_at,
      raw_storage_key, 'RECEIVED', trace_id, size_bytes, raw_sha256, content_sha256, header_from, header_to, header_date,
      remote_address, helo_name, tls_version, tls_cipher, reverse_path,
      ${CONTENT_DIGEST_VERSION}${notes === null ? '' : `, ${notes}`}
    FROM unnest(
      $1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
      $9::text[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::timestamptz[],
      $17::text[], $18::text[], $19::text[], $20::text[], $21::text[]
    ) AS message (
      id, org_id, source_message_id, message_id_synthetic, from_email, to_email, subject, received_at,
      raw_storage_key, trace_id, size_bytes, raw_sha256, content_sha256, header_from, header_to, header_date,
      remote_address, helo_name, tls_version, tls_cipher, reverse_path)
    ON CONFLICT (org_id, source, source_message_id) WHERE source_message_id IS NOT NULL DO NOTHING
    RETURNING id, org_id, trace_id
  ), jobs AS (
    SELECT count(job.id) FROM (
      SELECT array_agg((
        'extract_attachments',
        ${payload},
        NULL, NULL, NULL, NULL, NULL, NULL
      )::graphile_worker.job_spec) AS specs
      FROM inserted HAVING count(*) > 0
    ) AS wanted, graphile_worker.add_jobs(wanted.specs) AS job
  )
  SELECT id, (SELECT count FROM jobs) AS jobs, (${WAIT_FOR_THE_DISK}) AS pinned FROM inserted`;

const PAYLOAD = `'inbound_message_id', id, 'org_id', org_id, 'trace_id', trace_id`;
const INSERT = insert(`json_build_object(${PAYLOAD})`);
const TRACED_PAYLOAD = `json_build_object(${PAYLOAD}, 'traceparent', $22::jsonb ->> trace_id)`;
/** A statement of its own, so that tracing costs nothing where it is off. */
const INSERT_TRACED = insert(TRACED_PAYLOAD);
/** For the few that come with notes, traced or not. */
const INSERT_NOTED = insert(`json_strip_nulls(${TRACED_PAYLOAD})`, '$23::jsonb -> trace_id');

const FIND_TAKEN = `
  SELECT message.id, message.org_id, message.source_message_id, message.content_sha256, message.content_digest_version
  FROM unnest($1::uuid[], $2::text[]) AS wanted (org_id, source_message_id)
  JOIN inbound_message AS message
    ON message.org_id = wanted.org_id AND message.source = 'EMAIL'
    AND message.source_message_id = wanted.source_message_id`;

/** A conflict that was kept before, also with a digest of version 1, answers with the row that keeps it. */
const KEEP_CONFLICT = `
  WITH earlier AS (
    SELECT id FROM inbound_conflict
    WHERE inbound_message_id = $3 AND content_digest_version = 1 AND content_sha256 = $13
  ), kept AS (
    INSERT INTO inbound_conflict (
      id, org_id, inbound_message_id, raw_storage_key, content_sha256, from_email, to_email, subject, received_at, trace_id,
      size_bytes, raw_sha256, content_digest_version)
    SELECT $1::uuid, $2::uuid, $3::uuid, $4, $5, $6, $7, $8, $9::timestamptz, $10, $11::bigint, $12,
      ${CONTENT_DIGEST_VERSION} WHERE NOT EXISTS (SELECT FROM earlier)
    ON CONFLICT (inbound_message_id, content_sha256) DO UPDATE SET content_sha256 = excluded.content_sha256
    RETURNING id
  )
  SELECT id FROM earlier UNION ALL SELECT id FROM kept`;

export function createPostgresMessageStore({ pool }: { readonly pool: pg.Pool }): MessageStore {
  return {
    async record(envelopes) {
      try {
        const single = envelopes.every(({ length }) => length === 1);
        return await onceMoreElsewhere(() =>
          single ? recordSingles(pool, envelopes.flat()) : recordTogether(pool, envelopes),
        );
      } catch (error) {
        throw asRecordError(error);
      }
    },
  };
}

/** An envelope of one row needs one statement, and a statement is a transaction: one turn to the database, not three. */
async function recordSingles(
  pool: pg.Pool,
  messages: readonly NewMessage[],
): Promise<readonly (readonly Recorded[] | RecordError)[]> {
  const inserted = idsOf(await inOneStatement<{ id: string }>(pool, insertion(messages)));
  const taken = messages.filter(({ id }) => !inserted.has(id));
  // From here on the others are committed, and a failure is about the taken ones alone.
  const settled = await settleApart(pool, taken);
  return messages.map(({ id }) => (inserted.has(id) ? [{ outcome: 'accepted', id }] : required(settled.get(id))));
}

async function settleApart(
  pool: pg.Pool,
  taken: readonly NewMessage[],
): Promise<ReadonlyMap<string, readonly Recorded[] | RecordError>> {
  if (taken.length === 0) return new Map();
  const envelopes = taken.map((message) => [message]);
  const settled = await recordTogether(pool, envelopes).catch((error: unknown) =>
    taken.map(() => asRecordError(error)),
  );
  return new Map(taken.map(({ id }, index) => [id, required(settled[index])]));
}

function recordTogether(
  pool: pg.Pool,
  envelopes: readonly (readonly NewMessage[])[],
): Promise<readonly (readonly Recorded[])[]> {
  return inTransaction(
    pool,
    async (client) => {
      const recorded = await recordMessages(client, envelopes.flat());
      // Before the commit: whatever fails after it must not look like "nothing was written".
      return envelopes.map((envelope) => envelope.map((message) => required(recorded.get(message.id))));
    },
    `BEGIN; ${WAIT_FOR_THE_DISK}`,
  );
}

async function recordMessages(client: pg.PoolClient, messages: readonly NewMessage[]): Promise<Map<string, Recorded>> {
  if (messages.length === 0) return new Map();
  const inserted = idsOf(await client.query<{ id: string }>(insertion(messages)));
  const recorded = new Map<string, Recorded>([...inserted].map((id) => [id, { outcome: 'accepted', id }]));
  const taken = messages.filter(({ id }) => !recorded.has(id));
  if (taken.length > 0) await settleTaken(client, taken, recorded);
  return recorded;
}

function insertion(messages: readonly NewMessage[]): pg.QueryConfig {
  const ordered = inLockOrder(messages);
  const values = columns(ordered);
  const noted = ordered.some(({ notes }) => notes !== undefined);
  if (!noted && ordered[0]?.traceparent === undefined) return { name: 'insert-inbound-messages', text: INSERT, values };
  const byTrace = (value: (message: NewMessage) => unknown): string | null =>
    storableJson(Object.fromEntries(ordered.map((message) => [message.traceId, value(message)])));
  const traced = [...values, byTrace(({ traceparent }) => traceparent)];
  return noted
    ? { name: 'insert-noted-messages', text: INSERT_NOTED, values: [...traced, byTrace(({ notes }) => notes)] }
    : { name: 'insert-traced-messages', text: INSERT_TRACED, values: traced };
}

const idsOf = ({ rows }: pg.QueryResult<{ id: string }>): ReadonlySet<string> => new Set(rows.map(({ id }) => id));

/** Same identity: a duplicate when the content is the same too, else a conflict, kept aside. */
async function settleTaken(
  client: pg.PoolClient,
  taken: readonly NewMessage[],
  recorded: Map<string, Recorded>,
): Promise<void> {
  const { rows } = await client.query<TakenRow>({
    name: 'find-taken-messages',
    text: FIND_TAKEN,
    values: [taken.map(({ orgId }) => orgId), taken.map((message) => storableText(message.sourceMessageId))],
  });
  const earlier = new Map(rows.map((row) => [identity(row.org_id, row.source_message_id), row]));
  for (const message of taken) {
    const first = earlier.get(identity(message.orgId, storableText(message.sourceMessageId)));
    if (first === undefined) throw new Error('a message was refused as taken, and nothing has taken it');
    recorded.set(
      message.id,
      first.content_sha256 === digestOf(message, first.content_digest_version)
        ? { outcome: 'duplicate', id: first.id }
        : await keepConflict(client, message, first.id),
    );
  }
}

async function keepConflict(client: pg.PoolClient, message: NewMessage, takenBy: string): Promise<Recorded> {
  const { rows } = await client.query<{ id: string }>(KEEP_CONFLICT, [
    message.id,
    message.orgId,
    takenBy,
    message.rawStorageKey,
    message.contentSha256,
    storableText(message.fromEmail),
    storableText(message.toEmail),
    storableText(message.subject),
    message.receivedAt,
    message.traceId,
    message.sizeBytes,
    message.rawSha256,
    message.contentSha256V1,
  ]);
  const id = required(rows[0]).id;
  return { outcome: id === message.id ? 'conflict' : 'duplicate', id };
}

/** Null, which is equal to none, for a version that only a newer release knows: its mail is kept aside. */
function digestOf(message: NewMessage, version: number): string | null {
  if (version === 1) return message.contentSha256V1;
  return version === CONTENT_DIGEST_VERSION ? message.contentSha256 : null;
}

interface TakenRow {
  readonly id: string;
  readonly org_id: string;
  readonly source_message_id: string;
  readonly content_sha256: string | null;
  readonly content_digest_version: number;
}

/** Two processes that record the same mails in other orders would wait for each other for ever; in one order they queue. */
function inLockOrder(messages: readonly NewMessage[]): readonly NewMessage[] {
  const key = (message: NewMessage): string => identity(message.orgId, message.sourceMessageId);
  return messages.length === 1
    ? messages
    : messages.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

/** The order of the parameters of INSERT. */
function columns(messages: readonly NewMessage[]): unknown[] {
  const column = (value: (message: NewMessage) => unknown): unknown[] => messages.map(value);
  const text = (value: (message: NewMessage) => string | null): unknown[] => column((m) => storableText(value(m)));
  return [
    column((m) => m.id),
    column((m) => m.orgId),
    text((m) => m.sourceMessageId),
    column((m) => m.messageIdSynthetic),
    text((m) => m.fromEmail),
    text((m) => m.toEmail),
    text((m) => m.subject),
    column((m) => m.receivedAt),
    column((m) => m.rawStorageKey),
    column((m) => m.traceId),
    column((m) => m.sizeBytes),
    column((m) => m.rawSha256),
    column((m) => m.contentSha256),
    text((m) => m.headerFrom),
    text((m) => m.headerTo),
    column((m) => m.headerDate),
    column((m) => m.remoteAddress),
    text((m) => m.heloName),
    column((m) => m.tlsVersion),
    column((m) => m.tlsCipher),
    text((m) => m.reversePath),
  ];
}

function asRecordError(error: unknown): RecordError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CommitUnknownError) return new RecordError('outcome-unknown', message, { cause: error });
  // Classes 22 (data) and 23 (integrity) judge the rows themselves; everything else may pass.
  if (isServerError(error) && /^2[23]/.test(error.code)) return new RecordError('refused', message, { cause: error });
  return new RecordError('unavailable', message, { cause: error });
}

const identity = (orgId: string, sourceMessageId: string): string => `${orgId}\n${sourceMessageId}`;

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the database answered fewer rows than it was given');
  return value;
}
