/** Asked before anything is made: a first start on taken ports leaves no database behind, and no second server migrates one. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Role } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { listenError as httpListenError } from '../http/listen-error.ts';
import { asStartError } from './errors.ts';
import { listenError as smtpListenError } from './smtp.ts';

/** Errors: as when the servers themselves cannot listen. Owns: each port for a moment. */
export async function assertPortsFree({ smtp, http }: Settings, roles: readonly Role[]): Promise<void> {
  if (roles.includes('smtp')) await tryToListen(smtp, smtpListenError);
  if (roles.includes('http')) await tryToListen(http, httpListenError);
}

interface Address {
  readonly host: string;
  readonly port: number;
}

async function tryToListen(
  { host, port }: Address,
  told: (error: unknown, address: Address) => unknown,
): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    throw asStartError(told(error, { host, port }));
  } finally {
    if (server.listening) {
      server.close();
      await once(server, 'close');
    }
  }
}
