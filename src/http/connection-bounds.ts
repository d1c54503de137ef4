/**
 * How many connections the HTTP server holds. Whoever keeps thousands open must not keep a probe from its answer, so the
 * newest is always taken, and the oldest that waits for its next request goes in its place: first of an address that has too
 * many of those, then of the one that has the most connections.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { addressKey, plainAddress } from '../smtp/index.ts';
import type { Log } from '../telemetry/log.ts';

export interface ConnectionBounds {
  /** Those that wait for a request, by IPv4 address or IPv6 /64. Others end by themselves: they get an answer. */
  readonly waitingPerAddress: number;
  readonly inAll: number;
  /** A request comes right behind its connection; before it could be read, the connection is not one that waits. */
  readonly graceMs: number;
}

/** A prober or a scraper has one or two; a proxy before us keeps some dozens. At some 20 KB each, 1,000 are 20 MB. */
export const defaultBounds: ConnectionBounds = { waitingPerAddress: 100, inAll: 1_000, graceMs: 50 };

const WARNING_INTERVAL_MS = 60_000;

export interface ConnectionBoundsOptions {
  readonly server: Server;
  readonly bounds: ConnectionBounds;
  readonly log: Log;
}

export function boundConnections({ server, bounds, log }: ConnectionBoundsOptions): void {
  const holders = createHolders();
  const warn = warnSometimes(log);
  let due = false;
  const trimSoon = (): void => {
    if (due) return;
    due = true;
    setTimeout(trim, bounds.graceMs).unref();
  };
  const trim = (): void => {
    due = false;
    for (let next = holders.excess(bounds); next !== null; next = holders.excess(bounds)) {
      if (performance.now() - next.sinceMs < bounds.graceMs) {
        trimSoon();
        return;
      }
      holders.remove(next.socket);
      next.socket.destroy();
      warn();
    }
  };
  server.on('connection', (socket: Socket) => {
    holders.add(socket);
    socket.once('close', () => holders.remove(socket));
    trimSoon();
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    holders.began(socket);
    response.once('close', () => {
      holders.ended(socket);
      trimSoon();
    });
  });
}

/** Units: since when, by performance.now(); the earliest first. */
interface Holder {
  readonly waiting: Map<Socket, number>;
  readonly answering: Map<Socket, number>;
}

function createHolders() {
  const byAddress = new Map<string, Holder>();
  const addressOf = new Map<Socket, string>();

  const holderOf = (socket: Socket): Holder | undefined => byAddress.get(addressOf.get(socket) ?? '');
  const size = ({ waiting, answering }: Holder): number => waiting.size + answering.size;
  const oldest = ({ waiting, answering }: Holder): { socket: Socket; sinceMs: number } | null => {
    for (const [socket, sinceMs] of waiting.size > 0 ? waiting : answering) return { socket, sinceMs };
    return null;
  };
  const move = (socket: Socket, to: 'waiting' | 'answering'): void => {
    const holder = holderOf(socket);
    holder?.waiting.delete(socket);
    holder?.answering.delete(socket);
    holder?.[to].set(socket, performance.now());
  };

  return {
    add(socket: Socket): void {
      // It may be gone already: then it has no address, and closes at once.
      const address = addressKey(plainAddress(socket.remoteAddress ?? ''));
      const holder = byAddress.get(address) ?? { waiting: new Map(), answering: new Map() };
      holder.waiting.set(socket, performance.now());
      byAddress.set(address, holder);
      addressOf.set(socket, address);
    },
    remove(socket: Socket): void {
      const holder = holderOf(socket);
      const address = addressOf.get(socket) ?? '';
      addressOf.delete(socket);
      holder?.waiting.delete(socket);
      holder?.answering.delete(socket);
      if (holder && size(holder) === 0) byAddress.delete(address);
    },
    began: (socket: Socket) => move(socket, 'answering'),
    ended: (socket: Socket) => move(socket, 'waiting'),
    /** Shape: the next one to be closed; null when the bounds are kept. */
    excess({ waitingPerAddress, inAll }: ConnectionBounds): { socket: Socket; sinceMs: number } | null {
      const tooMany = addressOf.size > inAll;
      let largest: Holder | null = null;
      for (const holder of byAddress.values()) {
        if (holder.waiting.size > waitingPerAddress) return oldest(holder);
        if (tooMany && (largest === null || size(holder) > size(largest))) largest = holder;
      }
      return largest === null ? null : oldest(largest);
    },
  };
}

/** One line a minute, with the count of those closed since the last. */
function warnSometimes(log: Log): () => void {
  let closed = 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  return () => {
    closed += 1;
    if (performance.now() - lastAt < WARNING_INTERVAL_MS) return;
    lastAt = performance.now();
    log.warn({ closed }, 'too many HTTP connections: the oldest are closed');
    closed = 0;
  };
}
