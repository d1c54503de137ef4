/** A server on a free port with a recording receiver, closed when the test ends. */
import type { TestContext } from 'node:test';
import type { SmtpLimits } from '../limits.ts';
import type { RepliedEvent, SessionStats, TlsHandshakeEvent, TransactionEndedEvent } from '../observer.ts';
import { createSmtpServer, type SmtpServer } from '../server.ts';
import type { SmtpTls } from '../starttls.ts';
import { createRecordingReceiver, type RecordingOptions, type RecordingReceiver } from './recording-receiver.ts';
import { connectWireClient, type WireClient } from './wire-client.ts';

export interface RunningServer {
  readonly server: SmtpServer;
  readonly port: number;
  readonly receiver: RecordingReceiver;
  readonly seen: {
    readonly replies: RepliedEvent[];
    readonly handshakes: TlsHandshakeEvent[];
    readonly transactions: TransactionEndedEvent[];
    readonly faults: unknown[];
    readonly closed: SessionStats[];
    readonly refused: string[];
    readonly proxyProblems: string[];
    readonly addresses: string[];
    opened: number;
  };
  /** From 127.0.0.1, or another address of this machine. */
  connect(localAddress?: string): Promise<WireClient>;
}

export interface RunningOptions extends RecordingOptions {
  readonly limits?: Partial<SmtpLimits>;
  readonly tls?: SmtpTls;
  readonly proxyProtocolFrom?: readonly string[];
}

export async function startServer(context: TestContext, options: RunningOptions = {}): Promise<RunningServer> {
  const receiver = createRecordingReceiver(options);
  const seen: RunningServer['seen'] = {
    replies: [],
    handshakes: [],
    transactions: [],
    faults: [],
    closed: [],
    refused: [],
    proxyProblems: [],
    addresses: [],
    opened: 0,
  };
  const server = createSmtpServer({
    receiver,
    hostName: 'mx.example',
    limits: options.limits ?? {},
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    ...(options.proxyProtocolFrom === undefined ? {} : { proxyProtocolFrom: options.proxyProtocolFrom }),
    observer: {
      proxyHeaderRefused: (_, reason) => seen.proxyProblems.push(reason),
      sessionOpened: (session) => {
        seen.addresses.push(`${session.remoteAddress} ${session.remotePort}`);
        seen.opened++;
      },
      sessionClosed: (_, stats) => seen.closed.push(stats),
      connectionRefused: (_, condition) => seen.refused.push(condition),
      tlsHandshake: (handshake) => seen.handshakes.push(handshake),
      replied: (reply) => seen.replies.push(reply),
      transactionEnded: (transaction) => seen.transactions.push(transaction),
      fault: (error) => seen.faults.push(error),
    },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  context.after(() => server.close({ graceMs: 0 }));
  const connect = async (localAddress = '127.0.0.1') => {
    const client = await connectWireClient({ port, localAddress });
    context.after(() => client.destroy());
    return client;
  };
  return { server, port, receiver, seen, connect };
}

/** Waits for something the server does by itself; gives up after ten seconds. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`did not happen within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Fifty at a time: on a machine that is busy, a thousand at once would miss the deadline of a single one. */
export async function inBatches<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  while (made.length < count) {
    const size = Math.min(50, count - made.length);
    made.push(...(await Promise.all(Array.from({ length: size }, (_, index) => make(made.length + index)))));
  }
  return made;
}
