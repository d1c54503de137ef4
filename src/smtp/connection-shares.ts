/**
 * Who may be connected: in all, and from one address once half of that is taken, so that nobody shuts the others out. A
 * server that is nearly full makes room for who holds little: idle connections of who holds most go first.
 * Owns: counts; it neither opens nor closes a connection.
 */
import { addressKey } from './address-key.ts';
import type { SmtpLimits } from './limits.ts';
import type { ReplyName } from './replies.ts';

export interface Connection {
  /** Since when it waits for a command; null while it is at work. Units: milliseconds of `performance.now()`. */
  idleSince(now: number): number | null;
}

export interface Refusal {
  readonly condition: ReplyName;
  /** How many connections the bound allows. */
  readonly limit: number;
}

export class ConnectionShares<C extends Connection> {
  private readonly limits: SmtpLimits;
  /** By address, or /64 of IPv6. */
  private readonly holders = new Map<string, Set<C>>();
  private total = 0;

  constructor(limits: SmtpLimits) {
    this.limits = limits;
  }

  get size(): number {
    return this.total;
  }

  /** null: it may come in. */
  refusal(remoteAddress: string): Refusal | null {
    const { maxConnections, maxConnectionsPerAddress } = this.limits;
    if (2 * this.total >= maxConnections && this.heldBy(remoteAddress) >= maxConnectionsPerAddress)
      return { condition: 'too-many-connections-from-address', limit: maxConnectionsPerAddress };
    return this.total >= maxConnections ? { condition: 'too-many-connections', limit: maxConnections } : null;
  }

  /**
   * The connection to be closed before one from `remoteAddress` comes in; null when there is room, or nobody holds so much
   * more that the two would still differ the same way afterwards. Linear, and asked for only when nearly full.
   */
  toGiveWay(remoteAddress: string, now: number): C | null {
    if (this.total < this.limits.maxConnections - Math.ceil(this.limits.maxConnections / nearlyFullFraction))
      return null;
    let best: C | null = null;
    let most = this.heldBy(remoteAddress) + 2;
    let longest = Number.POSITIVE_INFINITY;
    for (const held of this.holders.values()) {
      if (held.size < most) continue;
      for (const connection of held) {
        const since = connection.idleSince(now);
        if (since === null || (held.size === most && since >= longest)) continue;
        best = connection;
        most = held.size;
        longest = since;
      }
    }
    return best;
  }

  enter(remoteAddress: string, connection: C): void {
    const key = addressKey(remoteAddress);
    const held = this.holders.get(key);
    if (held === undefined) this.holders.set(key, new Set([connection]));
    else held.add(connection);
    this.total++;
  }

  /** Safe to call again for one that has left. */
  leave(remoteAddress: string, connection: C): void {
    const key = addressKey(remoteAddress);
    const held = this.holders.get(key);
    if (held?.delete(connection) !== true) return;
    this.total--;
    if (held.size === 0) this.holders.delete(key);
  }

  private heldBy(remoteAddress: string): number {
    return this.holders.get(addressKey(remoteAddress))?.size ?? 0;
  }
}

/** Nearly full: less than a tenth is free. */
const nearlyFullFraction = 10;
