/** The SMTP library on a free port, with limits that a dialogue can reach, held to what it may hold of one client. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { createSmtpServer, type SmtpServer } from '../../src/smtp/server.ts';
import type { House } from './dialogue.ts';
import { createFuzzReceiver, type FuzzReceiver } from './fuzz-receiver.ts';
import type { ModelOptions } from './session-model.ts';

const kib = 1024;

const limits = {
  maxMessageBytes: 30_000,
  maxRecipients: 5,
  maxExcessRecipients: 10,
  maxBufferedInputBytes: 16 * kib,
  maxBufferedBodyBytes: 8 * kib,
  // Short, because the fuzzer waits for each of them now and then.
  tlsHandshakeTimeoutMs: 5_000,
  lingerMs: 3_000,
  maxLingerBytes: 256 * kib,
} as const;

/** Read, commands behind one that is being answered: the limit and one read. Replies: the limit, twice. Body likewise. */
export const maxHeldBytes =
  limits.maxBufferedInputBytes +
  64 * kib +
  2 * 64 * kib +
  limits.maxBufferedBodyBytes +
  64 * kib +
  2 * limits.maxMessageBytes +
  64 * kib;

export function modelOptions(house: House): ModelOptions {
  return {
    tls: house === 'tls' ? 'offered' : house === 'tls-required' ? 'required' : 'off',
    bounds: { maxMessageBytes: limits.maxMessageBytes, maxRecipients: limits.maxRecipients },
    // As `defaultLimits`: 20 errors; 100 refusals, and the excess recipients, beside them.
    complaints: { mayEnd: 19, mustEnd: 20 + 100 + limits.maxExcessRecipients + 2 },
    maxExcessRecipients: limits.maxExcessRecipients,
    maxLingerBytes: limits.maxLingerBytes,
    maxIdleCommands: 100,
  };
}

export interface FuzzedServer {
  readonly port: number;
  readonly receiver: FuzzReceiver;
  /** `address port` of each session since `forget`. */
  readonly clients: readonly string[];
  /** Faults that the receiver did not make. */
  readonly faults: readonly string[];
  readonly peakHeldBytes: number;
  /** Notes what it holds now. */
  look(): void;
  /** Resolves to what is still there of a session whose client is gone, or null. */
  settled(): Promise<string | null>;
  forget(): void;
  close(): Promise<void>;
}

export async function startFuzzedServer(house: House, secureContext: SecureContext | null): Promise<FuzzedServer> {
  const receiver = createFuzzReceiver();
  let clients: string[] = [];
  let faults: string[] = [];
  let peakHeldBytes = 0;
  const look = (): void => {
    peakHeldBytes = Math.max(peakHeldBytes, server.heldBytes);
  };
  const server: SmtpServer = createSmtpServer({
    receiver,
    hostName: 'mx.example',
    limits,
    ...(house === 'proxy' ? { proxyProtocolFrom: ['127.0.0.1'] } : {}),
    ...(house.startsWith('tls') && secureContext !== null
      ? { tls: { secureContext: () => secureContext, required: house === 'tls-required' } }
      : {}),
    observer: {
      sessionOpened: ({ remoteAddress, remotePort }) => clients.push(`${remoteAddress} ${remotePort}`),
      replied: look,
      fault: (error) => {
        if (!/is broken$/.test((error as Error).message)) faults.push(String(error));
      },
    },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const remains = (): string | null => {
    if (server.connections > 0) return `${server.connections} sessions`;
    if (receiver.open > 0) return `${receiver.open} transactions`;
    return server.heldBytes > 0 ? `${server.heldBytes} bytes held` : null;
  };
  return {
    port,
    receiver,
    get clients() {
      return clients;
    },
    get faults() {
      return faults;
    },
    get peakHeldBytes() {
      return peakHeldBytes;
    },
    look,
    async settled() {
      const deadline = performance.now() + 30_000;
      while (remains() !== null && performance.now() < deadline) await sleep(1);
      return remains();
    },
    forget() {
      clients = [];
      faults = [];
      peakHeldBytes = 0;
      receiver.forget();
    },
    close: () => server.close({ graceMs: 0 }),
  };
}
