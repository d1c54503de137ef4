/**
 * A sending mail server: it delivers over many connections, several mails on each, keeps what was refused for now or
 * lost in its queue, and tries again until it is told 250. Everything it hears goes into the ledger.
 */
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type Attempt, type AttemptRecord, isAcknowledgement, type Ledger } from './ledger.ts';
import type { OrderMail } from './order-mail.ts';
import { type Connection, type Manner, openConnection } from './sending-connection.ts';

export interface MailQueueOptions {
  readonly port: number;
  readonly ledger: Ledger;
  /** Asked for the next mail whenever a connection is free and nothing is due for another try. */
  readonly mails: AsyncIterator<OrderMail, unknown, undefined>;
  readonly connections?: number;
  /** A new connection after so many. */
  readonly mailsPerConnection?: number;
  /** Between two new mails on one connection; keeps a long run from filling the disk. */
  readonly pauseMs?: number;
  /** How long a reply may take. */
  readonly replyTimeoutMs?: number;
  /** Connections take turns at them. Default: `plain` alone. */
  readonly manners?: readonly Manner[];
  /** The share of acknowledged mails that is sent once more, as a mail server does that did not hear the 250. */
  readonly redelivered?: number;
}

export interface MailQueue {
  /** When the mails have come to their end: as `drain`. */
  finish(timeoutMs: number): Promise<void>;
  /** No new mails; resolves when every one in the queue got 250. Errors: rejects when that takes too long. */
  drain(timeoutMs: number): Promise<void>;
  /** A wrong turn of the server that no retry mends, such as a 5xx; empty if all is well. */
  readonly complaints: readonly string[];
}

interface Queued {
  readonly mail: OrderMail;
  readonly record: AttemptRecord;
  tries: number;
  dueAt: number;
  /** It was acknowledged before. */
  again: boolean;
}

const MAX_BACKOFF_MS = 1_000;

/** Ends with the test at the latest. */
export function startMailQueue(t: TestContext, o: MailQueueOptions): MailQueue {
  const { connections = 8, mailsPerConnection = 3, pauseMs = 0, replyTimeoutMs = 60_000 } = o;
  const { manners = ['plain'], redelivered = 0 } = o;
  const deferred: Queued[] = [];
  const complaints: string[] = [];
  let underWay = 0;
  let drained = false;
  let given = false;
  const open = new Set<Connection>();

  const next = async (): Promise<Queued | null> => {
    const now = performance.now();
    const due = deferred.findIndex(({ dueAt }) => dueAt <= now);
    if (due !== -1) return deferred.splice(due, 1)[0] ?? null;
    if (given) return null;
    const { value, done } = await o.mails.next();
    if (done) given = true;
    return done ? null : { mail: value, record: o.ledger.open(value), tries: 0, dueAt: 0, again: false };
  };

  const settle = (queued: Queued, attempt: Attempt): void => {
    queued.record.add(attempt);
    if (isAcknowledgement(attempt)) {
      if (queued.again || Math.random() >= redelivered) return;
      deferred.push({ ...queued, again: true, tries: 0, dueAt: performance.now() + MAX_BACKOFF_MS * Math.random() });
      return;
    }
    if (attempt.code >= 500) {
      complaints.push(`${queued.mail.messageId}: ${attempt.code} ${attempt.text} to ${attempt.stage}`);
      return;
    }
    queued.tries++;
    queued.dueAt = performance.now() + Math.min(MAX_BACKOFF_MS, 50 * 2 ** queued.tries) * (0.5 + Math.random());
    deferred.push(queued);
  };

  const deliverer = async (manner: Manner): Promise<void> => {
    let connection: Connection | null = null;
    while (!drained) {
      underWay++; // Also while the next mail is being made: it may not be in the queue yet.
      const queued = await next();
      if (queued === null) {
        underWay--;
        connection?.close();
        if (connection !== null) open.delete(connection);
        connection = null;
        await sleep(10);
        continue;
      }
      connection ??= openConnection({ port: o.port, timeoutMs: replyTimeoutMs, manner });
      open.add(connection);
      const attempt = await connection.deliver(queued.mail);
      settle(queued, attempt);
      underWay--;
      if (attempt.outcome !== 'reply' || attempt.code === 421 || connection.mails >= mailsPerConnection) {
        connection.close();
        open.delete(connection);
        connection = null;
      }
      // Nobody is there: a mail server waits before it tries that host again.
      if (attempt.outcome === 'refused') await sleep(100);
      if (pauseMs > 0) await sleep(pauseMs * 2 * Math.random());
    }
    connection?.close();
  };

  const deliverers = Array.from({ length: connections }, (_, index) =>
    deliverer(manners[index % manners.length] ?? 'plain'),
  );
  cleanUp(t, async () => {
    drained = true;
    for (const connection of open) connection.close();
    await Promise.all(deliverers);
  });
  const drain = async (timeoutMs: number): Promise<void> => {
    given = true;
    const deadline = performance.now() + timeoutMs;
    while (underWay > 0 || deferred.length > 0) {
      if (performance.now() > deadline) break;
      await sleep(20);
    }
    drained = true;
    const left = deferred.length + underWay;
    await Promise.all(deliverers);
    if (left > 0)
      throw new Error(`${left} mails got no 250 within ${timeoutMs} ms: ${JSON.stringify(o.ledger.outcomes())}`);
  };
  return {
    complaints,
    drain,
    async finish(timeoutMs) {
      await waitFor(() => given, { timeoutMs, what: 'the last mail to be sent' });
      await drain(timeoutMs);
    },
  };
}

/** One try for one mail on a connection of its own. */
export async function deliverOnce(port: number, mail: OrderMail, ledger: Ledger, timeoutMs = 60_000): Promise<Attempt> {
  const connection = openConnection({ port, timeoutMs });
  const attempt = await connection.deliver(mail);
  connection.close();
  ledger.reopen(mail).add(attempt);
  return attempt;
}
