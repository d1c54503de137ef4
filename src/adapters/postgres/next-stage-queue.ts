/** Jobs of the next stage that stay in the database, for a consumer that speaks graphile-worker. */
import type pg from 'pg';
import type { NextStageQueue, QueuedState } from '../../ports/next-stage-queue.ts';
import { HELD } from '../graphile/queue-indexes.ts';
import { inTransaction } from './pool.ts';

const STATES = `
  SELECT wanted.id::text, CASE WHEN job.attempts < job.max_attempts OR job.locked_at IS NOT NULL THEN 'live' ELSE 'failed' END AS state
  FROM unnest($1::uuid[]) AS wanted (id) JOIN graphile_worker._private_jobs AS job ON job.key = 'extract_document:' || wanted.id`;

/** graphile-worker takes the key from one without attempts left, and keeps it for ever. */
const FORGET_EXHAUSTED = `
  DELETE FROM graphile_worker._private_jobs AS job
  WHERE job.key = ANY ($1) AND ${HELD} AND job.attempts >= job.max_attempts AND job.locked_at IS NULL`;

/** One that is worked on is left out: replaced, it would be worked on twice. */
const REQUEUE = `
  SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
    SELECT ('extract_document', wanted, NULL, NULL, NULL, 'extract_document:' || (wanted->>'document_id'), NULL, NULL
    )::graphile_worker.job_spec
    FROM unnest($1::json[]) AS wanted
    WHERE NOT EXISTS (
      SELECT FROM graphile_worker._private_jobs AS job
      WHERE job.key = 'extract_document:' || (wanted->>'document_id')
        AND (job.attempts < job.max_attempts OR job.locked_at IS NOT NULL))))`;

export function createPostgresNextStageQueue({ pool }: { readonly pool: pg.Pool }): NextStageQueue {
  return {
    async states(ids) {
      const { rows } = await pool.query<{ id: string; state: QueuedState }>(STATES, [ids]);
      const found = new Map(rows.map(({ id, state }) => [id, state]));
      return new Map(ids.map((id) => [id, found.get(id) ?? 'missing']));
    },
    async requeue(jobs) {
      const wanted = jobs.filter(({ state }) => state !== 'live');
      if (wanted.length === 0) return;
      await inTransaction(pool, async (client) => {
        await client.query(FORGET_EXHAUSTED, [wanted.map(({ id }) => `extract_document:${id}`)]);
        await client.query(REQUEUE, [wanted.map(({ payload }) => JSON.stringify(payload))]);
      });
    },
  };
}
