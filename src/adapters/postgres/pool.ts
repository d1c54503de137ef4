import pg from 'pg';
import { unlessAborted } from '../../ports/abort.ts';
import type { ConnectionUrl } from '../../ports/renewable-url.ts';
import type { Log } from '../../telemetry/log.ts';
import { RenewingPool } from './login.ts';
import { applySettings, CONNECT_TIMEOUT_MS, type SessionSettings } from './session.ts';
import { leaveWrongServers } from './wrong-server.ts';

/** Cancelled by the server … */
const STATEMENT_TIMEOUT_MS = 15_000;
/** … and given up by us a little later when the server does not even answer (stopped, network gone). */
const QUERY_GRACE_MS = 2_000;

// bigint columns are byte counts, far below 2^53: numbers, not strings.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

/** Before PostgreSQL 18, what is off and needed all the same counts as so dear that it would be compiled (`jit`). */
const BY_KEY_ONLY: SessionSettings = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
};
const FIRST_OF_MANY: SessionSettings = { plan_cache_mode: 'force_custom_plan', enable_sort: 'off', jit: 'off' };
const IDLE_IN_TRANSACTION_MS = 60_000;

/** What a connection is for. */
export interface Purpose {
  /**
   * For work that is done again when it is lost: commits do not wait for the disk. A crash of the database loses a tail of
   * them in the order they were made, never an earlier one alone.
   */
  readonly repeatable?: boolean;
  /** Default: 15 s, because a client waits. */
  readonly statementTimeoutMs?: number;
  /**
   * For statements that reach every row by a key: they are planned once per connection. Otherwise PostgreSQL plans some of
   * them anew for each set of parameters, and keeps for others a plan made while a table was small: graphile-worker's
   * `add_jobs` then reads every waiting job for each new one.
   */
  readonly byKeyOnly?: boolean;
  /**
   * For statements that take the first of many, and whose best plan hangs on their parameters: planned at each use, and by
   * an index that has them in order. PostgreSQL sorted the waiting jobs instead, for each of them, while it knew little of
   * their table.
   */
  readonly firstOfMany?: boolean;
}

/** What a session of that purpose sets once it is connected. */
export const settingsFor = ({
  repeatable,
  byKeyOnly,
  firstOfMany,
  statementTimeoutMs = STATEMENT_TIMEOUT_MS,
}: Purpose): SessionSettings => ({
  statement_timeout: statementTimeoutMs,
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  ...(repeatable ? { synchronous_commit: 'off' } : {}),
  ...(byKeyOnly ? BY_KEY_ONLY : {}),
  ...(firstOfMany ? FIRST_OF_MANY : {}),
});

/**
 * Connections for one purpose; `applicationName` shows in pg_stat_activity.
 * Errors: queries reject; a connection that breaks, or leads to a server that takes no writes, is dropped and replaced at
 * the next use.
 */
export function createPool(
  o: Purpose & {
    readonly url: ConnectionUrl;
    readonly applicationName: string;
    readonly maxConnections: number;
    readonly log: Log;
  },
): pg.Pool {
  const settings = settingsFor(o);
  const config: pg.PoolConfig = {
    application_name: o.applicationName,
    max: o.maxConnections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: (o.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS) + QUERY_GRACE_MS,
    keepAlive: true,
    // Waited for, before anybody gets the connection.
    onConnect: (client) => applySettings(client, settings),
  };
  const pool =
    typeof o.url === 'string' ? new pg.Pool({ ...config, connectionString: o.url }) : new RenewingPool(config, o.url);
  leaveWrongServers(pool);
  pool.on('error', (error) => {
    if (!pool.ending) o.log.warn({ err: error.message }, 'an idle database connection broke');
  });
  // In use when it breaks: the query under way, or the next one, rejects. Unheard, the event would end the process.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/**
 * Runs `work` in one transaction on one connection.
 * Errors: what `work` throws, after a rollback; `CommitUnknownError` when the commit was sent and no answer proves a
 * rollback.
 * A connection that may be out of step is closed, not reused.
 * `begin` may hold more statements behind its BEGIN, all sent at once.
 */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  begin = 'BEGIN',
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(begin);
    const result = await work(client);
    await commit(client);
    return result;
  } catch (error) {
    if (!isServerError(error)) broken = asError(error);
    if (broken === undefined) {
      await client.query('ROLLBACK').catch((failure: unknown) => {
        broken = asError(failure);
      });
    }
    throw error;
  } finally {
    client.release(broken);
  }
}

/**
 * Runs one statement as the transaction that it is, in one turn.
 * Errors: the server's, when nothing was written; `CommitUnknownError` when it was sent and no answer proves a rollback;
 * what connecting fails with.
 */
export async function inOneStatement<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  statement: pg.QueryConfig,
): Promise<pg.QueryResult<Row>> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    return await client.query<Row>(statement);
  } catch (error) {
    // A session that goes on has answered with an ERROR, and that is a rollback: what fails once the commit record may be
    // on disk is a PANIC, which ends the session.
    const goesOn =
      isServerError(error) &&
      (await client.query('SELECT').then(
        () => true,
        () => false,
      ));
    if (goesOn) throw error;
    broken = asError(error);
    throw new CommitUnknownError('the outcome of the statement is not known', { cause: error });
  } finally {
    client.release(broken);
  }
}

/**
 * Runs one statement that only reads, for somebody who may stop waiting.
 * Errors: the server's; the signal's reason. A question under way is not cut off: senders that come and go would cost a
 * connection each. Its connection is free again when the answer comes, or when its time is up.
 */
export async function ask<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  statement: pg.QueryConfig,
  signal: AbortSignal | undefined,
): Promise<readonly Row[]> {
  signal?.throwIfAborted();
  const answer = async (): Promise<readonly Row[]> => {
    const client = await pool.connect();
    if (signal?.aborted) {
      client.release();
      throw signal.reason;
    }
    let broken: Error | undefined;
    try {
      return (await client.query<Row>(statement)).rows;
    } catch (error) {
      broken = asError(error);
      throw error;
    } finally {
      client.release(broken);
    }
  };
  return unlessAborted(answer(), signal);
}

async function commit(client: pg.PoolClient): Promise<void> {
  try {
    const { command } = await client.query('COMMIT');
    // A COMMIT of a transaction that had failed before answers ROLLBACK and no error.
    if (command !== 'COMMIT') throw new Error(`the transaction ended in ${command}`);
  } catch (error) {
    if (isServerError(error) && ROLLED_BACK.test(error.code)) throw error;
    throw new CommitUnknownError('the outcome of COMMIT is not known', { cause: error });
  }
}

/**
 * Answers to a COMMIT that prove that nothing was committed: integrity (23) and serialisation (40, but not 40003, which
 * says "unknown"). Any other may come after the commit record was written: when its log cannot be synced, PostgreSQL
 * says so, crashes, and finds the record in its recovery.
 */
const ROLLED_BACK = /^(23|40(?!003))/;

/** Whether the transaction took effect is not known; the same work may be done again, never undone. */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
}

/** An error that the server itself answered, with an SQLSTATE: the connection is in step. */
export function isServerError(error: unknown): error is pg.DatabaseError & { readonly code: string } {
  // Class 57P0x is the server going away under us: it answered, and will not do so again.
  return error instanceof pg.DatabaseError && typeof error.code === 'string' && !error.code.startsWith('57P');
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
