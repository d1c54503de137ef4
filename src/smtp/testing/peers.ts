/** Other SMTP servers behind one interface, to hold the same dialogues against. Mails over 1,000 bytes are too large. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SMTPServer } from 'smtp-server';
import { createSmtpServer } from '../server.ts';
import { createRecordingReceiver, storedBytes } from './recording-receiver.ts';
import { refusals } from './refusals.ts';

export interface Peer {
  readonly port: number;
  /** Mails accepted since the last call: `reverse-path: body` as one string each. */
  takeMails(): Promise<string[]>;
  close(): Promise<void>;
}

const maxMessageBytes = 1_000;

export async function startOurs(): Promise<Peer> {
  const receiver = createRecordingReceiver({
    recipient: ({ localPart }) => (localPart === 'no' ? { refusal: refusals['unknown-recipient'] } : undefined),
  });
  const server = createSmtpServer({ receiver, hostName: 'mx.example', limits: { maxMessageBytes } });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  let taken = 0;
  return {
    port,
    async takeMails() {
      const fresh = receiver.accepted.slice(taken);
      taken += fresh.length;
      return fresh.map((mail) => `${mail.mail.reversePath?.address ?? ''}: ${storedBytes(mail).toString('latin1')}`);
    },
    close: () => server.close({ graceMs: 0 }),
  };
}

export async function startSmtpServerPackage(): Promise<Peer> {
  let mails: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    size: maxMessageBytes,
    logger: false,
    onRcptTo({ address }, _, callback) {
      const refusal = Object.assign(new Error('Unknown recipient'), { responseCode: 550 });
      callback(address.startsWith('no@') ? refusal : null);
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (stream.sizeExceeded) return callback(Object.assign(new Error('Too large'), { responseCode: 552 }));
        const { mailFrom } = session.envelope;
        mails.push(`${mailFrom ? mailFrom.address : ''}: ${Buffer.concat(chunks).toString('latin1')}`);
        callback();
      });
    },
  });
  server.on('error', () => {});
  const listener = server.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    async takeMails() {
      const fresh = mails;
      mails = [];
      return fresh;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const python = '/usr/bin/python3';

/** Why it cannot be started, or null. */
export function aiosmtpdProblem(): string | null {
  const found = spawnSync(python, ['-c', 'import aiosmtpd']);
  return found.status === 0 ? null : `${python} has no aiosmtpd (apt-get install python3-aiosmtpd)`;
}

export async function startAiosmtpd(): Promise<Peer> {
  const script = fileURLToPath(new URL('./aiosmtpd_peer.py', import.meta.url));
  const port = await freePort();
  const child = spawn(python, [script, String(port)], { stdio: ['pipe', 'pipe', 'ignore'] });
  let mails: string[] = [];
  let marked = () => {};
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error('aiosmtpd did not start')));
    lines.on('line', (line) => {
      const said = JSON.parse(line) as { from?: string; content?: string; mark?: boolean };
      if (said.mark) return marked();
      if (said.content === undefined) return resolve();
      mails.push(`${said.from ?? ''}: ${Buffer.from(said.content, 'base64').toString('latin1')}`);
    });
  });
  return {
    port,
    async takeMails() {
      await new Promise<void>((resolve) => {
        marked = resolve;
        child.stdin.write('mark\n');
      });
      const fresh = mails;
      mails = [];
      return fresh;
    },
    async close() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
