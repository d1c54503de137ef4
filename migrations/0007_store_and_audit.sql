-- `left_at`: when the mark was known to lie beside the objects. Only such marks count where a store is said to be another's, so
-- that a crash between remembering a mark and leaving it locks nobody out. Processes of the version before leave it null.
-- `audit_log`: what was done on purpose to what is otherwise final. The first use is `messages retry`, which puts FAILED
-- messages back. That is decided beyond the specification, which calls FAILED final.

ALTER TABLE store_mark ADD COLUMN left_at TIMESTAMPTZ;

CREATE TABLE audit_log (
  id     UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  at     TIMESTAMPTZ NOT NULL DEFAULT now(), -- of the transaction: what it did has the same time
  actor  TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT,
  org_id UUID REFERENCES org(id), -- null: not of one organisation
  count  INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX audit_log_at ON audit_log (at DESC);
CREATE INDEX audit_log_org_at ON audit_log (org_id, at DESC);

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON audit_log TO orderflow_tenant USING (org_id = current_org_id());
GRANT SELECT ON audit_log TO orderflow_tenant;

-- The trigger calls it for every change that is not in its list, so also for FAILED -> RECEIVED.
CREATE OR REPLACE FUNCTION refuse_inbound_message_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    RAISE EXCEPTION 'inbound_message %: a new message starts as RECEIVED, not %', NEW.id, NEW.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'inbound_message_status_transition';
  ELSIF NEW.org_id IS DISTINCT FROM OLD.org_id THEN
    RAISE EXCEPTION 'inbound_message %: a message never changes its organisation', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'inbound_message_org_fixed';
  ELSIF OLD.status = 'FAILED' AND NEW.status = 'RECEIVED' AND NEW.error_json IS NULL AND EXISTS (
    -- Written by this transaction: that alone puts a message back.
    SELECT FROM audit_log
    WHERE at = now() AND org_id = NEW.org_id AND action IN ('message.retry', 'message.replay')
  ) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'inbound_message %: % cannot become %', OLD.id, OLD.status, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'inbound_message_status_transition';
END $$;
