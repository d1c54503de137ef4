/** One connection of a sending mail server, in one of the manners that mail servers have. */
import { connectSmtp, dotStuffed, type SmtpClient, type SmtpReply } from '../../src/testing/smtp-client.ts';
import type { Attempt } from './ledger.ts';
import { addressOf, type OrderMail } from './order-mail.ts';

/** The share of mails whose reply `hasty` does not wait for. */
const HASTE = 0.2;

/**
 * - `plain`: DATA, and no QUIT at the end.
 * - `polite`: DATA, and QUIT.
 * - `secure`: as `polite`, after STARTTLS.
 * - `chunked`: the mail comes by BDAT, in several pieces (RFC 3030).
 * - `hasty`: as `plain`; one time in five it goes away once all is sent, and hears no reply.
 */
export const MANNERS = ['plain', 'polite', 'secure', 'chunked', 'hasty'] as const;
export type Manner = (typeof MANNERS)[number];

export interface Connection {
  /** Delivered so far, whatever the outcome. */
  readonly mails: number;
  /** Never rejects: how it ended is the answer. */
  deliver(mail: OrderMail): Promise<Attempt>;
  close(): void;
}

export interface ConnectionOptions {
  readonly port: number;
  /** How long a reply may take. */
  readonly timeoutMs: number;
  /** Default: `plain`. */
  readonly manner?: Manner;
}

/** Connects with the first mail. */
export function openConnection({ port, timeoutMs, manner = 'plain' }: ConnectionOptions): Connection {
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
    if (greeting.code !== 220) return greeting;
    const hello = await say('EHLO sender.example');
    if (manner !== 'secure' || hello.code !== 250) return hello;
    const go = await say('STARTTLS');
    if (go.code !== 220) return go;
    await requireClient(client).startTls();
    return say('EHLO sender.example');
  };

  /** The last piece is on its way when it resolves. */
  const sendLast = async (bytes: Uint8Array): Promise<SmtpReply> => {
    stage = 'mail data';
    dataSentAt = spokeAt = performance.now();
    await requireClient(client)
      .write(bytes)
      .catch(() => {});
    if (manner === 'hasty' && Math.random() < HASTE) throw new Error('it did not wait for the reply');
    return requireClient(client).readReply('mail data');
  };

  const sendByData = async (raw: Buffer): Promise<SmtpReply> => {
    const go = await say('DATA');
    if (go.code !== 354) return go;
    const wire = dotStuffed(raw);
    spokeAt = performance.now();
    await requireClient(client).write(wire.subarray(0, -3));
    return sendLast(wire.subarray(-3));
  };

  const sendByChunks = async (raw: Buffer): Promise<SmtpReply> => {
    const cut = Math.floor(raw.length * Math.random());
    const [first, last] = [raw.subarray(0, cut), raw.subarray(cut)];
    stage = 'BDAT';
    spokeAt = performance.now();
    const piece = Buffer.concat([Buffer.from(`BDAT ${first.length}\r\n`), first]);
    await requireClient(client)
      .write(piece)
      .catch(() => {});
    const taken = await requireClient(client).readReply('BDAT');
    if (taken.code !== 250) return taken;
    return sendLast(Buffer.concat([Buffer.from(`BDAT ${last.length} LAST\r\n`), last]));
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
    return manner === 'chunked' ? sendByChunks(mail.raw) : sendByData(mail.raw);
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
    close() {
      if (client === null) return;
      const open = client;
      if (manner !== 'polite' && manner !== 'secure') return open.close();
      void open
        .command('QUIT')
        .catch(() => {})
        .finally(() => open.close());
    },
  };
}

function requireClient(client: SmtpClient | null): SmtpClient {
  if (client === null) throw new Error('not connected');
  return client;
}
