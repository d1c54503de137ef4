// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * Stands before the sessions: of connections that come from a listed balancer it reads the PROXY header, which there has
 * to be, and hands them on with the client's address. Nobody else's bytes are looked at.
 */
import { BlockList, isIP, isIPv6, type Socket } from 'node:net';
import { plainAddress } from './address-key.ts';
import { type ProxiedClient, type ProxyRefusal, parseProxyHeader } from './proxy-header.ts';

export type ProxyProblem = ProxyRefusal | 'timeout' | 'incomplete';

export interface ProxyGateOptions {
  /** Addresses and networks (`10.0.0.0/8`). */
  readonly from: readonly string[];
  readonly timeoutMs: number;
  /** What came behind the header is on the socket again. `client` is null when it is the peer itself. */
  readonly passed: (socket: Socket, client: ProxiedClient | null) => void;
  /** The socket is destroyed. A peer that leaves without a byte, as health checks do, is not worth a word. */
  readonly refused: (peerAddress: string, reason: ProxyProblem) => void;
}

export interface ProxyGate {
  /**
   * null: there is room for one more whose header is awaited. Else the bound that is reached: `maxWaiting` in all, half of it
   * for one balancer, so that one which sends no headers leaves room for the others. Their clients are not known yet.
   */
  boundReached(peerAddress: string, maxWaiting: number): number | null;
  isListed(peerAddress: string): boolean;
  read(socket: Socket, peerAddress: string): void;
  /** Called from time to time. */
  checkDeadlines(now: number): void;
  /** Nothing was promised to them. */
  destroyAll(): void;
}

/** Errors: RangeError naming what is neither an address nor a network. */
export function createProxyGate(o: ProxyGateOptions): ProxyGate {
  const listed = blockListOf(o.from);
  const waiting = new Map<Socket, { readonly since: number; readonly refuse: (reason: 'timeout') => void }>();
  const waitingOf = new Map<string, number>();

  function count(peerAddress: string, change: 1 | -1): void {
    const now = (waitingOf.get(peerAddress) ?? 0) + change;
    if (now === 0) waitingOf.delete(peerAddress);
    else waitingOf.set(peerAddress, now);
  }

  function read(socket: Socket, peerAddress: string): void {
    let bytes: Buffer = Buffer.alloc(0);
    const stop = (): void => {
      if (waiting.delete(socket)) count(peerAddress, -1);
      socket.off('data', received);
      socket.off('end', left);
      socket.off('close', left);
    };
    const refuse = (reason: ProxyProblem): void => {
      stop();
      socket.destroy();
      o.refused(peerAddress, reason);
    };
    const left = (): void => {
      if (bytes.length > 0) return refuse('incomplete');
      stop();
      socket.destroy();
    };
    const received = (chunk: Buffer): void => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const header = parseProxyHeader(bytes);
      if (header.kind === 'incomplete') return;
      if (header.kind === 'refused') return refuse(header.reason);
      stop();
      if (bytes.length > header.headerBytes) socket.unshift(bytes.subarray(header.headerBytes));
      o.passed(socket, header.client);
    };
    count(peerAddress, 1);
    waiting.set(socket, { since: performance.now(), refuse });
    socket.on('error', () => {});
    socket.on('data', received);
    socket.on('end', left);
    socket.on('close', left);
  }

  return {
    boundReached(peerAddress, maxWaiting) {
      if (waiting.size >= maxWaiting) return maxWaiting;
      const maxOfOne = Math.ceil(maxWaiting / 2);
      return (waitingOf.get(peerAddress) ?? 0) >= maxOfOne ? maxOfOne : null;
    },
    isListed(peerAddress) {
      const address = withoutZone(peerAddress);
      return isIP(address) !== 0 && listed.check(address, familyOf(address));
    },
    read,
    checkDeadlines(now) {
      for (const { since, refuse } of waiting.values()) if (now - since >= o.timeoutMs) refuse('timeout');
    },
    destroyAll() {
      for (const socket of waiting.keys()) socket.destroy();
    },
  };
}

const withoutZone = (address: string): string => address.split('%', 1)[0] ?? '';
const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4');

function blockListOf(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [written = '', bits, ...rest] = entry.split('/');
    const address = plainAddress(written);
    try {
      if (rest.length > 0) throw new RangeError('no network');
      if (bits === undefined) list.addAddress(address, familyOf(address));
      else if (/^\d{1,3}$/.test(bits))
        list.addSubnet(address, Number(bits) - (address === written ? 0 : 96), familyOf(address));
      else throw new RangeError('no network');
    } catch {
      throw new RangeError(`proxyProtocolFrom: ${JSON.stringify(entry)} is neither an address nor a network`);
    }
  }
  return list;
}
