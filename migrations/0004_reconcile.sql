-- What the database remembers of the object store it works with. Every running server leaves a new mark beside the objects
-- now and then, and writes it down here first. A database restored from an older backup does not know the mark it finds:
-- it has no memory of the time since its own last one, and objects of that time may be acknowledged mail whose rows the
-- restore has lost. `reconcile` never removes those by itself.

CREATE TABLE store_mark (
  id      UUID PRIMARY KEY,
  made_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE store_gap (
  id     UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  begins TIMESTAMPTZ, -- null: since ever
  ends   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
