-- How many objects of the times in `store_gap` no row names: acknowledged mail, perhaps, that a restore of the database has
-- forgotten. One row, written by whoever counts: a server once it has noticed a restore, and each `reconcile`. `until`: the end
-- of the last gap that was counted; a later gap, or one that has grown, is not counted yet.

CREATE TABLE store_gap_count (
  id         BOOLEAN PRIMARY KEY DEFAULT true CHECK (id),
  mails      INTEGER NOT NULL,
  documents  INTEGER NOT NULL,
  until      TIMESTAMPTZ NOT NULL,
  counted_at TIMESTAMPTZ NOT NULL
);
