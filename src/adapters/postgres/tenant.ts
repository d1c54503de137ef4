import pg from 'pg';
import { inTransaction } from './pool.ts';

/**
 * A transaction that sees and writes the rows of one organisation only, held to it by row-level security, until it ends
 * or `leaveOrganisation`. A mistake in a WHERE clause then finds nothing instead of somebody else's orders.
 */
export function asOrganisation<T>(
  pool: pg.Pool,
  orgId: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const enter = `SELECT set_config('app.org_id', ${pg.escapeLiteral(orgId)}, true), set_config('role', 'orderflow_tenant', true)`;
  return inTransaction(pool, work, `BEGIN; ${enter}`);
}

/** Back to the server's own role, for what does not belong to an organisation: the job queue. */
export async function leaveOrganisation(client: pg.PoolClient): Promise<void> {
  await client.query(`SELECT set_config('role', 'none', true), set_config('app.org_id', '', true)`);
}
