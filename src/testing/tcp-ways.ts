/** Ways to a server that go wrong, over TCP: what a client cannot be asked to do to itself. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { cleanUp } from './clean-up.ts';

export interface Way {
  /** The server's origin, by this way. */
  readonly endpoint: string;
  /** So far. */
  connections(): number;
}

/** Accepts and never answers. */
export function openSilence(t: TestContext): Promise<Way> {
  return listen(t, (client) => client.resume());
}

/** A way that leads elsewhere from some moment on: new connections go there, those under way stay where they are. */
export interface MovingWay extends Way {
  moveTo(endpoint: string): void;
}

export async function openMovingWay(t: TestContext, endpoint: string): Promise<MovingWay> {
  let target = new URL(endpoint);
  const way = await listen(t, (client, _connection, sockets) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    sockets.add(upstream);
    upstream.on('error', () => client.destroy());
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
  });
  return {
    ...way,
    moveTo: (to) => {
      target = new URL(to);
    },
  };
}

/** Answers each connection with these bytes, and no more. */
export function openAnswer(t: TestContext, answer: string): Promise<Way> {
  return listen(t, (client) => client.once('data', () => client.write(answer)));
}

/** Passes the first connection's bytes on late, also when its client has gone meanwhile; all others at once. */
export function openLateWay(t: TestContext, endpoint: string, lateMs: number): Promise<Way> {
  const { hostname, port } = new URL(endpoint);
  return listen(t, (client, connection, sockets) => {
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    sockets.add(upstream);
    upstream.on('error', () => client.destroy());
    const later = (pass: () => void) => (connection === 0 ? setTimeout(pass, lateMs) : pass());
    client.on('data', (bytes: Buffer) => later(() => upstream.write(bytes)));
    client.on('close', () => later(() => upstream.end()));
    upstream.on('data', (bytes: Buffer) => void client.write(bytes));
  });
}

/** Passes bytes on; `toServer` sees those of each connection and how many went before, and may change or cut (null). */
export function openWay(
  t: TestContext,
  endpoint: string,
  toServer: (bytes: Buffer, before: number, connection: number) => Buffer | null,
): Promise<Way> {
  const { hostname, port } = new URL(endpoint);
  return listen(t, (client, connection, sockets) => {
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    sockets.add(upstream);
    upstream.on('error', () => client.destroy());
    let before = 0;
    client.on('data', (bytes: Buffer) => {
      const passed = toServer(bytes, before, connection);
      before += bytes.length;
      if (passed === null) {
        upstream.destroy();
        client.destroy();
      } else if (!upstream.write(passed)) {
        client.pause();
        upstream.once('drain', () => client.resume());
      }
    });
    upstream.on('data', (bytes: Buffer) => void client.write(bytes));
    client.on('close', () => upstream.end());
    upstream.on('close', () => client.end());
  });
}

async function listen(
  t: TestContext,
  serve: (client: Socket, connection: number, sockets: Set<Socket>) => void,
): Promise<Way> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer({ noDelay: true }, (client) => {
    sockets.add(client);
    client.on('error', () => {});
    client.on('close', () => sockets.delete(client));
    serve(client, connections++, sockets);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, connections: () => connections };
}
