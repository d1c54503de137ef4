import type pg from 'pg';

type ConnectCallback = Parameters<pg.Pool['connect']>[0];

/**
 * The same connections, seen through a pool that lets a connection be given back twice.
 *
 * QUIRK: graphile-worker 0.18 may give the connection on which it listens back twice when it breaks right after it was made,
 * and does not wait for its own complaint: an unhandled rejection, the end of the process.
 */
export function forgivingSecondRelease(pool: pg.Pool): pg.Pool {
  const connect = pool.connect.bind(pool);
  const connectWith = (callback: ConnectCallback): void =>
    connect((error, client, release) => {
      let released = false;
      callback(error, client, (destroy) => {
        if (!released) release(destroy);
        released = true;
      });
    });
  return Object.assign(Object.create(pool) as pg.Pool, {
    connect: (callback?: ConnectCallback) => (callback === undefined ? connect() : connectWith(callback)),
  });
}
