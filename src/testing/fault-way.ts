/** A TCP proxy between the product and one server that it uses, which does to the bytes what networks do. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from './clean-up.ts';

/**
 * - `latency`: every read is passed on late, one after the other.
 * - `reset`: connections are reset, those there are and each new one.
 * - `silence`: connections are forgotten, those there are and each new one: both ends stay connected, and what they send is
 *   acknowledged by the kernel and goes nowhere. A forgotten connection stays so when the trouble is over.
 * - `cut`: a connection is reset in the middle, after so many more bytes of both directions together.
 * - `bandwidth`: all connections crawl.
 */
export type WayTrouble =
  | { readonly kind: 'latency'; readonly delayMs: number }
  | { readonly kind: 'reset' }
  | { readonly kind: 'silence' }
  | { readonly kind: 'cut'; readonly afterBytes: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number };

export interface FaultWay {
  /** The server's, by way of this. */
  readonly url: string;
  begin(trouble: WayTrouble): void;
  end(): void;
  /** New connections go there; those under way stay where they are. */
  moveTo(url: string): void;
}

interface Connection {
  forgotten: boolean;
  passedBytes: number;
  reset(): void;
}

/** A piece that is held back by `bandwidth` waits this long at most, so that the end of the trouble is noticed. */
const LONGEST_WAIT_MS = 500;

const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const settle = (): void => {
      socket.off('drain', settle).off('close', settle);
      resolve();
    };
    socket.on('drain', settle).on('close', settle);
  });

export async function openFaultWay(t: TestContext, url: string): Promise<FaultWay> {
  let target = new URL(url);
  let trouble: WayTrouble | null = null;
  const connections = new Set<Connection>();

  /** Shape: what may go on to the other end; null ends the connection after it. */
  const held = async (connection: Connection, bytes: Buffer): Promise<{ passed: Buffer; ends: boolean }> => {
    const now = trouble;
    if (now?.kind === 'latency') await sleep(now.delayMs);
    if (now?.kind === 'bandwidth') await sleep(Math.min(LONGEST_WAIT_MS, (bytes.length / now.bytesPerSecond) * 1_000));
    connection.passedBytes += bytes.length;
    const over = now?.kind === 'cut' ? connection.passedBytes - now.afterBytes : 0;
    return { passed: over > 0 ? bytes.subarray(0, Math.max(0, bytes.length - over)) : bytes, ends: over > 0 };
  };

  const pass = (connection: Connection, from: Socket, to: Socket): void => {
    let tail = Promise.resolve();
    const next = (step: () => Promise<void> | void): void => {
      tail = tail.then(step).catch(() => {});
    };
    from.on('data', (bytes: Buffer) => {
      // Read all the same: a kernel that acknowledges nothing would be noticed by the other end.
      if (connection.forgotten) return;
      from.pause();
      next(async () => {
        const { passed, ends } = await held(connection, bytes);
        if (!connection.forgotten && to.writable && !to.write(passed) && !ends) await drained(to);
        if (ends) connection.reset();
        from.resume();
      });
    });
    from.on('end', () => next(() => void (connection.forgotten || to.end())));
    from.on('close', () => next(() => void (connection.forgotten || to.destroy())));
  };

  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    keep(client);
    if (trouble?.kind === 'reset') return void client.resetAndDestroy();
    if (trouble?.kind === 'silence') return void client.resume();
    const to = { host: target.hostname, port: Number(target.port) };
    const upstream = keep(connect({ ...to, noDelay: true, allowHalfOpen: true }));
    const connection: Connection = {
      forgotten: false,
      passedBytes: 0,
      reset() {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      },
    };
    connections.add(connection);
    client.on('close', () => connections.delete(connection));
    pass(connection, client, upstream);
    pass(connection, upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  const by = new URL(url);
  by.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    // An origin has no path, and the settings take none.
    url: by.protocol.startsWith('http') ? by.origin : by.href,
    begin(next) {
      trouble = next;
      for (const connection of connections) {
        connection.passedBytes = 0;
        if (next.kind === 'reset') connection.reset();
        if (next.kind === 'silence') connection.forgotten = true;
      }
    },
    end() {
      trouble = null;
    },
    moveTo(to) {
      target = new URL(to);
    },
  };
}
