import type pg from 'pg';
import type { InboundMessageStatus } from '../../ports/message-store.ts';
import type { DatabaseCounts } from '../../telemetry/metrics.ts';

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
export async function readDatabaseCounts(pool: pg.Pool): Promise<DatabaseCounts> {
  const [messages, jobs] = await Promise.all([
    pool.query<{ status: InboundMessageStatus; count: number }>(MESSAGES),
    pool.query<{ task: string; count: number; oldestAgeSeconds: number }>(
      `SELECT task_identifier AS task, count(*) AS count,
              greatest(0, extract(epoch FROM now() - min(created_at)))::float8 AS "oldestAgeSeconds"
         FROM graphile_worker.jobs GROUP BY task_identifier`,
    ),
  ]);
  return { messages: messages.rows, jobs: jobs.rows };
}
