/**
 * A TCP proxy that forgets its connections, as a firewall, a NAT or a router that was replaced does: both ends stay
 * connected, their bytes are acknowledged by the kernel and go nowhere, and nobody is told that the other end has gone.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { cleanUp } from './clean-up.ts';

/** What stands between the product and a server that it uses. */
export interface Middlebox {
  /** The server's, by way of this. */
  readonly url: string;
  /** Forgets every connection there is, and until `speak` each new one as well. */
  silence(): void | Promise<void>;
  /** New connections lead to the server again; those that were forgotten stay so. */
  speak(): void | Promise<void>;
}

export interface SilentWay extends Middlebox {
  silence(): void;
  speak(): void;
  /** How many clients hold a connection that was forgotten. */
  forgotten(): number;
}

export async function openSilentWay(t: TestContext, url: string): Promise<SilentWay> {
  const { hostname, port } = new URL(url);
  const target = { host: hostname, port: Number(port) };
  const sockets = new Set<Socket>();
  const known = new Set<{ forget(): void }>();
  let [silent, forgotten] = [false, 0];

  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    return socket;
  };

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    keep(client);
    let dead = silent;
    const count = (): void => {
      forgotten++;
      client.once('close', () => forgotten--);
    };
    if (dead) {
      count();
      client.resume();
      return;
    }
    const upstream = keep(connect({ ...target, noDelay: true, allowHalfOpen: true }));
    const way = {
      forget() {
        dead = true;
        count();
      },
    };
    known.add(way);
    const pass = (from: Socket, to: Socket): void => {
      // Read also when forgotten: a kernel that acknowledges nothing would be noticed by the other.
      from.on('data', (bytes: Buffer) => {
        if (!dead) to.write(bytes);
      });
      from.on('end', () => {
        if (!dead) to.end();
      });
      from.on('close', () => {
        known.delete(way);
        if (!dead) to.destroy();
      });
    };
    pass(client, upstream);
    pass(upstream, client);
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
    url: by.href,
    silence() {
      silent = true;
      for (const way of known) way.forget();
      known.clear();
    },
    speak() {
      silent = false;
    },
    forgotten: () => forgotten,
  };
}
