/** Could a mail be accepted? Only a commit tells: a server that is read-only, full or silent answers a SELECT all the same. */
import type pg from 'pg';

/** A probe that is asked for more often answers what it found last. */
const PROBE_EVERY_MS = 5_000;
/** Sooner than a mail's own statements give up, so that a connection the network has forgotten is closed before a mail has it. */
const ANSWER_WITHIN_MS = 5_000;

const PROBE = {
  text: `INSERT INTO commit_probe (id, committed_at) VALUES (true, clock_timestamp())
         ON CONFLICT (id) DO UPDATE SET committed_at = excluded.committed_at`,
  query_timeout: ANSWER_WITHIN_MS,
};

/** No row could be committed; `since` the last one that could, where there was one. */
class CommitProbeError extends Error {
  override readonly name = 'CommitProbeError';
  readonly since: Date | undefined;
  constructor(since: Date | undefined, cause: unknown) {
    super('no row could be committed', { cause });
    this.since = since;
  }
}

/** Shape: rejects when a row cannot be committed on these connections. Those who ask at the same time share one probe. */
export function createCommitProbe(o: {
  readonly pool: Pick<pg.Pool, 'query'>;
  readonly everyMs?: number;
}): () => Promise<void> {
  let committedAt: Date | undefined;
  let last: Promise<void> | undefined;
  let nextAt = 0;
  const probe = async (): Promise<void> => {
    try {
      await o.pool.query(PROBE);
      committedAt = new Date();
    } catch (error) {
      throw new CommitProbeError(committedAt, error);
    } finally {
      nextAt = performance.now() + (o.everyMs ?? PROBE_EVERY_MS);
    }
  };
  return async () => {
    if (last === undefined || performance.now() >= nextAt) {
      // Nobody asks again while it is under way.
      nextAt = Number.POSITIVE_INFINITY;
      last = probe();
    }
    await last;
  };
}
