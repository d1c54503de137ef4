/**
 * Connections that sit idle for as long as a worker lives: its lease, and the one on which it listens. A firewall or NAT
 * forgets such a connection after minutes, and says so to nobody. TCP keepalives come too late (two hours by default; Node
 * sets no interval, and has no TCP_USER_TIMEOUT) and are answered by whatever stands between, so the server itself is asked.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

/** Below what firewalls forget connections after, a minute or more. */
const ASK_EVERY_MS = 10_000;
const ANSWER_WITHIN_MS = 5_000;
/** For a connection's last words. */
const GOODBYE_MS = 1_000;

/** A query that nobody answers within ANSWER_WITHIN_MS rejects. */
export const inTime = (text: string): pg.QueryConfig & { readonly query_timeout: number } => ({
  text,
  query_timeout: ANSWER_WITHIN_MS,
});

/** Fails on a server that takes no writes any more: after a failover the connection leads to what was the primary. */
const QUESTION = `SELECT 1 / (NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off')::int`;

/** Ends the connection when it does not answer, or its server takes no writes: its owner hears `error`, as of any that breaks. Shape: how to stop. */
export function keepAsking(client: pg.Client): () => void {
  const ask = async (): Promise<void> => {
    try {
      await client.query(inTime(QUESTION));
    } catch (error) {
      stop();
      client.connection.stream.destroy(
        new Error('the database does not answer on it, or takes no writes', { cause: error }),
      );
    }
  };
  const asking = setInterval(() => void ask(), ASK_EVERY_MS);
  const stop = (): void => clearInterval(asking);
  return stop;
}

/** As `end`, but does not wait for a server that is not heard any more. Never rejects. */
export async function endInTime(client: pg.Client): Promise<void> {
  const over = new AbortController();
  const late = sleep(GOODBYE_MS, undefined, { signal: over.signal }).catch(() => {});
  await Promise.race([client.end().catch(() => {}), late]);
  over.abort();
  client.connection.stream.destroy();
}
