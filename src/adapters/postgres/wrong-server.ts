/**
 * After a failover an old connection may live on and lead to a server that takes no writes: the old primary, fenced or
 * restarted as a standby. Such a connection is closed, so that the next one is made anew, and so are the others of its pool
 * that lie idle.
 */
import pg from 'pg';

/**
 * SQLSTATEs that say "not by this connection":
 * - 08, 57P01 to 57P05: the connection is gone, or the server is going; 58, XX: the server is not well;
 * - 25006: it takes no writes; 0A000: not during recovery, or a plan whose table has changed since;
 * - 26000, 42P05: our prepared statements are somebody else's, the session is not the one we prepared them in;
 * - 42501: the rights were those of another server, or have changed since the session began.
 * Closing one for nothing costs a connect.
 */
const WRONG_SERVER = /^(08|57P0[1-5]|58|XX|25006$|0A000$|26000$|42P05$|42501$)/;

/** Of these, the one that says it of every connection of the pool. */
const READ_ONLY = '25006';

/** The server that this connection leads to takes no mail; the message is for `/readyz` and the log. */
export class WrongServerError extends Error {
  override readonly name = 'WrongServerError';
  /** As the server itself would say it of a write. */
  readonly code = READ_ONLY;
}

/** Has every connection of the pool closed that turns out to lead to the wrong server, whoever uses it. */
export function leaveWrongServers(pool: pg.Pool): void {
  const leaving = new WeakSet<pg.ClientBase>();
  pool.on('connect', (client) => {
    onServerError(client, (code) => {
      if (!WRONG_SERVER.test(code)) return;
      leaving.add(client);
      if (code === READ_ONLY) closeIdle(pool);
    });
  });
  // A client that is ending is not taken back.
  pool.on('release', (_error, client) => {
    if (leaving.has(client)) void client.end().catch(() => {});
  });
}

/** The protocol's own event: an error is seen also where a library catches it. Its type is not published. */
function onServerError(client: pg.ClientBase, heard: (code: string) => void): void {
  const { connection } = client as unknown as { readonly connection: NodeJS.EventEmitter };
  connection.on('errorMessage', ({ code }: { readonly code?: unknown }) => {
    if (typeof code === 'string') heard(code);
  });
}

/**
 * Runs the work once more where a server says that it takes no writes: that proves that nothing was written, and by now
 * another connection may lead to the new primary.
 */
export async function onceMoreElsewhere<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === READ_ONLY) return await work();
    throw error;
  }
}

/** Each is taken once more, to be closed. */
export function closeIdle(pool: pg.Pool): void {
  for (let left = pool.idleCount; left > 0; left--) {
    pool.connect().then(
      (client) => client.release(true),
      () => {},
    );
  }
}

interface Acceptance {
  readonly standby: boolean;
  readonly readOnly: boolean;
}

const ACCEPTANCE = `
  SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS "readOnly"`;

/**
 * Whether what a 250 rests on can be written by this connection.
 * Errors: `WrongServerError` when not; the server's own when it cannot be asked.
 */
export async function assertAccepts(client: Pick<pg.ClientBase, 'query'>): Promise<void> {
  const { rows } = await client.query<Acceptance>(ACCEPTANCE);
  if (rows[0]?.standby === true) throw new WrongServerError('the database server is a standby: it takes no mail');
  if (rows[0]?.readOnly !== false) throw new WrongServerError('the database is read-only: it takes no mail');
}

/** The same of a pool. A connection that leads to the wrong server is closed, with the idle ones of its pool. */
export async function acceptanceProbe(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  let wrong = false;
  try {
    await assertAccepts(client);
  } catch (error) {
    wrong = true;
    throw error;
  } finally {
    client.release(wrong);
    if (wrong) closeIdle(pool);
  }
}
