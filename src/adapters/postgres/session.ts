/**
 * Settings of a session, made by SET once it is connected. In the startup packet a pooler may refuse them: PgBouncer takes
 * `application_name` there and little else unless it is told to.
 */
import pg from 'pg';

/** By name; the values as SET takes them. */
export type SessionSettings = Readonly<Record<string, string | number>>;

/** How long we wait for PostgreSQL before a client is told 451; a hung server must never hang a session. */
export const CONNECT_TIMEOUT_MS = 5_000;

/** Errors: the server's own when it refuses one; a timeout when a pooler has no server connection to give. */
export async function applySettings(client: pg.ClientBase, settings: SessionSettings): Promise<void> {
  const statements = Object.entries(settings).map(
    ([name, value]) => `SET ${pg.escapeIdentifier(name)} = ${pg.escapeLiteral(String(value))}`,
  );
  if (statements.length === 0) return;
  // A setting of the driver's that its types do not know.
  const withDeadline: pg.QueryConfig & { readonly query_timeout: number } = {
    text: statements.join('; '),
    query_timeout: CONNECT_TIMEOUT_MS,
  };
  await client.query(withDeadline);
}
