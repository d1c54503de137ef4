/**
 * After a failover a mail can be without a job: it was read on the old primary in a transaction that the new one never saw,
 * and the end of its job was told to the new one. So for a while after each failover such mails are looked for. At no other
 * time: it reads a table, and where no server was replaced no job gets lost.
 */
import pg from 'pg';
import type { Log } from '../../telemetry/log.ts';

/** Longer than a transaction that was under way can take to end on the old primary, and its job's end to be told. */
const LOOK_FOR_MS = 60_000;
const JOBS_AT_ONCE = 1_000;

/** A server that is promoted begins a new one. A few services refuse the question: there, `reconcile` finds such mails. */
const TIMELINE = 'SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline';

/** Shape: to be called now and then; rejects when the database cannot be asked. */
export function createFailoverWatch(o: {
  readonly pool: pg.Pool;
  /** A job for up to `limit` open messages that have none. Shape: how many. */
  readonly addMissingJobs: (limit: number) => Promise<number>;
  readonly log: Log;
}): () => Promise<void> {
  let known: string | undefined;
  let lookUntil = 0;
  return async () => {
    const timeline = await askTimeline(o.pool);
    if (timeline === null) return;
    if (known !== undefined && timeline !== known) {
      lookUntil = performance.now() + LOOK_FOR_MS;
      o.log.warn({ timeline, before: known }, 'the database has failed over: looking for mails that lost their job');
    }
    known = timeline;
    if (performance.now() > lookUntil) return;
    const added = await o.addMissingJobs(JOBS_AT_ONCE);
    if (added > 0) o.log.warn({ jobs: added }, 'mails that lost their job in the failover have one again');
  };
}

/** null: the server has answered, but not with a timeline. */
async function askTimeline(pool: pg.Pool): Promise<string | null> {
  try {
    const { rows } = await pool.query<{ timeline: string }>(TIMELINE);
    return rows[0]?.timeline ?? null;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return null;
    throw error;
  }
}
