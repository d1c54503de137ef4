/** See migrations/0011. */
import type pg from 'pg';
import type { GapMemory, KnownGap } from '../../ports/gap-memory.ts';

const REMEMBER = `
  INSERT INTO store_gap_count (mails, documents, until, counted_at) VALUES ($1, $2, $3, clock_timestamp())
  ON CONFLICT (id) DO UPDATE
  SET mails = excluded.mails, documents = excluded.documents, until = excluded.until, counted_at = excluded.counted_at`;

/** A count from before the last gap, or before it grew, says nothing. Times come back in milliseconds. */
const RECALL = `
  SELECT gap.begins, gap.ends, count.mails, count.documents
  FROM (
    SELECT CASE WHEN bool_and(begins IS NOT NULL) THEN min(begins) END AS begins, max(ends) AS ends FROM store_gap
  ) AS gap
  LEFT JOIN store_gap_count AS count ON count.until >= date_trunc('milliseconds', gap.ends)
  WHERE gap.ends IS NOT NULL`;

type Recalled = Pick<KnownGap, 'begins' | 'ends'> & {
  readonly mails: number | null;
  readonly documents: number | null;
};

export function createPostgresGapMemory({ pool }: { readonly pool: pg.Pool }): GapMemory {
  return {
    async remember({ mails, documents }, until) {
      if (until !== null) await pool.query(REMEMBER, [mails, documents, until]);
    },
    async recall() {
      const [row] = (await pool.query<Recalled>(RECALL)).rows;
      if (row === undefined) return null;
      const { begins, ends, mails, documents } = row;
      return { begins, ends, objects: mails === null || documents === null ? null : { mails, documents } };
    },
  };
}
