import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { MIGRATIONS_DIR, migrationNames } from './earlier-schema.ts';
import { findingsIn } from './migration-rules.ts';

it('each migration can run while processes of the version before take mail', async () => {
  const names = await migrationNames();
  assert.ok(names.length > 0);
  for (const name of names) assert.match(name, /^\d{4}_[a-z0-9_]+$/);
  assert.equal(new Set(names.map((name) => name.slice(0, 4))).size, names.length, 'each has a number of its own');
  for (const name of names) {
    const findings = findingsIn(await readFile(join(MIGRATIONS_DIR, `${name}.sql`), 'utf8'));
    assert.deepEqual(findings, [], name);
  }
});

it('what would break or hold up an old process is found', () => {
  const refused: readonly string[] = [
    'DROP TABLE document',
    'ALTER TABLE inbound_message DROP COLUMN subject',
    'ALTER TABLE inbound_message DROP subject',
    'ALTER TABLE inbound_message RENAME COLUMN subject TO title',
    'ALTER TABLE inbound_message RENAME TO message',
    'ALTER TABLE document ALTER COLUMN size_bytes TYPE numeric',
    'ALTER TABLE document ADD COLUMN pages INT NOT NULL',
    'ALTER TABLE document ADD pages INT, ADD COLUMN other TEXT NOT NULL',
    'ALTER TABLE document ALTER size_bytes SET NOT NULL',
    'ALTER TABLE document ALTER COLUMN status DROP DEFAULT',
    'ALTER TABLE document ADD COLUMN token UUID DEFAULT gen_random_uuid()',
    'ALTER TABLE document ADD COLUMN number BIGSERIAL',
    'ALTER TABLE document ADD CONSTRAINT sane CHECK (size_bytes >= 0)',
    'ALTER TABLE document ADD COLUMN kind TEXT CHECK (kind IN (1, 2))',
    'ALTER TABLE document ADD CONSTRAINT owner FOREIGN KEY (org_id) REFERENCES org (id)',
    'ALTER TABLE document ADD COLUMN job UUID REFERENCES job (id)',
    'ALTER TABLE document ADD UNIQUE (sha256)',
    'CREATE INDEX document_sha256 ON document (sha256)',
    'CREATE UNIQUE INDEX IF NOT EXISTS one ON inbound_message (trace_id)',
    "UPDATE inbound_message SET helo_name = 'where'",
    'DELETE FROM document',
    'TRUNCATE document',
    'LOCK TABLE document',
    'REVOKE UPDATE ON document FROM orderflow_tenant',
    'COMMIT',
  ];
  for (const statement of refused) assert.notDeepEqual(findingsIn(`-- why\n${statement};`), [], statement);
});

it('what does no harm is let through', () => {
  const allowed: readonly string[] = [
    'ALTER TABLE document ADD COLUMN pages INT, ADD COLUMN language TEXT',
    'ALTER TABLE document ADD COLUMN pages INT NOT NULL DEFAULT 0',
    'ALTER TABLE document ADD CONSTRAINT sane CHECK (size_bytes >= 0) NOT VALID',
    'ALTER TABLE document VALIDATE CONSTRAINT sane',
    'ALTER TABLE document DROP CONSTRAINT sane',
    'ALTER TABLE document ALTER COLUMN size_bytes DROP NOT NULL',
    'CREATE TABLE note (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), org_id UUID NOT NULL REFERENCES org (id), text TEXT NOT NULL)',
    'CREATE TABLE note (id INT); CREATE INDEX note_id ON note (id); ALTER TABLE note ADD CHECK (id > 0)',
    "UPDATE org SET name = 'DROP TABLE document' WHERE slug = 'acme'",
    'CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM document; END $$',
    '-- DROP TABLE document\nGRANT SELECT ON document TO orderflow_tenant',
    '-- safe: a table of some hundred rows\nCREATE INDEX org_name ON org (name)',
  ];
  for (const statement of allowed) assert.deepEqual(findingsIn(`${statement};`), [], statement);
});
