/**
 * The whole schema as text, from the database's own catalogue: what all migrations together amount to. For reading, and
 * for a test that fails when a migration changes more, or less, than its author saw. (pg_dump is no part of the embedded
 * PostgreSQL.)
 */
import type pg from 'pg';

const SECTIONS: readonly { readonly title: string; readonly query: string }[] = [
  {
    title: 'columns',
    query: `
      SELECT format('%-16s %-22s %s%s%s', table_name, column_name,
        CASE data_type WHEN 'USER-DEFINED' THEN udt_name ELSE data_type END,
        CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END,
        coalesce(' default ' || column_default, '')) AS line
      FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migration'
      ORDER BY table_name, ordinal_position`,
  },
  {
    title: 'constraints',
    query: `
      SELECT format('%s: %s: %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS line
      FROM pg_constraint
      WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 0
        AND conrelid::regclass::text <> 'schema_migration'
      ORDER BY 1`,
  },
  {
    title: 'indexes',
    query: `
      SELECT indexdef AS line FROM pg_indexes
      WHERE schemaname = 'public' AND tablename <> 'schema_migration' ORDER BY 1`,
  },
  {
    title: 'triggers',
    query: `
      SELECT pg_get_triggerdef(oid) AS line FROM pg_trigger
      WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
      ORDER BY 1`,
  },
  {
    title: 'functions',
    query: `
      SELECT pg_get_functiondef(p.oid) AS line FROM pg_proc AS p
      WHERE p.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
      ORDER BY p.proname`,
  },
  {
    title: 'row-level security',
    query: `
      SELECT format('%s: %s to %s using %s', tablename, policyname, array_to_string(roles, ', '), qual) AS line
      FROM pg_policies WHERE schemaname = 'public' ORDER BY 1`,
  },
  {
    title: 'grants',
    query: `
      SELECT format('%s: %s to %s', relation, string_agg(privilege, ', ' ORDER BY privilege), grantee::regrole) AS line
      FROM (
        SELECT c.oid::regclass AS relation, lower(a.privilege_type) AS privilege, a.grantee
        FROM pg_class AS c, aclexplode(c.relacl) AS a
        UNION ALL
        SELECT attrelid::regclass, format('%s (%s)', lower(a.privilege_type), attname), a.grantee
        FROM pg_attribute, aclexplode(attacl) AS a
      ) AS granted
      WHERE grantee IN (SELECT oid FROM pg_roles WHERE rolname IN ('orderflow_tenant', 'orderflow_next_stage'))
      GROUP BY relation, grantee ORDER BY 1`,
  },
];

const HEAD = '-- Generated from the migrations by `npm run schema`; for reading. The migrations are what is run.\n';

export async function dumpSchema(pool: Pick<pg.Pool, 'query'>): Promise<string> {
  const sections: string[] = [];
  for (const { title, query } of SECTIONS) {
    const { rows } = await pool.query<{ line: string }>(query);
    sections.push(`-- ${title}\n${rows.map(({ line }) => line.trimEnd()).join('\n')}\n`);
  }
  return [HEAD, ...sections].join('\n');
}
