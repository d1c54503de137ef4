-- Whether a mail could be accepted now: each process that takes mail writes this one row again, at most every few seconds
-- and only while somebody asks /readyz. Written in place, it does not grow, and nothing reads it.

CREATE TABLE commit_probe (
  id           BOOLEAN PRIMARY KEY DEFAULT true CHECK (id), -- one row
  committed_at TIMESTAMPTZ NOT NULL
);
