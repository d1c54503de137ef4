import type pg from 'pg';
import type { InboundMessageStatus } from '../../ports/message-store.ts';
import type { DatabaseCounts } from '../../telemetry/metrics.ts';

/** What the metrics page reads from the database. Errors: rejects when it cannot be asked. */
export async function readDatabaseCounts(pool: pg.Pool): Promise<DatabaseCounts> {
  const [messages, jobs] = await Promise.all([
    pool.query<{ status: InboundMessageStatus; count: number }>(
      'SELECT status, count(*) AS count FROM inbound_message GROUP BY status',
    ),
    pool.query<{ task: string; count: number; oldestAgeSeconds: number }>(
      `SELECT task_identifier AS task, count(*) AS count,
              greatest(0, extract(epoch FROM now() - min(created_at)))::float8 AS "oldestAgeSeconds"
         FROM graphile_worker.jobs GROUP BY task_identifier`,
    ),
  ]);
  return { messages: messages.rows, jobs: jobs.rows };
}
