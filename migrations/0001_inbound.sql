-- Organisations, inbound mail, documents, and who may see what.
-- Spec: "InboundMessage Table Schema" and "State Machine" of the specification; extra columns are ours.

CREATE EXTENSION IF NOT EXISTS citext;

-- The role that sees one organisation at a time (row-level security below). Roles belong to the whole server, so another
-- database of the same server may have made it already, or be making it at this moment; and an administrator may have made
-- it for a login that may not make roles itself.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderflow_tenant') THEN
    CREATE ROLE orderflow_tenant NOLOGIN;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
  -- So that the server's own login may SET ROLE to it. Who made the role is its administrator and no more (PostgreSQL 16).
  IF NOT pg_has_role(current_user, 'orderflow_tenant',
      CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
    EXECUTE format('GRANT orderflow_tenant TO %I', current_user);
  END IF;
EXCEPTION
  WHEN unique_violation OR invalid_grant_operation THEN NULL;
END $$;

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at = now();
  RETURN NEW;
END $$;

-- ------------------------------------------------------------------ organisations

CREATE TABLE org (
  id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  slug          TEXT NOT NULL UNIQUE
                CONSTRAINT org_slug_form CHECK (slug ~ '^[a-z0-9-]+$' AND length(slug) <= 57), -- "orders+" and 57 octets make a local part of 64 (RFC 5321 §4.5.3.1.1)
  name          TEXT NOT NULL DEFAULT '',
  settings_json JSONB NOT NULL DEFAULT '{}',
  created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TRIGGER org_updated_at BEFORE UPDATE ON org FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE blocked_sender (
  id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id     UUID REFERENCES org(id) ON DELETE CASCADE, -- null: blocked for every organisation
  pattern    TEXT NOT NULL CHECK (pattern = lower(pattern) AND position('@' IN pattern) > 0),
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (pattern, org_id)
);

-- ------------------------------------------------------------------ inbound mail

CREATE TABLE inbound_message (
  id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id            UUID NOT NULL REFERENCES org(id),
  source            TEXT NOT NULL CHECK (source IN ('EMAIL', 'UPLOAD')),
  source_message_id TEXT,
  from_email        CITEXT,
  to_email          CITEXT,
  subject           TEXT,
  received_at       TIMESTAMPTZ NOT NULL,
  raw_storage_key   TEXT,
  status            TEXT NOT NULL CHECK (status IN ('RECEIVED', 'STORED', 'PARSED', 'FAILED')),
  error_json        JSONB,
  created_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
  -- ours
  trace_id             TEXT,
  size_bytes           BIGINT,
  raw_sha256           TEXT,
  content_sha256       TEXT,
  header_from          TEXT,
  header_to            TEXT,
  header_date          TIMESTAMPTZ,
  remote_address       TEXT,
  helo_name            TEXT,
  message_id_synthetic BOOLEAN NOT NULL DEFAULT false,
  parts_json           JSONB,
  UNIQUE (org_id, id) -- what a document's foreign key holds on to, so that it cannot name another organisation's message
);
CREATE UNIQUE INDEX inbound_message_source_key ON inbound_message (org_id, source, source_message_id)
  WHERE source_message_id IS NOT NULL; -- FR-008, TC-003
CREATE INDEX idx_inbound_org_received ON inbound_message (org_id, received_at DESC);
CREATE INDEX idx_inbound_org_status ON inbound_message (org_id, status);
CREATE TRIGGER inbound_message_updated_at BEFORE UPDATE ON inbound_message
  FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- FR-009: (none) -> RECEIVED -> STORED -> PARSED, FAILED from RECEIVED and STORED; PARSED and FAILED are final.
-- The WHEN clauses keep the ordinary insert free of a function call.
CREATE FUNCTION refuse_inbound_message_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    RAISE EXCEPTION 'inbound_message %: a new message starts as RECEIVED, not %', NEW.id, NEW.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'inbound_message_status_transition';
  ELSIF NEW.org_id IS DISTINCT FROM OLD.org_id THEN
    RAISE EXCEPTION 'inbound_message %: a message never changes its organisation', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'inbound_message_org_fixed';
  END IF;
  RAISE EXCEPTION 'inbound_message %: % cannot become %', OLD.id, OLD.status, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'inbound_message_status_transition';
END $$;
CREATE TRIGGER inbound_message_starts_received BEFORE INSERT ON inbound_message
  FOR EACH ROW WHEN (NEW.status <> 'RECEIVED') EXECUTE FUNCTION refuse_inbound_message_change();
CREATE TRIGGER inbound_message_transition BEFORE UPDATE ON inbound_message
  FOR EACH ROW WHEN (
    NEW.org_id <> OLD.org_id
    OR (OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
      ('RECEIVED', 'STORED'), ('RECEIVED', 'FAILED'), ('STORED', 'PARSED'), ('STORED', 'FAILED'))))
  EXECUTE FUNCTION refuse_inbound_message_change();

-- A mail whose Message-ID is taken by a mail of other content: kept, visible, never a second inbound_message.
CREATE TABLE inbound_conflict (
  id                 UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id             UUID NOT NULL REFERENCES org(id),
  inbound_message_id UUID NOT NULL,
  raw_storage_key    TEXT NOT NULL,
  content_sha256     TEXT NOT NULL,
  from_email         CITEXT,
  subject            TEXT,
  received_at        TIMESTAMPTZ NOT NULL,
  trace_id           TEXT,
  to_email           CITEXT,
  size_bytes         BIGINT,
  raw_sha256         TEXT,
  created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
  FOREIGN KEY (org_id, inbound_message_id) REFERENCES inbound_message (org_id, id),
  UNIQUE (inbound_message_id, content_sha256)
);
CREATE INDEX inbound_conflict_org_received ON inbound_conflict (org_id, received_at DESC);

-- ------------------------------------------------------------------ documents

CREATE TABLE document (
  id                 UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id             UUID NOT NULL REFERENCES org(id),
  inbound_message_id UUID NOT NULL,
  file_name          TEXT NOT NULL,
  mime_type          TEXT NOT NULL,
  size_bytes         BIGINT,
  sha256             TEXT,
  storage_key        TEXT,
  status             TEXT NOT NULL CHECK (status IN ('UPLOADED', 'STORED', 'PROCESSING', 'EXTRACTED', 'FAILED')),
  error_json         JSONB,
  created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
  part_path          TEXT NOT NULL,
  declared_mime_type TEXT,
  FOREIGN KEY (org_id, inbound_message_id) REFERENCES inbound_message (org_id, id),
  UNIQUE (inbound_message_id, part_path),
  CONSTRAINT document_stored_is_whole
    CHECK (status <> 'STORED' OR (storage_key IS NOT NULL AND sha256 IS NOT NULL AND size_bytes IS NOT NULL))
);
CREATE INDEX document_org_created ON document (org_id, created_at DESC);
CREATE TRIGGER document_updated_at BEFORE UPDATE ON document FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- ------------------------------------------------------------------ tenancy
-- Whoever acts as orderflow_tenant sees the rows of the organisation named in app.org_id, and no row when none is named.
-- The tables' owner (intake, migrations) is not held by it: it has to see the directory of all organisations.

CREATE FUNCTION current_org_id() RETURNS uuid LANGUAGE sql STABLE
  RETURN nullif(current_setting('app.org_id', true), '')::uuid;

ALTER TABLE org ENABLE ROW LEVEL SECURITY;
ALTER TABLE blocked_sender ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbound_message ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbound_conflict ENABLE ROW LEVEL SECURITY;
ALTER TABLE document ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON org TO orderflow_tenant USING (id = current_org_id());
CREATE POLICY tenant ON blocked_sender TO orderflow_tenant USING (org_id = current_org_id());
CREATE POLICY tenant ON inbound_message TO orderflow_tenant USING (org_id = current_org_id());
CREATE POLICY tenant ON inbound_conflict TO orderflow_tenant USING (org_id = current_org_id());
CREATE POLICY tenant ON document TO orderflow_tenant USING (org_id = current_org_id());

GRANT SELECT ON org, blocked_sender, inbound_message, inbound_conflict, document TO orderflow_tenant;
GRANT UPDATE (status, error_json, parts_json, updated_at) ON inbound_message TO orderflow_tenant;
GRANT INSERT, UPDATE ON document TO orderflow_tenant;
