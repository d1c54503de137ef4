/**
 * Jobs that are only handed on, not worked on: taken by a row lock instead of graphile-worker's own runner. So there are no
 * attempts to run out of and no delays that grow while the other side is away, and a killed process frees its rows the
 * moment its connection is gone.
 */
import type pg from 'pg';
import type { JobOutbox, RefusedJob, WaitingJob } from '../../ports/job-outbox.ts';
import { type QueueTask, queueTasks, waitingOf } from '../graphile/queue-indexes.ts';
import { inTransaction } from './pool.ts';

/** As graphile-worker looks for jobs; it passes over locked rows as we do. */
const take = (task: QueueTask): string => `
  SELECT id::text, payload FROM graphile_worker._private_jobs
  WHERE ${waitingOf(task)} AND run_at <= now()
  ORDER BY priority, run_at LIMIT $1
  FOR UPDATE SKIP LOCKED`;

export function createPostgresJobOutbox(o: { readonly pool: pg.Pool }): JobOutbox {
  return {
    async handOver({ task, limit, deliver }) {
      let failure: { readonly error: unknown } | undefined;
      const taken = await inTransaction(o.pool, async (client) => {
        const known = (await queueTasks(client)).find(({ identifier }) => identifier === task);
        if (known === undefined) return 0;
        const { rows } = await client.query<WaitingJob>({
          name: `take-waiting-jobs-${known.id}`,
          text: take(known),
          values: [limit],
        });
        if (rows.length === 0) return 0;
        const refused = await deliver(rows).catch((error: unknown) => {
          failure = { error };
        });
        // Otherwise nothing is written: the commit only frees the rows, and the connection is as good as before.
        if (refused) await forget(client, rows, refused);
        return rows.length;
      });
      if (failure !== undefined) throw failure.error;
      return taken;
    },
  };
}

async function forget(
  client: pg.PoolClient,
  jobs: readonly WaitingJob[],
  refused: readonly RefusedJob[],
): Promise<void> {
  const kept = new Set(refused.map(({ id }) => id));
  const delivered = jobs.filter(({ id }) => !kept.has(id)).map(({ id }) => id);
  await client.query('SELECT count(*) FROM graphile_worker.complete_jobs($1::bigint[])', [delivered]);
  for (const { id, reason } of refused) {
    await client.query('SELECT FROM graphile_worker.permanently_fail_jobs(ARRAY[$1::bigint], $2)', [id, reason]);
  }
}
