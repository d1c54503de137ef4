// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * Bounds the memory of all connections together. What holds little (`maxSmallHeldBytes`: commands, ordinary mails) is read
 * from in any case. To hold more a connection needs a place; there are as many as `maxHeldBytes` is the most that one of them
 * can hold. Without one its socket is paused, and it waits.
 *
 * No deadlock: who has a place needs nothing else that another connection has, so it comes to its end, or to its deadline;
 * who waits holds no place. A free place goes to the address that has fewest, and there to who has waited longest.
 * No starvation: when one has waited for `placeWaitMs`, another has to go. First the slowest of the address that has most
 * places, if that are at least two more; where nobody has more, one that sends less than `minPlaceBytesPerSecond`.
 * Owns: the order; it does not touch a socket.
 */
import type { SmtpLimits } from './limits.ts';
import type { ReplyName } from './replies.ts';

export interface PlaceHolder {
  /** What places are shared out by. */
  readonly addressKey: string;
  /** The place it waited for is its own. */
  placeGiven(): void;
  /** How fast it sends its mail, pauses by us not counted; Infinity while it has only begun; null: it must not be cut. */
  bytesPerSecond(now: number): number | null;
  /** Others wait for its place; it gives it back when its memory is free. */
  cutForOthers(condition: ReplyName): void;
}

/** Bytes that Node reads from a socket in one go: one such read comes on top of a bound, another waits in a paused socket. */
const readBytes = 64 * 1024;

/** The most that a connection with a place holds. Where this changes, so does the number of places, not the memory. */
export function placeBytes({ maxBufferedBodyBytes, maxReceiverBytes }: SmtpLimits): number {
  return maxReceiverBytes + maxBufferedBodyBytes + 2 * readBytes;
}

export class MemoryPlaces<H extends PlaceHolder> {
  private readonly limits: SmtpLimits;
  private free: number;
  private readonly byAddress = new Map<string, Set<H>>();
  /** In the order in which they came, with the time. */
  private readonly waiting = new Map<H, number>();
  /** Cut for others, their memory not free yet. */
  private readonly leaving = new Set<H>();

  constructor(limits: SmtpLimits) {
    this.limits = limits;
    this.free = Math.max(1, Math.floor(limits.maxHeldBytes / placeBytes(limits)));
  }

  /** false: it waits from now on, until `placeGiven` or `release`. */
  claim(holder: H): boolean {
    if (this.byAddress.get(holder.addressKey)?.has(holder) === true) return true;
    if (this.waiting.has(holder)) return false;
    // While one is free, nobody waits.
    if (this.free > 0) return this.give(holder);
    this.waiting.set(holder, performance.now());
    return false;
  }

  /** Gives back a place, or gives up waiting. Safe to call for one that does neither. */
  release(holder: H): void {
    if (this.waiting.delete(holder)) return;
    const ofAddress = this.byAddress.get(holder.addressKey);
    if (ofAddress?.delete(holder) !== true) return;
    if (ofAddress.size === 0) this.byAddress.delete(holder.addressKey);
    this.leaving.delete(holder);
    this.free++;
    const next = this.nextWaiting();
    if (next === null) return;
    this.waiting.delete(next);
    this.give(next);
    next.placeGiven();
  }

  /** Called from time to time. */
  checkWaiting(now: number): void {
    let expected = this.leaving.size;
    for (const [holder, since] of this.waiting) {
      // In order: who follows has not waited longer.
      if (now - since < this.limits.placeWaitMs) return;
      if (expected-- > 0) continue;
      this.cutOneFor(holder, now);
    }
  }

  private give(holder: H): true {
    this.free--;
    const ofAddress = this.byAddress.get(holder.addressKey);
    if (ofAddress === undefined) this.byAddress.set(holder.addressKey, new Set([holder]));
    else ofAddress.add(holder);
    return true;
  }

  private heldBy(addressKey: string): number {
    return this.byAddress.get(addressKey)?.size ?? 0;
  }

  private nextWaiting(): H | null {
    let next: H | null = null;
    let fewest = Number.POSITIVE_INFINITY;
    for (const holder of this.waiting.keys()) {
      const held = this.heldBy(holder.addressKey);
      if (held >= fewest) continue;
      next = holder;
      fewest = held;
    }
    return next;
  }

  private cutOneFor(waiting: H, now: number): void {
    const least = this.heldBy(waiting.addressKey) + 2;
    const crowds = [...this.byAddress.values()].filter(({ size }) => size >= least).sort((a, b) => b.size - a.size);
    for (const crowd of crowds) {
      const slowest = this.slowestOf(crowd, now);
      if (slowest !== null) return this.cut(slowest.holder, 'too-many-connections-from-address');
    }
    for (const all of this.byAddress.values()) {
      const slowest = this.slowestOf(all, now);
      if (slowest === null || slowest.rate >= this.limits.minPlaceBytesPerSecond) continue;
      return this.cut(slowest.holder, 'idle-timeout');
    }
  }

  private slowestOf(holders: Iterable<H>, now: number): { readonly holder: H; readonly rate: number } | null {
    let slowest: { holder: H; rate: number } | null = null;
    for (const holder of holders) {
      if (this.leaving.has(holder)) continue;
      const rate = holder.bytesPerSecond(now);
      if (rate !== null && (slowest === null || rate < slowest.rate)) slowest = { holder, rate };
    }
    return slowest;
  }

  private cut(holder: H, condition: ReplyName): void {
    this.leaving.add(holder);
    holder.cutForOthers(condition);
  }
}
