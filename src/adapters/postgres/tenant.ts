import type pg from 'pg';
import { inTransaction } from './pool.ts';

/**
 * A transaction that sees and writes the rows of one organisation only, held to it by row-level security.
 * A mistake in a WHERE clause then finds nothing instead of somebody else's orders.
 */
export function asOrganisation<T>(
  pool: pg.Pool,
  orgId: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return inTransaction(pool, async (client) => {
    await enterOrganisation(client, orgId);
    return work(client);
  });
}

/** Until the transaction ends or `leaveOrganisation`. */
export async function enterOrganisation(client: pg.PoolClient, orgId: string): Promise<void> {
  await client.query({
    name: 'enter-organisation',
    text: `SELECT set_config('app.org_id', $1, true), set_config('role', 'orderflow_tenant', true)`,
    values: [orgId],
  });
}

/** Back to the server's own role, for what does not belong to an organisation: the job queue. */
export async function leaveOrganisation(client: pg.PoolClient): Promise<void> {
  await client.query(`SELECT set_config('role', 'none', true), set_config('app.org_id', '', true)`);
}
