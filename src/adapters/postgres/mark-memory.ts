/** Marks and gaps, see migrations/0004. */
import type pg from 'pg';
import type { MarkMemory, MemoryGap } from '../../ports/store-marks.ts';

/**
 * Every server replaces what it read a moment ago; only one that stood still for this long could leave a mark that is
 * forgotten already. The newest is never forgotten.
 */
const REMEMBER = `
  WITH forgotten AS (DELETE FROM store_mark WHERE made_at < clock_timestamp() - interval '7 days')
  INSERT INTO store_mark (id) VALUES ($1)`;

/** Clocks of the machines that mark may differ; gaps that touch are one. */
const REMEMBER_GAP = `
  WITH last AS (SELECT max(made_at) AS at FROM store_mark),
  grown AS (
    UPDATE store_gap SET ends = clock_timestamp() WHERE id = (
      SELECT store_gap.id FROM store_gap, last
      WHERE store_gap.ends >= last.at - interval '5 minutes' AND (store_gap.begins IS NULL OR store_gap.begins <= last.at)
      ORDER BY begins NULLS FIRST LIMIT 1)
    RETURNING id)
  INSERT INTO store_gap (begins) SELECT at FROM last WHERE NOT EXISTS (SELECT FROM grown)`;

export function createPostgresMarkMemory({ pool }: { readonly pool: pg.Pool }): MarkMemory {
  return {
    async knowsAll(ids) {
      const { rows } = await pool.query<{ known: number }>(
        'SELECT count(*) AS known FROM store_mark WHERE id::text = ANY ($1)', // what was read may be anything
        [ids],
      );
      return rows[0]?.known === new Set(ids).size;
    },
    async remember(id) {
      await pool.query(REMEMBER, [id]);
    },
    async rememberGap() {
      await pool.query(REMEMBER_GAP);
    },
    async gaps() {
      return (await pool.query<MemoryGap>('SELECT begins, ends FROM store_gap')).rows;
    },
    async openGap() {
      const { rows } = await pool.query<MemoryGap>(
        'SELECT max(made_at) AS begins, clock_timestamp() AS ends FROM store_mark',
      );
      return rows[0] ?? { begins: null, ends: new Date() };
    },
  };
}
