-- What a person should know of a mail that could be read only with a recovery: an array of {code, part, text, detail?},
-- [] when there is nothing to say, null until a parser that writes notes has read the mail. `parser_version` says which
-- parser that was. `reverse_path` is the envelope's own sender, null for <>, for which from_email falls back to the header.
-- Nullable and without default: no table is rewritten, and a process of the version before goes on inserting and updating.

ALTER TABLE inbound_message
  ADD COLUMN notes_json JSONB,
  ADD COLUMN parser_version INTEGER,
  ADD COLUMN reverse_path TEXT;

GRANT UPDATE (notes_json, parser_version) ON inbound_message TO orderflow_tenant;
