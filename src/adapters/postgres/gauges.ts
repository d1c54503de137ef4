import type pg from 'pg';
import type { InboundMessageStatus } from '../../ports/message-store.ts';
import type { DatabaseCounts } from '../../telemetry/metrics.ts';
import { HELD, type QueueTask, queueTasks, waitingOf } from '../graphile/queue-indexes.ts';
import { readDocumentCounts } from './document-gauges.ts';
import { createPostgresGapMemory } from './gap-memory.ts';

/**
 * Counting every row takes a second for five million, at each look at the metrics. What people watch, the unfinished and the
 * failed, is few: counted exactly, organisation by organisation through the index. The finished ones are counted only
 * while the table is small; from a million rows on they are what PostgreSQL estimates, less the others.
 */
const MESSAGES = `
  WITH counted AS (
    SELECT wanted.status, sum(one.count)::bigint AS count
    FROM unnest(ARRAY['RECEIVED', 'STORED', 'FAILED']) AS wanted (status) CROSS JOIN org
    CROSS JOIN LATERAL (
      SELECT count(*) FROM inbound_message AS message WHERE message.org_id = org.id AND message.status = wanted.status
    ) AS one
    GROUP BY wanted.status
  ), whole AS (
    SELECT reltuples::bigint AS estimate FROM pg_class WHERE oid = 'inbound_message'::regclass
  )
  SELECT status, count FROM counted WHERE count > 0
  UNION ALL
  SELECT 'PARSED', CASE
    WHEN estimate < 1000000 THEN (SELECT count(*) FROM inbound_message WHERE status = 'PARSED')
    ELSE greatest(0, estimate - (SELECT coalesce(sum(count), 0)::bigint FROM counted))
  END FROM whole`;

/** What the metrics page reads from the database. Errors: rejects when it cannot be asked. */
export async function readDatabaseCounts(
  pool: pg.Pool,
  o: { readonly countedJobs?: number } = {},
): Promise<DatabaseCounts> {
  const [gap, messages, documents, jobs] = await Promise.all([
    createPostgresGapMemory({ pool }).recall(),
    pool.query<{ status: InboundMessageStatus; count: number }>(MESSAGES),
    readDocumentCounts(pool),
    queueTasks(pool).then((tasks) =>
      Promise.all(tasks.map((task) => countJobs(pool, task, o.countedJobs ?? COUNTED_JOBS))),
    ),
  ]);
  return { messages: messages.rows, documents, jobs, gap: gap === null ? { mails: 0, documents: 0 } : gap.objects };
}

/** So many are counted one by one, which takes some 40 ms. */
const COUNTED_JOBS = 100_000;

/**
 * Beyond that, PostgreSQL's estimate of the index that holds the waiting jobs of this task (and, for extractions, the
 * heartbeat of each worker), grown as the index has grown since. The oldest is then the oldest of those that are due first.
 */
const jobsOf = (task: QueueTask, limit: number): string => `
  WITH waiting AS (
    SELECT count(*), min(created_at) AS oldest FROM (
      SELECT created_at FROM graphile_worker._private_jobs WHERE ${waitingOf(task)}
      ORDER BY priority, run_at LIMIT ${limit}
    ) AS first
  ), held AS (
    SELECT count(*), min(created_at) AS oldest FROM graphile_worker._private_jobs WHERE ${HELD} AND task_id = ${task.id}
  ), whole AS (
    SELECT (reltuples * pg_relation_size(oid) / current_setting('block_size')::int / greatest(relpages, 1))::bigint AS estimate
    FROM pg_class WHERE oid = to_regclass('graphile_worker.${task.waitingIndex}')
  )
  SELECT held.count + CASE WHEN waiting.count < ${limit} THEN waiting.count
      ELSE greatest(waiting.count, (SELECT estimate FROM whole)) END AS count,
    coalesce(greatest(0, extract(epoch FROM now() - least(waiting.oldest, held.oldest))), 0)::float8 AS "oldestAgeSeconds"
  FROM waiting, held`;

async function countJobs(pool: pg.Pool, task: QueueTask, limit: number): Promise<DatabaseCounts['jobs'][number]> {
  const { rows } = await pool.query<{ count: number; oldestAgeSeconds: number }>(jobsOf(task, limit));
  return { task: task.identifier, count: rows[0]?.count ?? 0, oldestAgeSeconds: rows[0]?.oldestAgeSeconds ?? 0 };
}
