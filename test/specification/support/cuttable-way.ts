/** A way to a TCP server that can be cut and mended, as a network or a server that goes down and comes back. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { cleanUp } from '../../../src/testing/clean-up.ts';

export interface CuttableWay {
  /** The given URL with host and port of the way. */
  readonly url: string;
  /** Every connection breaks, and new ones are refused. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

export async function openWay(t: TestContext, targetUrl: string): Promise<CuttableWay> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let port = 0;

  const mend = async (): Promise<void> => {
    server = createServer((near) => join(near, connect(Number(target.port), target.hostname)));
    await once(server.listen(port, '127.0.0.1'), 'listening');
    port = (server.address() as AddressInfo).port;
  };
  const join = (near: Socket, far: Socket): void => {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  };
  const cut = async (): Promise<void> => {
    const closing = server;
    server = null;
    const closed = closing === null ? null : once(closing.close(), 'close');
    for (const socket of sockets) socket.destroy();
    await closed;
  };

  await mend();
  cleanUp(t, cut);
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return { url: url.href, cut, mend };
}
