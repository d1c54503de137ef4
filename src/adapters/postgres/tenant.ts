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
  return inTransaction(pool, work, `BEGIN; ${enter(orgId)}`);
}

/** Until the end of the transaction. */
const enter = (orgId: string): string =>
  `SELECT set_config('app.org_id', ${pg.escapeLiteral(orgId)}, true), set_config('role', 'orderflow_tenant', true)`;

/** A statement that is prepared once per connection; its parameters are uuids. */
export interface PreparedStatement {
  readonly name: string;
  readonly parameters: number;
  readonly text: string;
}

/**
 * One statement in such a transaction of its own, in one turn to the database: several statements sent as one query are a
 * transaction. What they share cannot have parameters, so they are written into EXECUTE.
 */
export function createTenantStatement<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  { name, parameters, text }: PreparedStatement,
): (orgId: string, ...values: readonly string[]) => Promise<readonly Row[]> {
  const types = Array.from({ length: parameters }, () => 'uuid').join(', ');
  return async (orgId, ...values) => {
    const client = await pool.connect();
    let broken: Error | undefined;
    try {
      const execute = `EXECUTE ${name} (${values.map((value) => pg.escapeLiteral(value)).join(', ')})`;
      // Prepared as who we are ourselves: that needs no organisation, and stays when the transaction fails.
      const known = preparedOn(client);
      const prepare = known.has(name) ? [] : [`PREPARE ${name} (${types}) AS ${text}`];
      // Of several statements the driver answers several results, which its types do not know.
      const results: unknown = await client.query([...prepare, enter(orgId), execute].join('; '));
      known.add(name);
      return (results as readonly pg.QueryResult<Row>[]).at(-1)?.rows ?? [];
    } catch (error) {
      broken = error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      client.release(broken);
    }
  };
}

/** Names are a connection's, whoever uses it: two stores on one pool prepare a statement once. */
const prepared = new WeakMap<pg.PoolClient, Set<string>>();

function preparedOn(client: pg.PoolClient): Set<string> {
  const names = prepared.get(client) ?? new Set();
  prepared.set(client, names);
  return names;
}

/** Back to the server's own role, for what does not belong to an organisation: the job queue. */
export async function leaveOrganisation(client: pg.PoolClient): Promise<void> {
  await client.query(`SELECT set_config('role', 'none', true), set_config('app.org_id', '', true)`);
}
