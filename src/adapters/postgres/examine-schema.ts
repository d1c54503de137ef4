/** Is the schema that of this program, and is there anybody to take mail for? */
import type pg from 'pg';
import { broken, type Finding, ok, warning } from '../../ports/finding.ts';
import { knownMigrations } from './migrate.ts';

export async function examineSchema(client: pg.Client, embedded: boolean): Promise<readonly Finding[]> {
  const applied = await appliedMigrations(client);
  if (applied.length === 0) return [ok('schema', `${NOT_SET_UP} (start does it too)`)];
  const known = await knownMigrations();
  const findings = [judgeMigrations(applied, known)];
  return applied.includes(known[0] ?? '') ? [...findings, await examineOrganisations(client, embedded)] : findings;
}

/** Of a database that no migration has reached, or whose first one was refused. */
export const NOT_SET_UP = 'not set up yet: run `migrate`';

/** Empty when nothing was ever applied; a first migration that failed leaves the table of their names. */
async function appliedMigrations(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ there: boolean }>(
    `SELECT to_regclass('public.schema_migration') IS NOT NULL AS there`,
  );
  if (rows[0]?.there !== true) return [];
  const applied = await client.query<{ name: string }>('SELECT name FROM public.schema_migration ORDER BY name');
  return applied.rows.map(({ name }) => name);
}

function judgeMigrations(applied: readonly string[], known: readonly string[]): Finding {
  const newer = applied.filter((name) => !known.includes(name));
  if (newer.length > 0) {
    return broken(
      'schema',
      `the database was brought up to date by a newer program (${newer.join(', ')})`,
      'use that version of the program, or a newer one',
    );
  }
  const missing = known.filter((name) => !applied.includes(name));
  if (missing.length === 0) return ok('schema', `up to date (${known.at(-1)})`);
  return warning(
    'schema',
    `older than this program: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing`,
    'run migrate, or start, which does it too',
  );
}

async function examineOrganisations(client: pg.Client, embedded: boolean): Promise<Finding> {
  const { rows } = await client.query<{ active: number; disabled: number }>(
    `SELECT count(*) FILTER (WHERE NOT disabled)::int AS active, count(*) FILTER (WHERE disabled)::int AS disabled
     FROM (SELECT coalesce(settings_json->>'disabled' = 'true', false) AS disabled FROM public.org) AS org`,
  );
  const { active = 0, disabled = 0 } = rows[0] ?? {};
  if (active > 0) return ok('organisations', active === 1 ? 'there is one' : `there are ${active}`);
  if (disabled > 0) {
    return warning('organisations', 'all are disabled: every mail is refused with 550', 'enable one in settings_json');
  }
  if (embedded) return ok('organisations', 'there is none yet: start makes "acme"');
  return warning('organisations', 'there is none: every mail is refused with 550', 'org add <slug> makes one');
}
