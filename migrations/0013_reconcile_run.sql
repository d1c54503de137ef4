-- Where `reconcile --verify` is: it reads every object, which may take days, and goes on after a stop. One row a run, kept as the
-- record of it. The place is written with what was found up to it, so that nothing is reported twice or lost with a process.

CREATE TABLE reconcile_run (
  id             UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  started_at     TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  saved_at       TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  ended_at       TIMESTAMPTZ, -- null: it was stopped, or is at work
  at_kind        TEXT NOT NULL DEFAULT 'message' CHECK (at_kind IN ('message', 'conflict', 'document')),
  after_id       UUID, -- the last row of that kind that was verified; null: none yet
  total_rows     BIGINT NOT NULL, -- with an object, when it began
  total_bytes    BIGINT NOT NULL,
  rows           BIGINT NOT NULL DEFAULT 0,
  bytes          BIGINT NOT NULL DEFAULT 0,
  without_digest BIGINT NOT NULL DEFAULT 0, -- rows that say nothing to compare with
  problems       BIGINT NOT NULL DEFAULT 0,
  problems_json  JSONB NOT NULL DEFAULT '[]' -- the first 1,000
);
CREATE UNIQUE INDEX reconcile_run_open ON reconcile_run ((true)) WHERE ended_at IS NULL;
