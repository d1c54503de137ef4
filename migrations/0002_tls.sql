-- How a mail came in: `TLSv1.3` and the cipher's standard name, or null for plain text and for mails taken before this.
-- Nullable and without default: no table is rewritten, and a process of the version before goes on inserting.

ALTER TABLE inbound_message ADD COLUMN tls_version TEXT, ADD COLUMN tls_cipher TEXT;
