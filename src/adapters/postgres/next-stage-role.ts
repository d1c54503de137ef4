/**
 * The role of the next stage: an operator grants it to the login of a consumer. Not a part of a numbered migration: a login that
 * may not make roles goes on without it, and the first `migrate` or `start` after an administrator made it grants its rights.
 */
import type pg from 'pg';

export const NEXT_STAGE_ROLE = 'orderflow_next_stage';

/** Roles belong to the whole server: another database of it may have made it, or be making it at this moment. */
const MAKE = `
  DO $$ BEGIN
    CREATE ROLE ${NEXT_STAGE_ROLE} NOLOGIN;
  EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
  END $$`;

/** So that a consumer can be tried with the server's own login. Who made a role is its administrator and no more (PostgreSQL 16). */
const TAKE = `
  DO $$ BEGIN
    IF NOT pg_has_role(current_user, '${NEXT_STAGE_ROLE}',
        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
      EXECUTE format('GRANT ${NEXT_STAGE_ROLE} TO %I', current_user);
    END IF;
  EXCEPTION
    WHEN unique_violation OR invalid_grant_operation OR insufficient_privilege THEN NULL;
  END $$`;

const GRANT = `GRANT SELECT, UPDATE (status, error_json) ON document TO ${NEXT_STAGE_ROLE}`;

const FACTS = `
  SELECT has_table_privilege(oid, 'document', 'SELECT')
    AND has_column_privilege(oid, 'document', 'status', 'UPDATE')
    AND has_column_privilege(oid, 'document', 'error_json', 'UPDATE') AS granted
  FROM pg_roles WHERE rolname = '${NEXT_STAGE_ROLE}'`;

/** Shape: null where there is no such role; whether it has its rights on the documents. */
export async function nextStageRole(client: pg.ClientBase): Promise<{ readonly granted: boolean } | null> {
  const { rows } = await client.query<{ granted: boolean }>(FACTS);
  return rows[0] ?? null;
}

/** Makes the role where the login may, and grants it its rights where it is there. Safe to repeat; to be called by one at a time. */
export async function provideNextStageRole(client: pg.ClientBase): Promise<void> {
  if ((await nextStageRole(client)) === null) await client.query(MAKE);
  const role = await nextStageRole(client);
  if (role !== null) await client.query(TAKE);
  if (role?.granted === false) await client.query(GRANT);
}
