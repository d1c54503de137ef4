/** What the login may do: make tables, see all rows, take the role that row-level security needs, use citext. */
import type pg from 'pg';
import { broken, type Finding, ok } from '../../ports/finding.ts';

interface LoginFacts {
  readonly login: string;
  readonly database: string;
  readonly mayCreate: boolean;
  readonly mayMakeRoles: boolean;
  /** Our tables that belong to somebody else. */
  readonly foreignTables: readonly string[];
  /** null: there is no such role. */
  readonly mayTakeRole: boolean | null;
  readonly citext: 'installed' | 'available' | 'missing';
  readonly schema: boolean;
}

/** PostgreSQL 16 tells apart who belongs to a role and who may become it. */
const FACTS = `
  SELECT current_user AS login, current_database() AS database,
    has_database_privilege(current_database(), 'CREATE') AND has_schema_privilege('public', 'CREATE') AS "mayCreate",
    rolsuper OR rolcreaterole AS "mayMakeRoles",
    ARRAY(
      SELECT relname::text FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND NOT pg_has_role(relowner, 'USAGE')
        AND relname IN ('org', 'inbound_message', 'inbound_conflict', 'document', 'blocked_sender')
      ORDER BY 1) AS "foreignTables",
    (SELECT pg_has_role(oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
      FROM pg_roles WHERE rolname = 'orderflow_tenant') AS "mayTakeRole",
    CASE
      WHEN EXISTS (SELECT FROM pg_extension WHERE extname = 'citext') THEN 'installed'
      WHEN EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') THEN 'available'
      ELSE 'missing' END AS citext,
    to_regclass('public.inbound_message') IS NOT NULL AS schema
  FROM pg_roles WHERE rolname = current_user`;

export async function examineLogin(client: pg.Client): Promise<readonly Finding[]> {
  const { rows } = await client.query<LoginFacts>(FACTS);
  const facts = rows[0];
  if (facts === undefined) return [];
  const findings = [...judgeOwner(facts), ...judgeRole(facts), ...judgeExtension(facts)];
  return findings.length > 0 ? findings : [ok('login', `the login "${facts.login}" may do all that is needed`)];
}

function judgeOwner({ login, database, mayCreate, foreignTables }: LoginFacts): readonly Finding[] {
  const own = `ALTER DATABASE "${database}" OWNER TO "${login}"`;
  if (foreignTables.length > 0) {
    return [
      broken(
        'login',
        `the tables ${foreignTables.join(', ')} belong to another login than "${login}", which row-level security holds from seeing all rows`,
        `use the login that owns them in DATABASE_URL, or: ${own}; REASSIGN OWNED BY <the other login> TO "${login}"`,
      ),
    ];
  }
  if (mayCreate) return [];
  return [
    broken(
      'login',
      `the login "${login}" may not make tables in the database "${database}"`,
      `as an administrator: ${own}; GRANT CREATE ON SCHEMA public TO "${login}"`,
    ),
  ];
}

function judgeRole({ login, mayTakeRole, mayMakeRoles }: LoginFacts): readonly Finding[] {
  if (mayTakeRole === true || (mayTakeRole === null && mayMakeRoles)) return [];
  const grant = `GRANT orderflow_tenant TO "${login}"`;
  return mayTakeRole === null
    ? [
        broken(
          'login',
          `there is no role orderflow_tenant, which keeps organisations apart, and "${login}" may not make it`,
          `as an administrator: CREATE ROLE orderflow_tenant NOLOGIN; ${grant}`,
        ),
      ]
    : [broken('login', `"${login}" may not take the role orderflow_tenant`, `as an administrator: ${grant}`)];
}

function judgeExtension({ citext, mayCreate }: LoginFacts): readonly Finding[] {
  if (citext === 'installed' || (citext === 'available' && mayCreate)) return [];
  if (citext === 'available') {
    return [broken('login', 'the extension citext is not made yet', 'as an administrator: CREATE EXTENSION citext')];
  }
  return [
    broken(
      'database',
      'the server lacks the extension citext',
      "install PostgreSQL's contrib package (postgresql-contrib) on the server",
    ),
  ];
}
