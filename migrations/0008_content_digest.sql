-- What `content_sha256` is taken over. 1: what follows the header. 2: that and the header fields that give the mail its
-- meaning (docs/decisions/050-what-a-content-digest-is-taken-over.md). A redelivery is compared by the version of the row that
-- is there. The default is for rows of before and of a process of the version before, which knows the first only; a constant
-- default rewrites no table.

ALTER TABLE inbound_message ADD COLUMN content_digest_version SMALLINT NOT NULL DEFAULT 1;
ALTER TABLE inbound_conflict ADD COLUMN content_digest_version SMALLINT NOT NULL DEFAULT 1;
