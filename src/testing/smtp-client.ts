/** A bare SMTP client for tests: it sends what it is told, right or wrong, and keeps every reply. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as secure } from 'node:tls';

export interface SmtpReply {
  readonly code: number;
  /** Without code and separator. */
  readonly lines: readonly string[];
  /** The command (or `greeting`, `mail data`) it answers. */
  readonly command: string;
}

export interface SmtpClient {
  readonly socket: Socket;
  /** Writes the line with CRLF and reads one reply. */
  command(line: string): Promise<SmtpReply>;
  write(bytes: string | Uint8Array): Promise<void>;
  /** Errors: rejects when the server closes or is silent past the deadline. */
  readReply(command?: string): Promise<SmtpReply>;
  /** The handshake, once STARTTLS was answered 220; any certificate will do. Errors: rejects when there is none. */
  startTls(): Promise<void>;
  /** Resolves when the server has closed. */
  readonly closed: Promise<void>;
  close(): void;
}

export interface ConnectOptions {
  readonly host?: string;
  readonly port: number;
  /** For each single reply. */
  readonly timeoutMs?: number;
}

export async function connectSmtp({
  host = '127.0.0.1',
  port,
  timeoutMs = 30_000,
}: ConnectOptions): Promise<SmtpClient> {
  const plain = connect({ host, port, noDelay: true });
  const closed = new Promise<void>((resolve) => plain.once('close', () => resolve()));
  let socket: Socket = plain;
  let replies = collectReplies(socket);
  await once(socket, 'connect', { signal: AbortSignal.timeout(timeoutMs) });
  const client: SmtpClient = {
    get socket() {
      return socket;
    },
    closed,
    async startTls() {
      socket = secure({ socket: plain, rejectUnauthorized: false });
      replies = collectReplies(socket);
      await once(socket, 'secureConnect', { signal: AbortSignal.timeout(timeoutMs) });
    },
    command: async (line) => {
      await client.write(`${line}\r\n`);
      return client.readReply(line);
    },
    write: (bytes) =>
      new Promise((resolve, reject) => socket.write(bytes, (error) => (error ? reject(error) : resolve()))),
    readReply: async (command = '') => ({ ...(await replies.next(timeoutMs, command)), command }),
    close: () => socket.destroy(),
  };
  return client;
}

interface PlainReply {
  readonly code: number;
  readonly lines: readonly string[];
}

/** Cuts what the server sends into replies, and hands them out in order. */
function collectReplies(socket: Socket): { next(timeoutMs: number, command: string): Promise<PlainReply> } {
  const ready: PlainReply[] = [];
  let lines: string[] = [];
  let rest = '';
  let ended: string | null = null;
  let wake = () => {};
  socket.setEncoding('latin1').on('data', (text: string) => {
    const parts = (rest + text).split('\r\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      lines.push(part.slice(4));
      if (part[3] === '-') continue;
      ready.push({ code: Number(part.slice(0, 3)), lines });
      lines = [];
    }
    wake();
  });
  const end = (reason: string) => {
    ended ??= reason;
    wake();
  };
  socket.on('error', (error) => end(error.message));
  socket.on('close', () => end('the server closed the connection'));
  return {
    next: async (timeoutMs, command) => {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const reply = ready.shift();
        if (reply) return reply;
        if (ended !== null) throw new Error(`no reply to "${command}": ${ended}`);
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) throw new Error(`no reply to "${command}" within ${timeoutMs} ms`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, leftMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
  };
}

export interface RawMail extends ConnectOptions {
  /** Reverse-path without angle brackets; empty for the null reverse-path. */
  readonly from: string;
  readonly to: readonly string[];
  /** The mail before dot-stuffing, which is done here. A missing CRLF at its end is added. */
  readonly data: string | Uint8Array;
  readonly heloName?: string;
  /** Such as `SIZE=1000 BODY=8BITMIME`. */
  readonly mailParameters?: string;
}

export interface Sent {
  /** Every reply from the greeting to QUIT. */
  readonly replies: readonly SmtpReply[];
  /** What decided: the reply to the mail data or, when it was not sent, the refusal before. */
  readonly verdict: SmtpReply;
}

/** One mail, one connection. Goes on to DATA when at least one recipient is taken. */
export async function sendRaw(mail: RawMail): Promise<Sent> {
  const client = await connectSmtp(mail);
  const replies: SmtpReply[] = [];
  const keep = async (reply: Promise<SmtpReply>): Promise<SmtpReply> => {
    const arrived = await reply;
    replies.push(arrived);
    return arrived;
  };
  try {
    const verdict = await transact(client, mail, keep);
    await keep(client.command('QUIT')).catch(() => {}); // A 421 has closed already.
    return { replies, verdict };
  } finally {
    client.close();
  }
}

type Keep = (reply: Promise<SmtpReply>) => Promise<SmtpReply>;

async function transact(client: SmtpClient, mail: RawMail, keep: Keep): Promise<SmtpReply> {
  const parameters = mail.mailParameters ? ` ${mail.mailParameters}` : '';
  const opening = [
    () => client.readReply('greeting'),
    () => client.command(`EHLO ${mail.heloName ?? 'client.example'}`),
    () => client.command(`MAIL FROM:<${mail.from}>${parameters}`),
  ];
  for (const step of opening) {
    const reply = await keep(step());
    if (reply.code >= 400) return reply;
  }
  const recipients: SmtpReply[] = [];
  for (const address of mail.to) recipients.push(await keep(client.command(`RCPT TO:<${address}>`)));
  const refused = recipients.at(-1);
  if (refused && recipients.every(({ code }) => code >= 400)) return refused;
  const go = await keep(client.command('DATA'));
  if (go.code !== 354) return go;
  await client.write(dotStuffed(mail.data));
  return keep(client.readReply('mail data'));
}

/** Ready for the wire, with the final dot. Only a dot after CRLF is stuffed. Spec: RFC 5321 §4.5.2 */
export function dotStuffed(data: string | Uint8Array): Buffer {
  const text = Buffer.from(data).toString('latin1');
  const whole = text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`;
  return Buffer.from(`${whole.replace(/^\./, '..').replaceAll('\r\n.', '\r\n..')}.\r\n`, 'latin1');
}
