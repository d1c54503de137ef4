// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * The listening side: accepts, counts and turns away connections, keeps time for all sessions with one timer, and
 * closes gracefully.
 */
import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { plainAddress } from './address-key.ts';
import { ConnectionShares } from './connection-shares.ts';
import { resolveLimits, type SmtpLimits } from './limits.ts';
import { MemoryPlaces } from './memory-places.ts';
import type { SmtpObserver } from './observer.ts';
import { createProxyGate, type ProxyGate } from './proxy-gate.ts';
import type { MailReceiver } from './receiver.ts';
import { type ReplyName, replies, replyLine } from './replies.ts';
import { Session } from './session.ts';
import type { SmtpTls } from './starttls.ts';

export interface SmtpServerOptions {
  readonly receiver: MailReceiver;
  /** Given in the greeting; a name of this host, or an address literal. */
  readonly hostName: string;
  readonly limits?: Partial<SmtpLimits>;
  readonly observer?: SmtpObserver;
  /** STARTTLS is offered when this is given. */
  readonly tls?: SmtpTls;
  /** Addresses and networks of balancers: they must send a PROXY header, and nobody else's is read. */
  readonly proxyProtocolFrom?: readonly string[];
  readonly createSessionId?: () => string;
}

export interface SmtpServer {
  /** Errors: what listening fails with (EADDRINUSE, EACCES). */
  listen(where: { readonly host: string; readonly port: number; readonly backlog?: number }): Promise<AddressInfo>;
  /** null while not listening. */
  address(): AddressInfo | null;
  readonly connections: number;
  /** Bytes of mails, commands and replies in memory, those in the receiver's hands as far as they are counted. */
  readonly heldBytes: number;
  /**
   * Accepts no more, answers 421 to sessions between two commands, lets a mail whose DATA is under way come to its
   * reply, and cuts what is left after `graceMs`. Resolves when no socket is open and no call of the receiver is
   * awaited any more.
   */
  close(how?: { readonly graceMs?: number }): Promise<void>;
}

/** Turned away, or told to give way, and not yet gone; more than this many of each are dropped without a word. */
const maxRefusedSockets = 256;

export function createSmtpServer(options: SmtpServerOptions): SmtpServer {
  const {
    receiver,
    hostName,
    observer = {},
    tls = null,
    proxyProtocolFrom = [],
    createSessionId = randomUUID,
  } = options;
  const limits = resolveLimits(options.limits);
  if (!/^[\x21-\x7e]{1,255}$/.test(hostName))
    throw new RangeError('hostName: a host name or address literal is needed');

  const sessions = new Set<Session>();
  const places = new MemoryPlaces<Session>(limits);
  const shares = new ConnectionShares<Session>(limits);
  const refused = new Map<Socket, number>();
  const background = new Set<Promise<void>>();
  /** Told to give way and not gone yet; no longer counted among the connections. */
  const givingWay = new Set<Session>();
  let closing: Promise<void> | null = null;
  const proxies: ProxyGate | null = proxyProtocolFrom.length === 0 ? null : openGate(proxyProtocolFrom);
  let whenIdle: (() => void) | null = null;

  // highWaterMark 1: a paused socket holds one chunk, not 64 KiB of one-byte ones. It does not bound reads or writes.
  const listener = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: 1 }, accept);
  const clock = setInterval(tick, tickMs(limits)).unref();

  function openGate(from: readonly string[]): ProxyGate {
    return createProxyGate({
      from,
      timeoutMs: limits.proxyHeaderTimeoutMs,
      passed: (socket, client) => {
        const peer = peerOf(socket);
        if (peer === null) return drop(socket);
        const { address, port } = client ?? peer;
        admit(socket, address, port);
      },
      refused: (peerAddress, reason) => {
        try {
          observer.proxyHeaderRefused?.(peerAddress, reason);
        } catch {
          // No session to report it to.
        }
      },
    });
  }

  function accept(socket: Socket): void {
    const peer = peerOf(socket);
    if (peer === null) return drop(socket);
    const { address, port } = peer;
    if (proxies === null || closing !== null || !proxies.isListed(address)) return admit(socket, address, port);
    const bound = proxies.boundReached(address, limits.maxConnections);
    if (bound !== null) return turnAway(socket, address, 'too-many-connections', bound);
    proxies.read(socket, address);
  }

  function admit(socket: Socket, remoteAddress: string, remotePort: number): void {
    if (closing !== null) return turnAway(socket, remoteAddress, 'shutting-down');
    let refusal = shares.refusal(remoteAddress);
    if (refusal?.condition !== 'too-many-connections-from-address') {
      makeRoom(remoteAddress);
      refusal = shares.refusal(remoteAddress);
    }
    if (refusal !== null) return turnAway(socket, remoteAddress, refusal.condition, refusal.limit);

    const session = new Session({
      socket,
      facts: {
        sessionId: createSessionId(),
        remoteAddress,
        remotePort,
        heloName: null,
        tls: null,
      },
      hostName,
      limits,
      receiver,
      observer,
      tls,
      places,
      onClosed: () => {
        shares.leave(remoteAddress, session);
        givingWay.delete(session);
      },
      onSettled: () => {
        sessions.delete(session);
        wakeWhenIdle();
      },
      background: (call) => {
        background.add(call);
        void call.finally(() => {
          background.delete(call);
          wakeWhenIdle();
        });
      },
    });
    sessions.add(session);
    shares.enter(remoteAddress, session);
    session.start();
  }

  /** At once, not when the other has gone: it is told why, and may take its time. */
  function makeRoom(remoteAddress: string): void {
    const idle = shares.toGiveWay(remoteAddress, performance.now());
    if (idle === null) return;
    shares.leave(idle.remoteAddress, idle);
    if (givingWay.size >= maxRefusedSockets) return idle.destroy();
    givingWay.add(idle);
    idle.giveWay();
  }

  function turnAway(socket: Socket, remoteAddress: string, condition: ReplyName, limit: number | null = null): void {
    socket.on('error', () => {});
    try {
      observer.connectionRefused?.(remoteAddress, condition, limit);
    } catch {
      // No session to report it to.
    }
    if (refused.size >= maxRefusedSockets) return void socket.destroy();
    refused.set(socket, performance.now());
    socket.on('close', () => {
      refused.delete(socket);
      wakeWhenIdle();
    });
    let discardedBytes = 0;
    socket.on('data', (chunk: Buffer) => {
      discardedBytes += chunk.length;
      if (discardedBytes > limits.maxLingerBytes) socket.destroy();
    });
    socket.end(`${replyLine(replies[condition])}\r\n`);
  }

  function tick(): void {
    const now = performance.now();
    proxies?.checkDeadlines(now);
    for (const session of sessions) session.checkDeadlines(now);
    places.checkWaiting(now);
    for (const [socket, since] of refused) if (now - since >= limits.lingerMs) socket.destroy();
  }

  function isIdle(): boolean {
    return sessions.size === 0 && refused.size === 0 && background.size === 0;
  }

  function wakeWhenIdle(): void {
    if (isIdle()) whenIdle?.();
  }

  function idle(): Promise<void> {
    return new Promise((resolve) => {
      whenIdle = resolve;
      wakeWhenIdle();
    });
  }

  async function closeAll(graceMs: number): Promise<void> {
    const stopped = new Promise<void>((resolve) => listener.close(() => resolve()));
    proxies?.destroyAll();
    for (const session of sessions) session.shutdown();
    const cut = setTimeout(() => {
      for (const session of sessions) session.destroy();
      for (const socket of refused.keys()) socket.destroy();
    }, graceMs);
    await Promise.all([stopped, idle()]);
    clearTimeout(cut);
    clearInterval(clock);
  }

  return {
    listen: ({ host, port, backlog = 1024 }) =>
      new Promise((resolve, reject) => {
        listener.once('error', reject);
        listener.listen({ host, port, backlog }, () => {
          listener.off('error', reject);
          listener.on('error', (error) => observer.acceptFailed?.(error));
          resolve(listener.address() as AddressInfo);
        });
      }),
    address: () => listener.address() as AddressInfo | null,
    get connections() {
      return shares.size;
    },
    get heldBytes() {
      return [...sessions].reduce((sum, session) => sum + session.heldBytes, 0);
    },
    close: ({ graceMs = 10_000 } = {}) => {
      closing ??= closeAll(graceMs);
      return closing;
    },
  };
}

/**
 * null when it is gone already, as a balancer is that checks the port and resets the connection. Without its address nobody
 * can say whether it has to send a PROXY header, so it must not become a session.
 */
function peerOf({ remoteAddress, remotePort }: Socket): { readonly address: string; readonly port: number } | null {
  return remoteAddress === undefined ? null : { address: plainAddress(remoteAddress), port: remotePort ?? 0 };
}

/** Nobody is there to be told, and nothing happened that is worth a line. */
function drop(socket: Socket): void {
  socket.on('error', () => {});
  socket.destroy();
}

/** Deadlines are kept to a quarter of the shortest of them; a second is exact enough for those of minutes. */
function tickMs(limits: SmtpLimits): number {
  const {
    idleTimeoutMs,
    commandTimeoutMs,
    dataTimeoutMs,
    dataGraceMs,
    tlsHandshakeTimeoutMs,
    proxyHeaderTimeoutMs,
    maxSessionMs,
    receiverTimeoutMs,
    placeWaitMs,
    lingerMs,
  } = limits;
  const shortest = Math.min(
    idleTimeoutMs,
    commandTimeoutMs,
    dataTimeoutMs,
    dataGraceMs,
    tlsHandshakeTimeoutMs,
    proxyHeaderTimeoutMs,
    maxSessionMs,
    receiverTimeoutMs,
    placeWaitMs,
    lingerMs,
  );
  return Math.min(1_000, Math.max(5, Math.floor(shortest / 4)));
}
