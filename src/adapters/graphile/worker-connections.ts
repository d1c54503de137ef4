/** The connections of a pool as graphile-worker 0.18 needs them: it gives back broken ones as if they were whole. */
import pg from 'pg';

type ConnectCallback = Parameters<pg.Pool['connect']>[0];
type Release = (destroy?: Error | boolean) => void;
type Query = (...args: readonly unknown[]) => unknown;

export interface WorkerConnections {
  /** The same connections; what graphile-worker is to be given. */
  readonly pool: pg.Pool;
  /** Ends every connection of the pool at once: who uses one gets an error, and the next one is new. */
  cut(): void;
}

/**
 * QUIRK: graphile-worker 0.18 returns a connection to the pool whatever became of its query. One that the network has
 * forgotten would be handed out again and again, and cost 17 s each time. Here it is closed when it is given back.
 * QUIRK: it may give the connection on which it listens back twice when that breaks right after it was made, and does not
 * wait for its own complaint: an unhandled rejection, the end of the process.
 */
export function openWorkerConnections(pool: pg.Pool): WorkerConnections {
  const open = new Set<pg.PoolClient>();
  const broken = new WeakSet<pg.PoolClient>();
  pool.on('connect', (client: pg.PoolClient) => {
    open.add(client);
    client.once('end', () => open.delete(client));
    watchQueries(client, () => broken.add(client));
  });

  const onceOnly = (client: pg.PoolClient, release: Release): Release => {
    let released = false;
    const giveBack: Release = (destroy) => {
      if (released) return;
      released = true;
      release(destroy || broken.has(client));
    };
    client.release = giveBack;
    return giveBack;
  };

  const connect = pool.connect.bind(pool);
  const connectWith = (callback: ConnectCallback): void =>
    connect((error, client, release) => {
      callback(error, client, client === undefined ? release : onceOnly(client, release));
    });
  const connected = async (): Promise<pg.PoolClient> => {
    const client = await connect();
    onceOnly(client, client.release.bind(client));
    return client;
  };
  return {
    pool: Object.assign(Object.create(pool) as pg.Pool, {
      connect: (callback?: ConnectCallback) => (callback === undefined ? connected() : connectWith(callback)),
    }),
    cut() {
      for (const client of open) client.connection.stream.destroy();
    },
  };
}

function watchQueries(client: pg.PoolClient, onBroken: () => void): void {
  const query = client.query.bind(client) as Query;
  const watched = (...args: readonly unknown[]): unknown => {
    const answer = query(...args);
    // With a callback there is no promise; the pool itself asks so, and closes the connection at any error.
    if (answer instanceof Promise) answer.catch((error: unknown) => inStep(error) || onBroken());
    return answer;
  };
  Object.assign(client, { query: watched });
}

/** The server has answered, goes on (57P is its end), and takes what is written (25006: it is read-only now). */
function inStep(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !/^(57P|25006)/.test(error.code ?? '57P');
}
