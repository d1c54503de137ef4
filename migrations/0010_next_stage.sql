-- What a document may become and who may write what of it: docs/next-stage.md. The database's owner is held to two of the rules: a
-- document stays where it belongs, and EXTRACTED is final. `orderflow_tenant` (the worker, also of the version before) writes documents, and what
-- was found in a message, only in the transaction that reads the message. `orderflow_next_stage`, made after the migrations
-- (src/adapters/postgres/next-stage-role.ts), may write status and error_json.

CREATE FUNCTION acts_as_owner(relation oid) RETURNS boolean LANGUAGE sql STABLE
  RETURN pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = relation), 'USAGE');

-- Has this transaction written the message's row? A reading ends with that, and writes its documents beside it.
CREATE FUNCTION is_read_now(message_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  -- Who may not see messages does not read them.
  IF NOT has_table_privilege('inbound_message', 'SELECT') THEN
    RETURN false;
  END IF;
  RETURN EXISTS (SELECT FROM inbound_message WHERE id = message_id AND xmin = pg_current_xact_id()::xid);
END $$;

-- Called for what is not in the trigger's list.
CREATE FUNCTION refuse_document_change() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$;
CREATE TRIGGER document_transition BEFORE UPDATE ON document
  FOR EACH ROW WHEN (
    NEW.id <> OLD.id OR NEW.org_id <> OLD.org_id OR NEW.inbound_message_id <> OLD.inbound_message_id
    OR NEW.part_path <> OLD.part_path
    OR (OLD.status = NEW.status AND (OLD.status = 'EXTRACTED' OR OLD.storage_key IS NULL)
      AND OLD.error_json IS DISTINCT FROM NEW.error_json)
    OR (OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
      ('UPLOADED', 'STORED'), ('UPLOADED', 'FAILED'), ('STORED', 'PROCESSING'), ('STORED', 'EXTRACTED'), ('STORED', 'FAILED'),
      ('PROCESSING', 'EXTRACTED'), ('PROCESSING', 'FAILED'))))
  EXECUTE FUNCTION refuse_document_change();

CREATE FUNCTION check_document_content() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$;
CREATE TRIGGER document_content
  BEFORE INSERT OR UPDATE OF file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key ON document
  FOR EACH ROW EXECUTE FUNCTION check_document_content();

CREATE FUNCTION refuse_inbound_message_finding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF acts_as_owner(TG_RELID) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'inbound_message %: % may write what was found in a message only with the end of its reading', OLD.id, current_user
    USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'inbound_message_finding';
END $$;
CREATE TRIGGER inbound_message_finding BEFORE UPDATE OF error_json, parts_json, notes_json, parser_version ON inbound_message
  FOR EACH ROW WHEN (
    (OLD.status = NEW.status OR NEW.status NOT IN ('PARSED', 'FAILED'))
    AND (OLD.error_json, OLD.parts_json, OLD.notes_json, OLD.parser_version)
      IS DISTINCT FROM (NEW.error_json, NEW.parts_json, NEW.notes_json, NEW.parser_version))
  EXECUTE FUNCTION refuse_inbound_message_finding();

-- safe: what the worker's statements name, today's and those of the versions before, is granted again below
REVOKE INSERT, UPDATE ON document FROM orderflow_tenant;
-- safe: a trigger writes it
REVOKE UPDATE (updated_at) ON inbound_message FROM orderflow_tenant;
GRANT INSERT (id, org_id, inbound_message_id, part_path, file_name, mime_type, declared_mime_type, size_bytes, sha256,
    storage_key, status, error_json),
  UPDATE (file_name, mime_type, declared_mime_type, size_bytes, sha256, storage_key, status, error_json)
  ON document TO orderflow_tenant;

-- For whoever is granted something on documents: the role need not be there when this runs.
CREATE POLICY next_stage ON document USING (org_id = current_org_id());

-- Documents that the next stage has not finished: few, as long as it keeps up.
-- safe: only workers write documents, and their jobs wait; no mail does. A scan of ten million rows takes seconds.
CREATE INDEX document_unfinished ON document (created_at, id) WHERE status IN ('STORED', 'PROCESSING');
