/**
 * Who is alive? A worker that was killed leaves its jobs locked, and graphile-worker gives them back after four hours
 * only. So every worker pool holds a session-level advisory lock named after its id for as long as it lives: the database
 * drops it the moment the connection is gone, whoever cut it. Jobs whose pool holds no such lock belong to nobody, and
 * `sweep` gives them back.
 */
import pg from 'pg';
import { UNCOUNTED } from '../../ports/job-runner.ts';
import { type ConnectionUrl, renewable } from '../../ports/renewable-url.ts';
import type { Log } from '../../telemetry/log.ts';
import { endInTime, keepAsking } from './idle-connection.ts';
import { HELD } from './queue-indexes.ts';

/** First half of the lock's two-part key: "leases of worker pools", so that they cannot meet other advisory locks. */
export const LEASE_LOCKS = 0x0f_1e_a5;

/** The holder of a lease waits no longer for any answer, and then counts it as lost. */
const ANSWER_WITHIN_MS = 5_000;

/**
 * So that the server ends a lease whose holder is gone or forgotten by the network within a minute, not after two hours:
 * its holder asks every 10 s (idle-connection.ts), whoever says nothing for 45 s is not there. Where the server's own
 * packets come to nothing it finds out by keepalives, and, as Linux sends none while it waits for something to be
 * acknowledged, by tcp_user_timeout. Both are the server's side: Node cannot set the client's.
 */
const SESSION = `
  SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
  SET tcp_user_timeout = '30s'; SET idle_session_timeout = '45s'`;

/**
 * A pool takes its lock a moment after it starts, and ends a moment after it lost it. Only jobs locked longer than this
 * are looked at, so that a living worker is not robbed in that moment. (Were it robbed all the same, two would
 * extract one mail, and the one that commits second writes nothing.)
 */
const GRACE_SECONDS = 10;

/**
 * Only pools that run a task of ours: other programs may run theirs, without leases, in the same queue.
 * A job that was cut off more than three times may be what kills its workers: it waits as if it had failed.
 */
const SWEEP = `
  UPDATE graphile_worker._private_jobs AS job
  SET locked_by = NULL, locked_at = NULL, run_at = CASE
    WHEN job.attempts <= 3 THEN job.run_at
    ELSE greatest(job.run_at, now() + exp(least(job.attempts, 10)) * interval '1 second') END
  FROM graphile_worker._private_tasks AS task
  WHERE task.id = job.task_id AND task.identifier = ANY ($1) AND ${HELD}
    AND job.locked_at < now() - make_interval(secs => $2) AND NOT EXISTS (
      SELECT FROM pg_locks
      WHERE locktype = 'advisory' AND granted AND classid = $3::int::oid AND objsubid = 2
        AND objid::bigint = hashtext(job.locked_by)::bigint & 4294967295
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
  RETURNING job.id`;

/** Gives the jobs of dead pools back to the queue; answers how many. */
export async function sweepAbandonedJobs(pool: pg.Pool, tasks: readonly string[]): Promise<number> {
  const { rowCount } = await pool.query(SWEEP, [tasks, GRACE_SECONDS, LEASE_LOCKS]);
  return rowCount ?? 0;
}

export interface ExhaustedJob {
  readonly id: string;
  readonly task: string;
  readonly payload: unknown;
}

/**
 * Jobs without an attempt left, which graphile-worker keeps and never looks at again. In no order: these connections do not
 * sort (adapters/postgres/queue-pool.ts), and would read all jobs to have a few in one.
 */
export async function findExhaustedJobs(pool: pg.Pool, tasks: readonly string[]): Promise<readonly ExhaustedJob[]> {
  const { rows } = await pool.query<ExhaustedJob>(
    `SELECT job.id::text, task.identifier AS task, job.payload
     FROM graphile_worker._private_jobs AS job JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
     WHERE task.identifier = ANY ($1) AND ${HELD} AND job.attempts >= job.max_attempts AND job.locked_at IS NULL
     LIMIT 100`,
    [tasks],
  );
  return rows;
}

/**
 * A last attempt that says nothing of the job does not count: what it failed on was no fault of the mail's, and the runner was
 * held for it. Such an error begins with its name.
 */
export async function giveBackUncounted(pool: pg.Pool, tasks: readonly string[]): Promise<void> {
  await pool.query(
    `UPDATE graphile_worker._private_jobs AS job SET attempts = attempts - 1, run_at = now()
     FROM graphile_worker._private_tasks AS task
     WHERE task.id = job.task_id AND task.identifier = ANY ($1) AND ${HELD} AND job.attempts >= job.max_attempts
       AND job.locked_at IS NULL AND starts_with(job.last_error, $2)`,
    [tasks, UNCOUNTED],
  );
}

export async function forgetJob(pool: pg.Pool, id: string): Promise<void> {
  await pool.query('SELECT graphile_worker.complete_jobs(ARRAY[$1::bigint])', [id]);
}

export interface Lease {
  /** Never rejects, and waits for no server that is silent. */
  release(): Promise<void>;
}

/**
 * Holds the lock until released or lost, on a connection of its own. It is never taken a second time: when the database
 * was away, it and the pool may disagree about which jobs the pool has (an answer was lost, or a commit), and only a
 * pool without a lease has its jobs given back. Who holds it ends the pool when it is lost, and starts another.
 */
export function holdLease(o: {
  readonly url: ConnectionUrl;
  readonly poolId: string;
  readonly log: Log;
  readonly onLost: () => void;
}): Lease {
  let released = false;
  let client: pg.Client | undefined;
  let stopAsking = (): void => {};

  const lost = (error: unknown): void => {
    if (released) return;
    released = true;
    stopAsking();
    o.log.debug({ err: String(error) }, 'the worker lease is lost');
    void end();
    o.onLost();
  };

  const end = async (): Promise<void> => {
    if (client !== undefined) await endInTime(client);
  };

  const connect = (url: string): Promise<pg.Client> => {
    if (released) throw new Error('the lease was released');
    const next = openClient(url);
    client = next;
    return next.connect().then(() => next);
  };

  const take = async (): Promise<void> => {
    const connected = await renewable(o.url).connecting(connect);
    connected.on('error', lost);
    connected.on('end', () => lost('connection ended'));
    await connected.query(SESSION);
    await connected.query('SELECT pg_advisory_lock($1, hashtext($2))', [LEASE_LOCKS, o.poolId]);
    if (!released) stopAsking = keepAsking(connected);
  };

  take().catch(lost);
  return {
    async release() {
      released = true;
      stopAsking();
      await end();
    },
  };
}

function openClient(url: string): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'orderflow-worker-lease',
    connectionTimeoutMillis: ANSWER_WITHIN_MS,
    query_timeout: ANSWER_WITHIN_MS,
  });
  // While it connects, the attempt rejects as well.
  client.on('error', () => {});
  return client;
}
