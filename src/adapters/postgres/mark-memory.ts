/** Marks and gaps, see migrations/0004 and 0007. */
import type pg from 'pg';
import type { MarkMemory, MemoryGap } from '../../ports/store-marks.ts';

/**
 * By the database's clock alone, and in order also where that is set back (see REMEMBER). Two servers that leave theirs at the same moment confirm them in any order, and one of both
 * may have replaced the other's: so the last one is not asked for to the second.
 */
const RECALL = `
  WITH last AS (SELECT max(left_at) AS at FROM store_mark)
  SELECT last.at IS NOT NULL AS confirmed, mark.id::text,
    coalesce(coalesce(mark.left_at, mark.made_at) >= last.at - interval '2 minutes', true) AS fresh
  FROM last LEFT JOIN store_mark AS mark ON mark.id::text = ANY ($1) -- what was read may be anything
  ORDER BY mark.made_at, mark.id`;

/**
 * Every server replaces what it read a moment ago; only one that stood still for this long could leave a mark that is
 * forgotten already. The newest is never forgotten, nor those that lie in the store.
 * It counts as left when it was remembered: one whose server stood still before this (a suspended machine) may have been replaced
 * since, and would make those that lie there look old. The store would be called outdated for ever.
 */
const CONFIRM = `
  WITH forgotten AS (
    DELETE FROM store_mark
    WHERE id <> $1 AND ($3 OR (made_at < clock_timestamp() - interval '7 days' AND id::text <> ALL ($2))))
  UPDATE store_mark SET left_at = made_at WHERE id = $1`;

/** No older than the last that was confirmed, also where a clock that was ahead has been set back. */
const REMEMBER = `
  INSERT INTO store_mark (id, made_at) SELECT $1, greatest(clock_timestamp(), max(left_at)) FROM store_mark`;

/** By primary key from its end: ids of messages grow with time. */
const WITNESSES = `
  SELECT raw_storage_key AS key FROM inbound_message
  WHERE raw_storage_key IS NOT NULL AND (status <> 'FAILED' OR error_json->>'code' IS DISTINCT FROM 'object-missing')
  ORDER BY id DESC LIMIT 5`;

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
    async recall(ids) {
      const { rows } = await pool.query<{ confirmed: boolean; id: string | null; fresh: boolean }>(RECALL, [ids]);
      const known = rows.flatMap(({ id, fresh }) => (id === null ? [] : [{ id, fresh }]));
      return { known, confirmed: rows[0]?.confirmed ?? false };
    },
    async remember(id) {
      await pool.query(REMEMBER, [id]);
    },
    async confirm(id, { beside, only = false }) {
      await pool.query(CONFIRM, [id, beside, only]);
    },
    async witnesses() {
      return (await pool.query<{ key: string }>(WITNESSES)).rows.map(({ key }) => key);
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
