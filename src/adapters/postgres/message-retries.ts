/** See migrations/0007: the trigger lets a message out of FAILED only beside an entry of the same transaction. */
import type pg from 'pg';
import type { MessageRetries, RetryRequest } from '../../ports/message-retries.ts';
import { HELD } from '../graphile/queue-indexes.ts';
import { inTransaction } from './pool.ts';
import { storableText } from './text.ts';

/** One transaction holds so many at most. */
const AT_ONCE = 1_000;

/** Locked: who comes second at the same time sees that they are FAILED no more. */
const FAILED = `
  SELECT id, org_id AS "orgId" FROM inbound_message
  WHERE status = 'FAILED' AND ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR org_id = $2)
    AND ($3::text IS NULL OR error_json->>'code' = $3) AND ($4::uuid IS NULL OR id > $4)
  ORDER BY id LIMIT ${AT_ONCE} FOR UPDATE`;

const AUDIT = `
  INSERT INTO audit_log (actor, action, target, org_id, count)
  SELECT $1, 'message.retry', $2, org_id, count(*) FROM unnest($3::uuid[]) AS org_id GROUP BY org_id`;

/**
 * As if it had never been read; notes from before that (`field-unstorable`, `redelivered`) stay, see FINISH in extraction-store.ts. Its
 * documents stay as well: those that are found again have the same ids, and are handed on once.
 */
const PUT_BACK = `
  UPDATE inbound_message SET status = 'RECEIVED', error_json = NULL, parts_json = NULL, parser_version = NULL,
    notes_json = (SELECT jsonb_agg(note) FROM jsonb_array_elements(notes_json) AS note WHERE note->>'code' IN ('field-unstorable', 'redelivered'))
  WHERE id = ANY ($1) RETURNING id, org_id, trace_id`;

const ADD_JOBS = `
  WITH back AS (${PUT_BACK})
  SELECT count(*) FROM (
    SELECT array_agg((
      'extract_attachments',
      json_build_object('inbound_message_id', id, 'org_id', org_id, 'trace_id', coalesce(trace_id, '')),
      NULL, NULL, NULL, NULL, NULL, NULL
    )::graphile_worker.job_spec) AS specs FROM back HAVING count(*) > 0
  ) AS wanted, graphile_worker.add_jobs(wanted.specs)`;

/** A job without attempts that was given up and is not forgotten yet would give the message up once more. */
const FORGET_EXHAUSTED = `
  DELETE FROM graphile_worker._private_jobs AS job USING graphile_worker._private_tasks AS task
  WHERE task.id = job.task_id AND task.identifier = 'extract_attachments' AND ${HELD}
    AND job.attempts >= job.max_attempts AND job.locked_at IS NULL AND job.payload->>'inbound_message_id' = ANY ($1)`;

export function createPostgresMessageRetries({ pool }: { readonly pool: pg.Pool }): MessageRetries {
  return {
    async retry(request) {
      const all: string[] = [];
      // Of very many, each thousand is a transaction of its own. One that fails again meanwhile is not met a second time.
      for (;;) {
        const ids = await inTransaction(pool, (client) => retrySome(client, request, all.at(-1) ?? null));
        all.push(...ids);
        if (ids.length < AT_ONCE) return all;
      }
    },
  };
}

async function retrySome(client: pg.PoolClient, o: RetryRequest, after: string | null): Promise<readonly string[]> {
  const { rows } = await client.query<{ id: string; orgId: string }>(FAILED, [
    o.id ?? null,
    o.orgId ?? null,
    storableText(o.reason ?? null),
    after,
  ]);
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  const target = o.id ?? (o.reason === undefined ? 'failed' : `failed: ${o.reason}`);
  await client.query(AUDIT, [storableText(o.actor), storableText(target), rows.map(({ orgId }) => orgId)]);
  await client.query(FORGET_EXHAUSTED, [ids]);
  await client.query(ADD_JOBS, [ids]);
  return ids;
}
