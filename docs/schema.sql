-- Generated from the migrations by `npm run schema`; for reading. The migrations are what is run.

-- columns
audit_log        id                     uuid not null default gen_random_uuid()
audit_log        at                     timestamp with time zone not null default now()
audit_log        actor                  text not null
audit_log        action                 text not null
audit_log        target                 text
audit_log        org_id                 uuid
audit_log        count                  integer not null default 1
blocked_sender   id                     uuid not null default gen_random_uuid()
blocked_sender   org_id                 uuid
blocked_sender   pattern                text not null
blocked_sender   created_at             timestamp with time zone not null default now()
commit_probe     id                     boolean not null default true
commit_probe     committed_at           timestamp with time zone not null
document         id                     uuid not null default gen_random_uuid()
document         org_id                 uuid not null
document         inbound_message_id     uuid not null
document         file_name              text not null
document         mime_type              text not null
document         size_bytes             bigint
document         sha256                 text
document         storage_key            text
document         status                 text not null
document         error_json             jsonb
document         created_at             timestamp with time zone not null default now()
document         updated_at             timestamp with time zone not null default now()
document         part_path              text not null
document         declared_mime_type     text
inbound_conflict id                     uuid not null default gen_random_uuid()
inbound_conflict org_id                 uuid not null
inbound_conflict inbound_message_id     uuid not null
inbound_conflict raw_storage_key        text not null
inbound_conflict content_sha256         text not null
inbound_conflict from_email             citext
inbound_conflict subject                text
inbound_conflict received_at            timestamp with time zone not null
inbound_conflict trace_id               text
inbound_conflict to_email               citext
inbound_conflict size_bytes             bigint
inbound_conflict raw_sha256             text
inbound_conflict created_at             timestamp with time zone not null default now()
inbound_conflict content_digest_version smallint not null default 1
inbound_message  id                     uuid not null default gen_random_uuid()
inbound_message  org_id                 uuid not null
inbound_message  source                 text not null
inbound_message  source_message_id      text
inbound_message  from_email             citext
inbound_message  to_email               citext
inbound_message  subject                text
inbound_message  received_at            timestamp with time zone not null
inbound_message  raw_storage_key        text
inbound_message  status                 text not null
inbound_message  error_json             jsonb
inbound_message  created_at             timestamp with time zone not null default now()
inbound_message  updated_at             timestamp with time zone not null default now()
inbound_message  trace_id               text
inbound_message  size_bytes             bigint
inbound_message  raw_sha256             text
inbound_message  content_sha256         text
inbound_message  header_from            text
inbound_message  header_to              text
inbound_message  header_date            timestamp with time zone
inbound_message  remote_address         text
inbound_message  helo_name              text
inbound_message  message_id_synthetic   boolean not null default false
inbound_message  parts_json             jsonb
inbound_message  tls_version            text
inbound_message  tls_cipher             text
inbound_message  notes_json             jsonb
inbound_message  parser_version         integer
inbound_message  reverse_path           text
inbound_message  content_digest_version smallint not null default 1
org              id                     uuid not null default gen_random_uuid()
org              slug                   text not null
org              name                   text not null default ''::text
org              settings_json          jsonb not null default '{}'::jsonb
org              created_at             timestamp with time zone not null default now()
org              updated_at             timestamp with time zone not null default now()
reconcile_run    id                     uuid not null default gen_random_uuid()
reconcile_run    started_at             timestamp with time zone not null default clock_timestamp()
reconcile_run    saved_at               timestamp with time zone not null default clock_timestamp()
reconcile_run    ended_at               timestamp with time zone
reconcile_run    at_kind                text not null default 'message'::text
reconcile_run    after_id               uuid
reconcile_run    total_rows             bigint not null
reconcile_run    total_bytes            bigint not null
reconcile_run    rows                   bigint not null default 0
reconcile_run    bytes                  bigint not null default 0
reconcile_run    without_digest         bigint not null default 0
reconcile_run    problems               bigint not null default 0
reconcile_run    problems_json          jsonb not null default '[]'::jsonb
store_gap        id                     uuid not null default gen_random_uuid()
store_gap        begins                 timestamp with time zone
store_gap        ends                   timestamp with time zone not null default clock_timestamp()
store_gap_count  id                     boolean not null default true
store_gap_count  mails                  integer not null
store_gap_count  documents              integer not null
store_gap_count  until                  timestamp with time zone not null
store_gap_count  counted_at             timestamp with time zone not null
store_mark       id                     uuid not null
store_mark       made_at                timestamp with time zone not null default clock_timestamp()
store_mark       left_at                timestamp with time zone

-- constraints
audit_log: audit_log_org_id_fkey: FOREIGN KEY (org_id) REFERENCES org(id)
audit_log: audit_log_pkey: PRIMARY KEY (id)
blocked_sender: blocked_sender_org_id_fkey: FOREIGN KEY (org_id) REFERENCES org(id) ON DELETE CASCADE
blocked_sender: blocked_sender_pattern_check: CHECK (((pattern = lower(pattern)) AND (POSITION(('@'::text) IN (pattern)) > 0)))
blocked_sender: blocked_sender_pattern_org_id_key: UNIQUE NULLS NOT DISTINCT (pattern, org_id)
blocked_sender: blocked_sender_pkey: PRIMARY KEY (id)
commit_probe: commit_probe_id_check: CHECK (id)
commit_probe: commit_probe_pkey: PRIMARY KEY (id)
document: document_inbound_message_id_part_path_key: UNIQUE (inbound_message_id, part_path)
document: document_org_id_fkey: FOREIGN KEY (org_id) REFERENCES org(id)
document: document_org_id_inbound_message_id_fkey: FOREIGN KEY (org_id, inbound_message_id) REFERENCES inbound_message(org_id, id)
document: document_pkey: PRIMARY KEY (id)
document: document_status_check: CHECK ((status = ANY (ARRAY['UPLOADED'::text, 'STORED'::text, 'PROCESSING'::text, 'EXTRACTED'::text, 'FAILED'::text])))
document: document_stored_is_whole: CHECK (((status <> 'STORED'::text) OR ((storage_key IS NOT NULL) AND (sha256 IS NOT NULL) AND (size_bytes IS NOT NULL))))
inbound_conflict: inbound_conflict_inbound_message_id_content_sha256_key: UNIQUE (inbound_message_id, content_sha256)
inbound_conflict: inbound_conflict_org_id_fkey: FOREIGN KEY (org_id) REFERENCES org(id)
inbound_conflict: inbound_conflict_org_id_inbound_message_id_fkey: FOREIGN KEY (org_id, inbound_message_id) REFERENCES inbound_message(org_id, id)
inbound_conflict: inbound_conflict_pkey: PRIMARY KEY (id)
inbound_message: inbound_message_org_id_fkey: FOREIGN KEY (org_id) REFERENCES org(id)
inbound_message: inbound_message_org_id_id_key: UNIQUE (org_id, id)
inbound_message: inbound_message_pkey: PRIMARY KEY (id)
inbound_message: inbound_message_source_check: CHECK ((source = ANY (ARRAY['EMAIL'::text, 'UPLOAD'::text])))
inbound_message: inbound_message_status_check: CHECK ((status = ANY (ARRAY['RECEIVED'::text, 'STORED'::text, 'PARSED'::text, 'FAILED'::text])))
org: org_pkey: PRIMARY KEY (id)
org: org_slug_form: CHECK (((slug ~ '^[a-z0-9-]+$'::text) AND (length(slug) <= 57)))
org: org_slug_key: UNIQUE (slug)
reconcile_run: reconcile_run_at_kind_check: CHECK ((at_kind = ANY (ARRAY['message'::text, 'conflict'::text, 'document'::text])))
reconcile_run: reconcile_run_pkey: PRIMARY KEY (id)
store_gap: store_gap_pkey: PRIMARY KEY (id)
store_gap_count: store_gap_count_id_check: CHECK (id)
store_gap_count: store_gap_count_pkey: PRIMARY KEY (id)
store_mark: store_mark_pkey: PRIMARY KEY (id)

-- indexes
CREATE INDEX audit_log_at ON public.audit_log USING btree (at DESC)
CREATE INDEX audit_log_org_at ON public.audit_log USING btree (org_id, at DESC)
CREATE INDEX document_by_status ON public.document USING btree (status, created_at) WHERE (status = ANY (ARRAY['UPLOADED'::text, 'STORED'::text, 'PROCESSING'::text, 'FAILED'::text]))
CREATE INDEX document_org_created ON public.document USING btree (org_id, created_at DESC)
CREATE INDEX document_unfinished ON public.document USING btree (created_at, id) WHERE (status = ANY (ARRAY['STORED'::text, 'PROCESSING'::text]))
CREATE INDEX idx_inbound_org_received ON public.inbound_message USING btree (org_id, received_at DESC)
CREATE INDEX idx_inbound_org_status ON public.inbound_message USING btree (org_id, status)
CREATE INDEX inbound_conflict_org_received ON public.inbound_conflict USING btree (org_id, received_at DESC)
CREATE UNIQUE INDEX audit_log_pkey ON public.audit_log USING btree (id)
CREATE UNIQUE INDEX blocked_sender_pattern_org_id_key ON public.blocked_sender USING btree (pattern, org_id) NULLS NOT DISTINCT
CREATE UNIQUE INDEX blocked_sender_pkey ON public.blocked_sender USING btree (id)
CREATE UNIQUE INDEX commit_probe_pkey ON public.commit_probe USING btree (id)
CREATE UNIQUE INDEX document_inbound_message_id_part_path_key ON public.document USING btree (inbound_message_id, part_path)
CREATE UNIQUE INDEX document_pkey ON public.document USING btree (id)
CREATE UNIQUE INDEX inbound_conflict_inbound_message_id_content_sha256_key ON public.inbound_conflict USING btree (inbound_message_id, content_sha256)
CREATE UNIQUE INDEX inbound_conflict_pkey ON public.inbound_conflict USING btree (id)
CREATE UNIQUE INDEX inbound_message_org_id_id_key ON public.inbound_message USING btree (org_id, id)
CREATE UNIQUE INDEX inbound_message_pkey ON public.inbound_message USING btree (id)
CREATE UNIQUE INDEX inbound_message_source_key ON public.inbound_message USING btree (org_id, source, source_message_id) WHERE (source_message_id IS NOT NULL)
CREATE UNIQUE INDEX org_pkey ON public.org USING btree (id)
CREATE UNIQUE INDEX org_slug_key ON public.org USING btree (slug)
CREATE UNIQUE INDEX reconcile_run_open ON public.reconcile_run USING btree ((true)) WHERE (ended_at IS NULL)
CREATE UNIQUE INDEX reconcile_run_pkey ON public.reconcile_run USING btree (id)
CREATE UNIQUE INDEX store_gap_count_pkey ON public.store_gap_count USING btree (id)
CREATE UNIQUE INDEX store_gap_pkey ON public.store_gap USING btree (id)
CREATE UNIQUE INDEX store_mark_pkey ON public.store_mark USING btree (id)

-- triggers
CREATE TRIGGER document_content BEFORE INSERT OR UPDATE OF file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key ON public.document FOR EACH ROW EXECUTE FUNCTION check_document_content()
CREATE TRIGGER document_transition BEFORE UPDATE ON public.document FOR EACH ROW WHEN (((new.id <> old.id) OR (new.org_id <> old.org_id) OR (new.inbound_message_id <> old.inbound_message_id) OR (new.part_path <> old.part_path) OR ((old.status = new.status) AND ((old.status = 'EXTRACTED'::text) OR (old.storage_key IS NULL)) AND (old.error_json IS DISTINCT FROM new.error_json)) OR ((old.status <> new.status) AND ((((((((old.status <> 'UPLOADED'::text) OR (new.status <> 'STORED'::text)) AND ((old.status <> 'UPLOADED'::text) OR (new.status <> 'FAILED'::text))) AND ((old.status <> 'STORED'::text) OR (new.status <> 'PROCESSING'::text))) AND ((old.status <> 'STORED'::text) OR (new.status <> 'EXTRACTED'::text))) AND ((old.status <> 'STORED'::text) OR (new.status <> 'FAILED'::text))) AND ((old.status <> 'PROCESSING'::text) OR (new.status <> 'EXTRACTED'::text))) AND ((old.status <> 'PROCESSING'::text) OR (new.status <> 'FAILED'::text)))))) EXECUTE FUNCTION refuse_document_change()
CREATE TRIGGER document_updated_at BEFORE UPDATE ON public.document FOR EACH ROW EXECUTE FUNCTION set_updated_at()
CREATE TRIGGER inbound_message_finding BEFORE UPDATE OF error_json, parts_json, notes_json, parser_version ON public.inbound_message FOR EACH ROW WHEN ((((old.status = new.status) OR (new.status <> ALL (ARRAY['PARSED'::text, 'FAILED'::text]))) AND ((((old.error_json IS DISTINCT FROM new.error_json) OR (old.parts_json IS DISTINCT FROM new.parts_json)) OR (old.notes_json IS DISTINCT FROM new.notes_json)) OR (old.parser_version IS DISTINCT FROM new.parser_version)))) EXECUTE FUNCTION refuse_inbound_message_finding()
CREATE TRIGGER inbound_message_starts_received BEFORE INSERT ON public.inbound_message FOR EACH ROW WHEN ((new.status <> 'RECEIVED'::text)) EXECUTE FUNCTION refuse_inbound_message_change()
CREATE TRIGGER inbound_message_transition BEFORE UPDATE ON public.inbound_message FOR EACH ROW WHEN (((new.org_id <> old.org_id) OR ((old.status <> new.status) AND (((((old.status <> 'RECEIVED'::text) OR (new.status <> 'STORED'::text)) AND ((old.status <> 'RECEIVED'::text) OR (new.status <> 'FAILED'::text))) AND ((old.status <> 'STORED'::text) OR (new.status <> 'PARSED'::text))) AND ((old.status <> 'STORED'::text) OR (new.status <> 'FAILED'::text)))))) EXECUTE FUNCTION refuse_inbound_message_change()
CREATE TRIGGER inbound_message_updated_at BEFORE UPDATE ON public.inbound_message FOR EACH ROW EXECUTE FUNCTION set_updated_at()
CREATE TRIGGER org_updated_at BEFORE UPDATE ON public.org FOR EACH ROW EXECUTE FUNCTION set_updated_at()

-- functions
CREATE OR REPLACE FUNCTION public.acts_as_owner(relation oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
RETURN pg_has_role(CURRENT_USER, (SELECT pg_class.relowner FROM pg_class WHERE (pg_class.oid = acts_as_owner.relation)), 'USAGE'::text)
CREATE OR REPLACE FUNCTION public.check_document_content()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF acts_as_owner(TG_RELID) THEN
    RETURN NEW;
  ELSIF NEW.storage_key IS NOT NULL
    -- An id has 36 characters. A pattern made anew for each row would be compiled for each.
    AND NOT (left(NEW.storage_key, 36) = NEW.org_id::text AND substr(NEW.storage_key, 46, 36) = NEW.id::text
      AND substr(NEW.storage_key, 37, 9) || substr(NEW.storage_key, 82) ~ '^/[0-9]{4}/[0-9]{2}/\.[a-z0-9]+$') THEN
    RAISE EXCEPTION 'document %: its object is {org_id}/{yyyy}/{mm}/{document_id}{.ext}, not another one', NEW.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'document_own_object';
  ELSIF NOT is_read_now(NEW.inbound_message_id) THEN
    RAISE EXCEPTION 'document %: % may write a document only while it reads the message', NEW.id, current_user
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'document_of_reading';
  END IF;
  RETURN NEW;
END $function$
CREATE OR REPLACE FUNCTION public.current_org_id()
 RETURNS uuid
 LANGUAGE sql
 STABLE
RETURN (NULLIF(current_setting('app.org_id'::text, true), ''::text))::uuid
CREATE OR REPLACE FUNCTION public.is_read_now(message_id uuid)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
  -- Who may not see messages does not read them.
  IF NOT has_table_privilege('inbound_message', 'SELECT') THEN
    RETURN false;
  END IF;
  RETURN EXISTS (SELECT FROM inbound_message WHERE id = message_id AND xmin = pg_current_xact_id()::xid);
END $function$
CREATE OR REPLACE FUNCTION public.refuse_document_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF (NEW.id, NEW.org_id, NEW.inbound_message_id, NEW.part_path)
    IS DISTINCT FROM (OLD.id, OLD.org_id, OLD.inbound_message_id, OLD.part_path) THEN
    RAISE EXCEPTION 'document %: a document never changes its id, organisation, message or part', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'document_identity_fixed';
  ELSIF OLD.status = 'FAILED' AND NEW.status IN ('PROCESSING', 'EXTRACTED') AND NEW.storage_key IS NOT NULL THEN
    RETURN NEW; -- Another try of the next stage. Where storing it has failed, there is nothing to try.
  ELSIF NEW.status IN ('STORED', 'FAILED') AND is_read_now(NEW.inbound_message_id) THEN
    RETURN NEW; -- `messages retry`: it was FAILED, or has other bytes.
  ELSIF (OLD.status <> 'EXTRACTED' OR NEW.status = OLD.status) AND acts_as_owner(TG_RELID) THEN
    RETURN NEW;
  ELSIF NEW.status = OLD.status THEN
    RAISE EXCEPTION 'document %: % may not write the error of one that is EXTRACTED, or was never stored', OLD.id, current_user
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'document_error_of_next_stage';
  END IF;
  RAISE EXCEPTION 'document %: % cannot become %', OLD.id, OLD.status, NEW.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'document_status_transition';
END $function$
CREATE OR REPLACE FUNCTION public.refuse_inbound_message_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
END $function$
CREATE OR REPLACE FUNCTION public.refuse_inbound_message_finding()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF acts_as_owner(TG_RELID) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'inbound_message %: % may write what was found in a message only with the end of its reading', OLD.id, current_user
    USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'inbound_message_finding';
END $function$
CREATE OR REPLACE FUNCTION public.set_updated_at()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
  NEW.updated_at = now();
  RETURN NEW;
END $function$

-- row-level security
audit_log: tenant to orderflow_tenant using (org_id = current_org_id())
blocked_sender: tenant to orderflow_tenant using (org_id = current_org_id())
document: next_stage to public using (org_id = current_org_id())
document: tenant to orderflow_tenant using (org_id = current_org_id())
inbound_conflict: tenant to orderflow_tenant using (org_id = current_org_id())
inbound_message: tenant to orderflow_tenant using (org_id = current_org_id())
org: tenant to orderflow_tenant using (id = current_org_id())

-- grants
audit_log: select to orderflow_tenant
blocked_sender: select to orderflow_tenant
document: insert (declared_mime_type), insert (error_json), insert (file_name), insert (id), insert (inbound_message_id), insert (mime_type), insert (org_id), insert (part_path), insert (sha256), insert (size_bytes), insert (status), insert (storage_key), select, update (declared_mime_type), update (error_json), update (file_name), update (mime_type), update (sha256), update (size_bytes), update (status), update (storage_key) to orderflow_tenant
document: select, update (error_json), update (status) to orderflow_next_stage
inbound_conflict: select to orderflow_tenant
inbound_message: select, update (error_json), update (notes_json), update (parser_version), update (parts_json), update (status) to orderflow_tenant
org: select to orderflow_tenant
