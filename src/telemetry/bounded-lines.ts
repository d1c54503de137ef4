/**
 * Log lines that strangers cause, bounded: a flood of connections or commands must not fill the disk that the mail is
 * on, nor hide every other line. What a session has sent pays for its own line; the rest comes out of an allowance by the
 * minute. Lines beyond it are counted, and one line a minute tells how many of which kind.
 *
 * So over any minute no more is written than the clients have sent, and 64 KB: each allowance may be spent once where it
 * was saved and once as it grows, 2 × 16 KB for lines of clients and 2 × 14 KB for faults, and the count is 4 KB at most.
 */
import { stdSerializers } from 'pino';
import type { Log } from './log.ts';

export interface BoundedLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly facts: Readonly<Record<string, unknown>>;
  readonly message: string;
  /** Of the trace or session the line belongs to. */
  readonly log?: Log;
  /** Told with the message where lines are counted: `too-many-connections`. Closed list: it is a key in memory. */
  readonly kind?: string;
  /** Of the client, which gets a share only, so that one address does not keep others out of the log. */
  readonly remoteAddress?: string;
  /** Sent by the client, and not yet paid with. */
  readonly paidBytes?: number;
}

export interface BoundedLines {
  /** Returns whether it was written. */
  write(line: BoundedLine): boolean;
}

const CLIENTS_BYTES = 16 * 1024;
const ADDRESS_BYTES = 12 * 1024;
const FAULTS_BYTES = 14 * 1024;
/** Of as many addresses we remember what they have spent; beyond it the oldest begins anew, within `CLIENTS_BYTES`. */
const MAX_ADDRESSES = 1_000;
/** Of lines left out, the first so many addresses are told. */
const MAX_TOLD_ADDRESSES = 10;
/** `{"level":"error","time":"2026-01-01T00:00:00.000Z",…,"msg":""}` and a line feed. */
const FRAME_BYTES = 72;
const MINUTE_MS = 60_000;

export function createBoundedLines(o: { readonly log: Log; readonly clock?: () => number }): BoundedLines {
  const clock = o.clock ?? (() => performance.now());
  const clients = createAllowance(CLIENTS_BYTES, clock);
  const faults = createAllowance(FAULTS_BYTES, clock);
  const addresses = new Map<string, Allowance>();
  const leftOut = createCount(o.log);

  const ofAddress = (address: string): Allowance => {
    const known = addresses.get(address);
    if (known !== undefined) return known;
    const [oldest] = addresses.keys();
    if (oldest !== undefined && addresses.size >= MAX_ADDRESSES) addresses.delete(oldest);
    const fresh = createAllowance(ADDRESS_BYTES, clock);
    addresses.set(address, fresh);
    return fresh;
  };

  return {
    write(line) {
      const { level, facts, message, log = o.log, remoteAddress, paidBytes = 0 } = line;
      if (!log.isLevelEnabled(level)) return true;
      const costBytes = Math.max(0, bytesOf(log, facts, message) - paidBytes);
      const allowances = remoteAddress === undefined ? [faults] : [ofAddress(remoteAddress), clients];
      if (!allowances.every((allowance) => allowance.has(costBytes))) {
        leftOut.add(line);
        return false;
      }
      for (const allowance of allowances) allowance.spend(costBytes);
      log[level](facts, message);
      return true;
    },
  };
}

interface Allowance {
  has(bytes: number): boolean;
  spend(bytes: number): void;
}

/** `bytes` at first, and as many again over each minute; never more than `bytes` at once. */
function createAllowance(bytes: number, clock: () => number): Allowance {
  let left = bytes;
  let since = clock();
  return {
    has(wanted) {
      const now = clock();
      left = Math.min(bytes, left + ((now - since) / MINUTE_MS) * bytes);
      since = now;
      return wanted <= left;
    },
    spend(spent) {
      left -= spent;
    },
  };
}

interface Count {
  add(line: BoundedLine): void;
}

/** Tells a minute after the first line that was left out, so that a flood without end has one line a minute. */
function createCount(log: Log): Count {
  let lines = new Map<string, number>();
  let addresses = new Map<string, number>();
  let telling: NodeJS.Timeout | null = null;
  const tell = (): void => {
    telling = null;
    const facts = { left_out: Object.fromEntries(lines), remote_addresses: Object.fromEntries(addresses) };
    lines = new Map();
    addresses = new Map();
    log.warn(facts, 'log lines left out: too many in a minute');
  };
  return {
    add({ message, kind, remoteAddress }) {
      increment(lines, kind === undefined ? message : `${message}: ${kind}`);
      if (remoteAddress !== undefined && (addresses.has(remoteAddress) || addresses.size < MAX_TOLD_ADDRESSES))
        increment(addresses, remoteAddress);
      if (telling === null) telling = setTimeout(tell, MINUTE_MS).unref();
    },
  };
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function bytesOf(log: Log, facts: Readonly<Record<string, unknown>>, message: string): number {
  const { err, ...plain } = facts;
  const error = err instanceof Error ? stdSerializers.err(err) : err;
  return FRAME_BYTES + jsonBytes({ ...log.bindings(), ...plain, err: error }) + jsonBytes(message);
}

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));
