/**
 * A sending mail server: it delivers over many connections, several mails on each, keeps what was refused for now or
 * lost in its queue, and tries again until it is told 250. Everything it hears goes into the ledger.
 */
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { connectSmtp, dotStuffed, type SmtpClient, type SmtpReply } from '../../src/testing/smtp-client.ts';
import { waitFor } from '../../src/testing/wait-for.ts';
import { type Attempt, isAcknowledgement, type Ledger } from './ledger.ts';
import { addressOf, type OrderMail } from './order-mail.ts';

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
  readonly record: { add(attempt: Attempt): void };
  tries: number;
  dueAt: number;
}

const MAX_BACKOFF_MS = 1_000;

/** Ends with the test at the latest. */
export function startMailQueue(t: TestContext, o: MailQueueOptions): MailQueue {
  const { connections = 8, mailsPerConnection = 3, pauseMs = 0, replyTimeoutMs = 60_000 } = o;
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
    return done ? null : { mail: value, record: o.ledger.open(value), tries: 0, dueAt: 0 };
  };

  const settle = (queued: Queued, attempt: Attempt): void => {
    queued.record.add(attempt);
    if (isAcknowledgement(attempt)) return;
    if (attempt.code >= 500) {
      complaints.push(`${queued.mail.messageId}: ${attempt.code} ${attempt.text} to ${attempt.stage}`);
      return;
    }
    queued.tries++;
    queued.dueAt = performance.now() + Math.min(MAX_BACKOFF_MS, 50 * 2 ** queued.tries) * (0.5 + Math.random());
    deferred.push(queued);
  };

  const deliverer = async (): Promise<void> => {
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
      connection ??= openConnection(o.port, replyTimeoutMs);
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

  const deliverers = Array.from({ length: connections }, deliverer);
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
  const record = ledger.entries.find((entry) => entry.mail === mail) ?? null;
  const connection = openConnection(port, timeoutMs);
  const attempt = await connection.deliver(mail);
  connection.close();
  if (record === null) ledger.open(mail).add(attempt);
  else (record.attempts as Attempt[]).push(attempt);
  return attempt;
}

interface Connection {
  /** Delivered so far, whatever the outcome. */
  readonly mails: number;
  /** Never rejects: how it ended is the answer. */
  deliver(mail: OrderMail): Promise<Attempt>;
  close(): void;
}

function openConnection(port: number, timeoutMs: number): Connection {
  let client: SmtpClient | null = null;
  let mails = 0;
  let stage = 'connect';
  let spokeAt = performance.now();
  let dataSentAt: number | null = null;

  const ended = (outcome: Attempt['outcome'], code: number, text: string): Attempt => {
    const endedAt = performance.now();
    return { outcome, code, text, stage, dataSentAt, endedAt, waitedMs: endedAt - spokeAt };
  };
  const say = async (line: string): Promise<SmtpReply> => {
    stage = line.split(/[ :]/, 1)[0] ?? line;
    spokeAt = performance.now();
    // Where the server has closed, its last word may be here already: a 421 that nobody asked for.
    await requireClient(client)
      .write(`${line}\r\n`)
      .catch(() => {});
    return requireClient(client).readReply(line);
  };

  const open = async (): Promise<SmtpReply> => {
    client = await connectSmtp({ port, timeoutMs });
    stage = 'greeting';
    const greeting = await client.readReply('greeting');
    return greeting.code === 220 ? say('EHLO sender.example') : greeting;
  };

  const transact = async (mail: OrderMail): Promise<SmtpReply> => {
    const from = await say('MAIL FROM:<buyer@ledger.example>');
    if (from.code !== 250) return from;
    for (const slug of mail.slugs) {
      const to = await say(`RCPT TO:<${addressOf(slug)}>`);
      // All or nothing, so that a mail is either everywhere or tried again everywhere.
      if (to.code !== 250) {
        if (to.code !== 421)
          await requireClient(client)
            .command('RSET')
            .catch(() => {});
        return to;
      }
    }
    const go = await say('DATA');
    if (go.code !== 354) return go;
    const wire = dotStuffed(mail.raw);
    spokeAt = performance.now();
    await requireClient(client).write(wire.subarray(0, -3));
    stage = 'mail data';
    dataSentAt = spokeAt = performance.now();
    await requireClient(client)
      .write(wire.subarray(-3))
      .catch(() => {});
    return requireClient(client).readReply('mail data');
  };

  return {
    get mails() {
      return mails;
    },
    async deliver(mail) {
      mails++;
      dataSentAt = null;
      try {
        if (client === null) {
          const opened = await open();
          if (opened.code !== 250) return ended('reply', opened.code, opened.lines.join(' '));
        }
        const verdict = await transact(mail);
        return ended('reply', verdict.code, verdict.lines.join(' '));
      } catch (error) {
        const beforeGreeting = stage === 'connect' || stage === 'greeting';
        return ended(beforeGreeting ? 'refused' : 'lost', 0, error instanceof Error ? error.message : String(error));
      }
    },
    close: () => client?.close(),
  };
}

function requireClient(client: SmtpClient | null): SmtpClient {
  if (client === null) throw new Error('not connected');
  return client;
}
