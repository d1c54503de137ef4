/**
 * Who is alive? A worker that was killed leaves its jobs locked, and graphile-worker gives them back after four hours
 * only. So every worker pool holds a session-level advisory lock named after its id for as long as it lives: the database
 * drops it the moment the connection is gone, whoever cut it. Jobs whose pool holds no such lock belong to nobody, and
 * `sweep` gives them back.
 */
import pg from 'pg';
import type { Log } from '../../telemetry/log.ts';

/** First half of the lock's two-part key: "leases of worker pools", so that they cannot meet other advisory locks. */
const LEASE_LOCKS = 0x0f_1e_a5;

/**
 * A pool takes its lock a moment after it starts, and again after its connection broke. Only jobs locked longer than
 * this are looked at, so that a living worker is not robbed in that moment. (Were it robbed all the same, two would
 * extract one mail, and the one that commits second writes nothing.)
 */
const GRACE_SECONDS = 10;

const RECONNECT_DELAY_MS = 1_000;

/** Only pools that run a task of ours: other programs may run theirs, without leases, in the same queue. */
const SWEEP = `
  WITH abandoned AS (
    SELECT DISTINCT locked_by FROM graphile_worker.jobs
    WHERE task_identifier = ANY ($1) AND locked_at < now() - make_interval(secs => $2) AND NOT EXISTS (
      SELECT FROM pg_locks
      WHERE locktype = 'advisory' AND granted AND classid = $3::int::oid AND objsubid = 2
        AND objid::bigint = hashtext(locked_by)::bigint & 4294967295
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
  ), freed AS (
    SELECT graphile_worker.force_unlock_workers(array_agg(locked_by)) FROM abandoned HAVING count(*) > 0
  )
  SELECT locked_by AS "poolId" FROM abandoned LEFT JOIN freed ON true`;

/** Gives the jobs of dead pools back to the queue; answers whose they were. */
export async function sweepAbandonedJobs(pool: pg.Pool, tasks: readonly string[]): Promise<readonly string[]> {
  const { rows } = await pool.query<{ poolId: string }>(SWEEP, [tasks, GRACE_SECONDS, LEASE_LOCKS]);
  return rows.map(({ poolId }) => poolId);
}

export interface Lease {
  release(): Promise<void>;
}

/** Holds the lock until released, on a connection of its own, taken again whenever that connection breaks. */
export function holdLease(o: { readonly url: string; readonly poolId: string; readonly log: Log }): Lease {
  let released = false;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const again = (error: unknown): void => {
    if (released || timer !== undefined) return;
    o.log.debug({ err: String(error) }, 'the worker lease is lost, taking it again');
    timer = setTimeout(() => {
      timer = undefined;
      void take();
    }, RECONNECT_DELAY_MS);
  };

  const take = async (): Promise<void> => {
    const connection = new pg.Client({
      connectionString: o.url,
      application_name: 'orderflow-worker-lease',
      connectionTimeoutMillis: 5_000,
    });
    client = connection;
    connection.on('error', again);
    connection.on('end', () => again('connection ended'));
    try {
      await connection.connect();
      // So that the server notices within half a minute that a whole machine is gone, not after two hours.
      await connection.query(
        'SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3',
      );
      await connection.query('SELECT pg_advisory_lock($1, hashtext($2))', [LEASE_LOCKS, o.poolId]);
    } catch (error) {
      void connection.end().catch(() => {});
      again(error);
    }
  };

  void take();
  return {
    async release() {
      released = true;
      clearTimeout(timer);
      await client?.end().catch(() => {});
    },
  };
}
