// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * What a flood of mails that never end costs in memory: the product's resident memory before, at its most, and after it, once
 * ordinary mails have come again, and whether an ordinary and a large mail of somebody else arrive meanwhile. Linux only.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readProcess } from './proc.ts';
import { startProduct } from './product.ts';

const HELP = `usage: npm run bench:flood -- [options]

Measures the resident memory of the product while connections send mails that never end, once with an endless header, once
with an endless line behind an empty header.

  --connections N    at the same time (default 600)
  --seconds N        length of the flood (default 15)
  --help             this
`;

const ENVELOPE = [
  'EHLO flood.example',
  'MAIL FROM:<a@flood.example>',
  'RCPT TO:<orders+acme@orderflow.example.com>',
  'DATA',
];
const FLOODS = {
  'endless header': Buffer.alloc(65_550, 'X-Endless: header field of a flood\r\n'),
  'endless line': Buffer.concat([Buffer.from('\r\n'), Buffer.alloc(65_534, 'x')]),
};
const GOOD_MAILS = { '10 KB': 10_000, '1 MB': 1_000_000 };
const MAIL_TIMEOUT_MS = 60_000;
/** Long enough that what waits in the kernel for the connections that are gone has been read. */
const REST_MS = 30_000;
/** V8 collects what nobody holds when it needs memory again. */
const MAILS_AFTER = 300;

/** Through the envelope, each command behind the reply to the one before. Errors: a refusal, a connection that ends. */
function openData(port: number, localAddress: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    const steps = [...ENVELOPE];
    let unread = '';
    const listen = (bytes: Buffer): void => {
      unread += bytes.toString('latin1');
      if (!/^\d{3} .*\r\n$/m.test(unread)) return;
      if (/^[45]/.test(unread)) return reject(new Error(unread));
      unread = '';
      const next = steps.shift();
      if (next !== undefined) return void socket.write(`${next}\r\n`);
      socket.off('data', listen);
      resolve(socket);
    };
    socket.on('data', listen);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed')));
  });
}

function sendEndlessly(socket: Socket, piece: Buffer): void {
  const more = (): void => {
    if (!socket.destroyed) socket.write(piece, more);
  };
  socket.resume();
  more();
}

/** Shape: milliseconds to its 250, or what came instead. */
async function deliver(port: number, bytes: number): Promise<string> {
  const startedAt = performance.now();
  const socket = await openData(port, '127.0.0.2');
  try {
    const reply = new Promise<string>((resolve) => {
      socket.once('data', (text: Buffer) => resolve(text.toString('latin1').trim()));
      socket.once('close', () => resolve('closed'));
    });
    socket.write(`Subject: good\r\nMessage-ID: <${Date.now()}.${bytes}@good.example>\r\n\r\n`);
    socket.write(Buffer.alloc(bytes, `${'x'.repeat(70)}\r\n`));
    socket.write('\r\n.\r\n');
    const given = await Promise.race([reply, sleep(MAIL_TIMEOUT_MS, 'no reply', { ref: false })]);
    return given.startsWith('250') ? `${Math.round(performance.now() - startedAt)} ms` : given;
  } finally {
    socket.destroy();
  }
}

const residentMb = (pid: number): number => {
  const facts = readProcess(pid);
  return facts === null ? Number.NaN : (facts.anonymousBytes + facts.fileBytes + facts.sharedBytes) / 1e6;
};

async function measure(
  port: number,
  pid: number,
  piece: Buffer,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
) {
  const before = residentMb(pid);
  let peak = before;
  const looking = setInterval(() => {
    peak = Math.max(peak, residentMb(pid));
  }, 100);
  const opened = await Promise.allSettled(Array.from({ length: connections }, () => openData(port, '127.0.0.1')));
  const flood = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  for (const socket of flood) sendEndlessly(socket, piece);
  await sleep((seconds * 1000) / 2);
  const arrived: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(GOOD_MAILS)) arrived[name] = await deliver(port, bytes).catch(String);
  await sleep((seconds * 1000) / 2);
  for (const socket of flood) socket.destroy();
  await sleep(REST_MS);
  clearInterval(looking);
  const restedMb = residentMb(pid);
  for (let n = 0; n < MAILS_AFTER; n++) await deliver(port, GOOD_MAILS['1 MB']).catch(String);
  return { connections: flood.length, beforeMb: before, peakMb: peak, restedMb, afterMb: residentMb(pid), arrived };
}

async function main(): Promise<void> {
  const option = { type: 'string' } as const;
  const { values } = parseArgs({ options: { connections: option, seconds: option, help: { type: 'boolean' } } });
  if (values.help === true) return void process.stdout.write(HELP);
  const [connections, seconds] = [Number(values.connections ?? 600), Number(values.seconds ?? 15)];
  for (const [name, piece] of Object.entries(FLOODS)) {
    const dataDir = await mkdtemp(join(tmpdir(), 'orderflow-flood-'));
    const env = { SMTP_MAX_CONNECTIONS: '2000' };
    const product = await startProduct({ dataDir, roles: 'smtp', processes: 1, env, cpuProfileDir: null });
    try {
      const measured = await measure(product.smtpPort, product.rootPids[0] ?? 0, piece, { connections, seconds });
      process.stdout.write(`${JSON.stringify({ flood: name, ...measured })}\n`);
    } finally {
      await product.stop();
      await rm(dataDir, { recursive: true });
    }
  }
}

await main();
