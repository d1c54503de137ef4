/** A client for send/expect scripts over a real socket; every wait has a deadline. */
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';

export interface WireClient {
  readonly socket: Socket;
  /** Everything received so far. */
  readonly transcript: string;
  send(bytes: string | Buffer): void;
  /** The next whole reply (all its lines joined with `\n`). */
  reply(): Promise<string>;
  /** Sends, then expects one reply that begins with `expected`. */
  say(line: string, expected: string): Promise<string>;
  expect(expected: string): Promise<string>;
  /** Until the server has closed; gives the replies not read yet. */
  untilClosed(): Promise<string[]>;
  destroy(): void;
}

export interface WireClientOptions {
  readonly port: number;
  readonly host?: string;
  /** To come from: any of 127.0.0.0/8. */
  readonly localAddress?: string;
  readonly deadlineMs?: number;
}

export async function connectWireClient(options: WireClientOptions): Promise<WireClient> {
  const { port, host = '127.0.0.1', localAddress, deadlineMs } = options;
  const from = localAddress === undefined ? {} : { localAddress };
  return wireClientOn(connect({ port, host, noDelay: true, ...from }), 'connect', deadlineMs);
}

/** The handshake on the connection of a client whose STARTTLS was answered 220. */
export async function secureWireClient(
  plain: WireClient,
  options: ConnectionOptions = {},
): Promise<WireClient & { readonly socket: TLSSocket }> {
  const socket = tlsConnect({ rejectUnauthorized: false, ...options, socket: plain.socket });
  return (await wireClientOn(socket, 'secureConnect')) as WireClient & { readonly socket: TLSSocket };
}

async function wireClientOn(
  socket: Socket,
  readyEvent: 'connect' | 'secureConnect',
  deadlineMs = 10_000,
): Promise<WireClient> {
  let ready = false;
  let transcript = '';
  let unread = '';
  let closed = false;
  let wake = () => {};
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    transcript += text;
    unread += text;
    wake();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    closed = true;
    wake();
  });

  async function until<T>(what: string, look: () => T | undefined): Promise<T> {
    const deadline = Date.now() + deadlineMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) throw new Error(`no ${what} within ${deadlineMs} ms; received:\n${transcript}`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, leftMs);
      });
      clearTimeout(timer);
    }
  }

  function takeReply(): string | undefined {
    const whole = /^(?:\d{3}-[^\n]*\r\n)*\d{3}(?: [^\n]*)?\r\n/.exec(unread);
    if (whole === null) {
      if (closed) throw new Error(`closed by the server; received:\n${transcript}`);
      return undefined;
    }
    unread = unread.slice(whole[0].length);
    return whole[0].slice(0, -2).replaceAll('\r\n', '\n');
  }

  const client: WireClient = {
    socket,
    get transcript() {
      return transcript;
    },
    send: (bytes) => void socket.write(bytes),
    reply: () => until('reply', takeReply),
    async expect(expected) {
      const reply = await client.reply();
      if (!reply.startsWith(expected)) throw new Error(`expected ${expected}, got ${reply}`);
      return reply;
    },
    say(line, expected) {
      client.send(`${line}\r\n`);
      return client.expect(expected);
    },
    async untilClosed() {
      await until('end of the connection', () => (closed ? true : undefined));
      const rest: string[] = [];
      while (/\r\n/.test(unread)) {
        const reply = takeReply();
        if (reply === undefined) break;
        rest.push(reply);
      }
      return rest;
    },
    destroy: () => void socket.destroy(),
  };
  socket.once(readyEvent, () => {
    ready = true;
    wake();
  });
  await until(readyEvent, () => (ready || closed ? true : undefined));
  return client;
}

/** Through the greeting, EHLO, MAIL and one RCPT. */
export async function openEnvelope(client: WireClient): Promise<void> {
  await client.expect('220');
  await client.say('EHLO client.example', '250');
  await client.say('MAIL FROM:<a@example.com>', '250 2.1.0');
  await client.say('RCPT TO:<b@example.com>', '250 2.1.5');
}

/** As RFC 3030 has it: the command and its octets in one go. */
export function bdat(octets: string | Buffer, { last = false }: { last?: boolean } = {}): Buffer {
  const bytes = Buffer.from(typeof octets === 'string' ? Buffer.from(octets, 'latin1') : octets);
  return Buffer.concat([Buffer.from(`BDAT ${bytes.length}${last ? ' LAST' : ''}\r\n`), bytes]);
}

/** The chunks of a whole mail; the last one ends it. */
export function bdatMail(chunks: readonly Buffer[]): Buffer {
  return Buffer.concat(chunks.map((chunk, index) => bdat(chunk, { last: index === chunks.length - 1 })));
}
