/**
 * Log lines that strangers cause, bounded: a flood of mails, commands or connections must not fill the disk that the mail
 * is on, nor hide every other line. What was received pays for lines, by allowances that also grow by the minute. Lines
 * beyond them are counted, and one line a minute tells how many of which kind.
 *
 * So over any minute no more is written than was received, and 64 KB: each allowance may be spent once where it was saved
 * and once as it grows, 2 × 16 KB for lines that clients cause and 2 × 14 KB for faults, and the count is 4 KB at most.
 *
 * An honest mail pays for its own lines. What is left out of a flood is not gone: the row of an accepted mail is in the
 * database, the metrics count everything, and the count says what is missing here.
 */
import { pino } from 'pino';
import { boundedError, boundedFacts } from './bounded-facts.ts';
import type { Log } from './log.ts';

/** Who has caused a line, and gets a share only, so that one does not keep others out of the log. */
export interface Cause {
  /** Of the client, as `addressKey` makes one of many. */
  readonly remoteAddress?: string;
  /** Whose mail is read: a worker knows no address. */
  readonly orgId?: string;
}

export interface BoundedLine extends Cause {
  readonly level: 'info' | 'warn' | 'error';
  readonly facts: Readonly<Record<string, unknown>>;
  readonly message: string;
  /** Of the trace or session the line belongs to. */
  readonly log?: Log;
  /** Told with the message where lines are counted: `too-many-connections`. Closed list: it is a key in memory. */
  readonly kind?: string;
}

export interface Received extends Cause {
  readonly bytes: number;
  /** A mail has lines when it is accepted and when it is read, maybe in another process: its bytes pay half for each. */
  readonly payFor: 'session' | 'acceptance' | 'reading';
  /** Of the mail: it pays once, for however many organisations and by however many attempts it is read. */
  readonly traceId?: string;
}

export interface BoundedLines {
  received(received: Received): void;
  /** Returns whether it was written. Without a cause it is a fault of ours. At `debug` no cause is bounded. */
  write(line: BoundedLine): boolean;
  /** Tells what was left out and not told yet. */
  close(): void;
}

const CLIENTS_BYTES = 16 * 1024;
/** Of one address, or one organisation. */
const SHARE_BYTES = 12 * 1024;
const FAULTS_BYTES = 14 * 1024;
/** Of as many we remember what they have spent; beyond it the oldest begins anew, within `CLIENTS_BYTES`. */
const MAX_SHARES = 1_000;
/** So many mails back we know that one has paid: above the recipients of a mail, whose jobs stand together. */
const MAX_PAID = 1_000;
/** Of lines left out, the first so many addresses and organisations are told. */
const MAX_TOLD_CAUSES = 10;
/** Of a line without fields, and without the quotes of its message. */
const FRAME_BYTES = '{"level":"error","time":"2026-01-01T00:00:00.000Z","msg":}\n'.length;
const MINUTE_MS = 60_000;

export function createBoundedLines(o: { readonly log: Log; readonly clock?: () => number }): BoundedLines {
  const clock = o.clock ?? (() => performance.now());
  const clients = createAllowance(CLIENTS_BYTES, clock);
  const faults = createAllowance(FAULTS_BYTES, clock);
  const shares = createLatest<Allowance>(MAX_SHARES);
  const paid = createLatest<true>(MAX_PAID);
  const leftOut = createCount(o.log);

  const allowancesOf = ({ remoteAddress, orgId }: Cause): readonly Allowance[] => {
    const who = remoteAddress ?? orgId;
    if (who === undefined) return [faults];
    return [shares.get(who) ?? shares.add(who, createAllowance(SHARE_BYTES, clock)), clients];
  };

  return {
    received({ bytes, payFor, traceId, ...cause }) {
      if (traceId !== undefined) {
        if (paid.get(traceId) !== undefined) return;
        paid.add(traceId, true);
      }
      for (const allowance of allowancesOf(cause)) allowance.earn(payFor === 'session' ? bytes : bytes / 2);
    },
    write(line) {
      const { level, facts, message, log = o.log } = line;
      if (!log.isLevelEnabled(level)) return true;
      const allowances = allowancesOf(line);
      const costBytes = bytesOf(log, facts, message);
      const bounded = allowances[0] === faults || !log.isLevelEnabled('debug');
      if (bounded && !allowances.every((allowance) => allowance.has(costBytes))) {
        leftOut.add(line);
        return false;
      }
      for (const allowance of allowances) allowance.spend(costBytes);
      log[level](facts, message);
      return true;
    },
    close: leftOut.tell,
  };
}

interface Latest<T> {
  get(key: string): T | undefined;
  add(key: string, value: T): T;
}

/** The last `max` that were added. */
function createLatest<T>(max: number): Latest<T> {
  const values = new Map<string, T>();
  return {
    get: (key) => values.get(key),
    add(key, value) {
      const [oldest] = values.keys();
      if (oldest !== undefined && values.size >= max) values.delete(oldest);
      values.set(key, value);
      return value;
    },
  };
}

interface Allowance {
  has(bytes: number): boolean;
  spend(bytes: number): void;
  earn(bytes: number): void;
}

/** `bytes` at first, and as many again over each minute, and what is earned; never more than `bytes` at once. */
function createAllowance(bytes: number, clock: () => number): Allowance {
  let left = bytes;
  let since = clock();
  const grow = (more: number): void => {
    const now = clock();
    left = Math.min(bytes, left + ((now - since) / MINUTE_MS) * bytes + more);
    since = now;
  };
  return {
    has(wanted) {
      grow(0);
      return wanted <= left;
    },
    spend(spent) {
      left -= spent;
    },
    earn: grow,
  };
}

interface Count {
  add(line: BoundedLine): void;
  tell(): void;
}

/** Tells a minute after the first line that was left out, so that a flood without end has one line a minute. */
function createCount(log: Log): Count {
  let lines = new Map<string, number>();
  let addresses = new Map<string, number>();
  let organisations = new Map<string, number>();
  let telling: NodeJS.Timeout | undefined;
  const tell = (): void => {
    clearTimeout(telling);
    telling = undefined;
    if (lines.size === 0) return;
    const facts = {
      left_out: Object.fromEntries(lines),
      remote_addresses: Object.fromEntries(addresses),
      ...(organisations.size > 0 && { org_ids: Object.fromEntries(organisations) }),
    };
    lines = new Map();
    addresses = new Map();
    organisations = new Map();
    log.warn(facts, 'log lines left out: too many in a minute');
  };
  const note = (causes: Map<string, number>, who: string | undefined): void => {
    if (who !== undefined && (causes.has(who) || causes.size < MAX_TOLD_CAUSES)) increment(causes, who);
  };
  return {
    add({ message, kind, remoteAddress, orgId }) {
      increment(lines, kind === undefined ? message : `${message}: ${kind}`);
      note(addresses, remoteAddress);
      note(organisations, orgId);
      telling ??= setTimeout(tell, MINUTE_MS).unref();
    },
    tell,
  };
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The fields of a child are JSON already; `log.bindings()` would read it anew for every mail. */
const { chindingsSym } = pino.symbols;

function bytesOf(log: Log, facts: Readonly<Record<string, unknown>>, message: string): number {
  const ofChild = (log as unknown as Readonly<Record<symbol, string | undefined>>)[chindingsSym] ?? '';
  const written = boundedFacts(facts.err === undefined ? facts : { ...facts, err: boundedError(facts.err) });
  let bytes = FRAME_BYTES + Buffer.byteLength(ofChild) + jsonBytes(message);
  for (const name in written) {
    const value = written[name];
    if (value !== undefined) bytes += jsonBytes(name) + ':,'.length + jsonBytes(value);
  }
  return bytes;
}

/** Printable ASCII without quotes and backslashes, as nearly all texts are: their JSON is as long as they are. */
const PLAIN = /^[ !#-[\]-~]*$/;

function jsonBytes(value: unknown): number {
  if (typeof value === 'string' && PLAIN.test(value)) return value.length + '""'.length;
  return Buffer.byteLength(JSON.stringify(value) ?? '');
}
