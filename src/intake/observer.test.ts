import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { createSmtpServer, type MailReceiver, type SmtpLimits, type SmtpObserver } from '../smtp/index.ts';
import { createBoundedLines } from '../telemetry/bounded-lines.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { visibleBeginning } from '../telemetry/visible-text.ts';
import { cleanUp } from '../testing/clean-up.ts';
import { connectSmtp, type SmtpClient } from '../testing/smtp-client.ts';
import { waitFor } from '../testing/wait-for.ts';
import { createSmtpObserver } from './observer.ts';
import { refusals } from './refusals.ts';

function observed(log: Log, metrics: Metrics, tellWithinMs = 30_000): SmtpObserver {
  const lines = createBoundedLines({ log });
  return createSmtpObserver({ log, metrics, lines, clean: visibleBeginning, tellWithinMs });
}

const receivers: readonly (readonly [string, string, MailReceiver])[] = [
  ['is not back in time', 'deadline', { begin: () => new Promise(() => {}) }],
  ['fails', 'unexpected', { begin: () => Promise.reject(new Error('broken')) }],
];

for (const [what, errorType, receiver] of receivers) {
  test(`a call of the receiver that ${what} is counted as ${errorType}, once`, async (t) => {
    const metrics = createMetrics();
    const observer = observed(pino({ level: 'silent' }), metrics);
    const limits = { receiverTimeoutMs: 60 };
    const server = createSmtpServer({ receiver, hostName: 'mx.example', limits, observer });
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    cleanUp(t, () => server.close({ graceMs: 0 }));
    const client = await connectSmtp({ port });
    cleanUp(t, () => client.close());
    await client.readReply('greeting');
    await client.command('EHLO c');
    assert.equal((await client.command('MAIL FROM:<a@b.example>')).code, 451);
    const counted = (await metrics.scrape()).text.match(/^smtp_processing_errors_total\{.*$/gm);
    assert.deepEqual(counted, [`smtp_processing_errors_total{org_id="unknown",error_type="${errorType}"} 1`]);
  });
}

test('every reply is counted by code and condition, also the one to a connection that is turned away', async (t) => {
  const metrics = createMetrics();
  const observer = observed(pino({ level: 'silent' }), metrics);
  const limits = { maxConnections: 1 };
  const receiver: MailReceiver = { begin: () => new Promise(() => {}) };
  const server = createSmtpServer({ receiver, hostName: 'mx.example', limits, observer });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  cleanUp(t, () => server.close({ graceMs: 0 }));
  const client = await connectSmtp({ port });
  cleanUp(t, () => client.close());
  await client.readReply('greeting');
  await client.command('EHLO c');
  await client.command('NOOP');
  await client.command('WHAT');
  const second = await connectSmtp({ port });
  cleanUp(t, () => second.close());
  assert.equal((await second.readReply('greeting')).code, 421);
  const counted = (await metrics.scrape()).text.match(/^smtp_replies_total\{.* [1-9]\d*$/gm);
  assert.deepEqual(counted?.toSorted(), [
    'smtp_replies_total{code="220",condition="greeting"} 1',
    'smtp_replies_total{code="250",condition="ehlo-ok"} 1',
    'smtp_replies_total{code="250",condition="noop-ok"} 1',
    'smtp_replies_total{code="421",condition="too-many-connections"} 1',
    'smtp_replies_total{code="500",condition="unknown-command"} 1',
  ]);
});

/** Takes mail for x@d, and nothing larger than 100 bytes. */
const picky: MailReceiver = {
  begin: async (_session, { reversePath }) =>
    reversePath?.domain === 'blocked.example'
      ? { refusal: refusals['sender-blocked'] }
      : {
          addRecipient: async ({ localPart }) =>
            localPart === 'x' ? undefined : ({ refusal: refusals['unknown-recipient'] } as const),
          async body(chunks) {
            for await (const _ of chunks);
            return undefined;
          },
          commit: async () => ({ acknowledgement: 'accepted 1' }),
          abort: async () => {},
        },
};

interface Watched {
  readonly port: number;
  /** At `info`. */
  readonly lines: Record<string, unknown>[];
  readonly sizes: number[];
  refusals(): Promise<Record<string, unknown>>;
  dial(): Promise<SmtpClient>;
  /** Without a moment for what is under way. */
  close(): Promise<void>;
}

async function watched(
  t: TestContext,
  o: { limits?: Partial<SmtpLimits>; tellWithinMs?: number; proxyProtocolFrom?: string[] } = {},
): Promise<Watched> {
  const lines: Record<string, unknown>[] = [];
  const sizes: number[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line));
    sizes.push(Buffer.byteLength(line));
  };
  const log = createLog({ format: 'json', level: 'info' }, { write });
  const { tellWithinMs = 30_000, proxyProtocolFrom = [] } = o;
  const server = createSmtpServer({
    receiver: picky,
    hostName: 'mx.example',
    limits: o.limits ?? {},
    proxyProtocolFrom,
    observer: observed(log, createMetrics(), tellWithinMs),
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const close = () => server.close({ graceMs: 0 });
  cleanUp(t, close);
  return {
    port,
    close,
    lines,
    sizes,
    refusals: () =>
      waitFor(async () => lines.find(({ msg }) => msg === 'SMTP refusals'), { timeoutMs: 5_000, what: 'the line' }),
    async dial() {
      const client = await connectSmtp({ port });
      cleanUp(t, () => client.close());
      return client;
    },
  };
}

async function say(client: SmtpClient, ...commands: readonly string[]): Promise<void> {
  for (const command of commands) await client.command(command);
}

test('a session tells its refusals in one line: who, what, and the reply', async (t) => {
  const { dial, lines, refusals } = await watched(t, { limits: { maxMessageBytes: 100 } });
  const client = await dial();
  await client.readReply('greeting');
  await say(client, 'HELLO', 'MAIL FROM:<a@b.example>', 'EHLO mail.b.example');
  await say(client, 'MAIL FROM:<spam@blocked.example>', 'MAIL FROM:<a@b.example> SIZE=101');
  await say(client, 'MAIL FROM:<a@b.example>', 'RCPT TO:<nobody@d>', 'RCPT TO:<x@d>', 'DATA');
  await say(client, `${'y'.repeat(150)}\r\n.`, 'QUIT');
  const { time, session_id, ...line } = await refusals();
  assert.deepEqual(line, {
    level: 'info',
    remote_address: '127.0.0.1',
    helo_name: 'mail.b.example',
    refusals: [
      { command: 'HELLO', reply: '500 5.5.2 Command not recognized', condition: 'unknown-command' },
      {
        command: 'MAIL FROM:<a@b.example>',
        reply: '503 5.5.1 Bad sequence of commands',
        condition: 'bad-sequence',
      },
      {
        command: 'MAIL FROM:<spam@blocked.example>',
        reply: '550 5.7.1 Sender not accepted',
        condition: 'sender-blocked',
        from: 'spam@blocked.example',
      },
      {
        command: 'MAIL FROM:<a@b.example> SIZE=101',
        reply: '552 5.3.4 Message too large',
        condition: 'declared-too-large',
        from: 'a@b.example',
      },
      {
        command: 'RCPT TO:<nobody@d>',
        reply: '550 5.1.1 Unknown recipient',
        condition: 'unknown-recipient',
        from: 'a@b.example',
        to: 'nobody@d',
      },
      { reply: '552 5.3.4 Message too large', condition: 'too-large', from: 'a@b.example', to: 'x@d' },
    ],
    accepted: 0,
    msg: 'SMTP refusals',
  });
  assert.match(String(session_id), /^[0-9a-f-]{36}$/);
  assert.equal(lines.length, 1);
});

test('a session without a refusal has no line, also where it ends without QUIT', async (t) => {
  const { dial, lines } = await watched(t);
  const client = await dial();
  await client.readReply('greeting');
  await say(
    client,
    'EHLO c',
    'MAIL FROM:<a@b.example>',
    'RCPT TO:<x@d>',
    'DATA',
    'y\r\n.',
    'MAIL FROM:<a@b.example>',
    'RSET',
  );
  client.close();
  (await dial()).close();
  await sleep(100);
  assert.deepEqual(lines, []);
});

for (const [condition, from] of [
  ['connection-lost', 'a@b.example'],
  ['shutdown', '<>'],
] as const) {
  test(`a mail that ended by ${condition} is told: its sender got no reply`, async (t) => {
    const { dial, refusals, close } = await watched(t);
    const client = await dial();
    await client.readReply('greeting');
    await say(client, 'EHLO c', `MAIL FROM:<${from.replace('<>', '')}>`, 'RCPT TO:<x@d>', 'DATA');
    await client.write('first line\r\n');
    await sleep(50);
    if (condition === 'shutdown') await close();
    else client.socket.resetAndDestroy();
    const { refusals: told } = await refusals();
    assert.deepEqual(told, [{ condition, from, to: 'x@d', bytes: 12 }]);
  });
}

test('a session that stays open tells its refusals soon, and each once', async (t) => {
  const { dial, lines, refusals } = await watched(t, { tellWithinMs: 40 });
  const client = await dial();
  await client.readReply('greeting');
  await say(client, 'WHAT');
  const first = await refusals();
  assert.equal(first.open, true);
  await say(client, 'WHO', 'QUIT');
  await client.closed;
  await waitFor(async () => lines.length === 2, { timeoutMs: 5_000, what: 'the line of the end' });
  const commands = lines.map(({ refusals: told }) => (told as { command: string }[]).map(({ command }) => command));
  assert.deepEqual(commands, [['WHAT'], ['WHO']]);
});

test('the line of a session has 4 KB at most, whatever the client sends, and tells ten refusals', async (t) => {
  const { dial, lines, sizes } = await watched(t);
  const letters = ['x', '\\', '\u001b', '文', '👍', '\u0080'];
  for (const letter of letters) {
    const client = await dial();
    await client.readReply('greeting');
    await say(client, `EHLO ${'c'.repeat(250)}`);
    const long = letter.repeat(240 / Buffer.byteLength(letter));
    await say(client, `MAIL FROM:<${long}@b.example> SMTPUTF8`);
    for (let n = 0; n < 15; n++) await say(client, `RCPT TO:<${long}@d>`);
    await say(client, 'QUIT');
    await client.closed;
  }
  await waitFor(async () => lines.length === letters.length, { timeoutMs: 5_000, what: 'all lines' });
  for (const [index, line] of lines.entries()) {
    assert.equal((line.refusals as unknown[]).length, 10, `${letters[index]}`);
    assert.ok(Number(line.more_refusals) >= 5);
    assert.ok((sizes[index] ?? Infinity) <= 4 * 1024, `${sizes[index]} bytes of ${letters[index]}`);
  }
});

/** What is there of a minute is taken at once by a flood; the rest of the minute gives as much again. */
const ALLOWED_BYTES = 64 * 1024;

test('a flood of refused sessions writes no more than it sent, and 64 KB; others are told of meanwhile', async (t) => {
  const { port, lines, sizes } = await watched(t, { proxyProtocolFrom: ['127.0.0.1'] });
  let sentBytes = 0;
  const session = async (address: string, text: string): Promise<void> => {
    const client = await connectSmtp({ port });
    await client.write(`PROXY TCP4 ${address} 127.0.0.1 1 25\r\n`);
    await client.readReply('greeting');
    await client.write(text);
    sentBytes += text.length;
    await client.closed;
  };
  const junk = 'X\r\n'.repeat(20);
  for (let n = 0; n < 40; n++) await Promise.all(Array.from({ length: 25 }, () => session('192.0.2.66', junk)));
  await session('198.51.100.7', 'EHLO erp\r\nMAIL FROM:<buyer@b.example>\r\nRCPT TO:<typo@d>\r\nQUIT\r\n');
  const honest = await waitFor(async () => lines.find(({ helo_name }) => helo_name === 'erp'), {
    timeoutMs: 5_000,
    what: 'the line of the honest client',
  });
  assert.match(JSON.stringify(honest.refusals), /"from":"buyer@b.example","to":"typo@d"/);
  const loggedBytes = sizes.reduce((sum, size) => sum + size, 0);
  // 1,000 sessions of 20 refusals: more than a megabyte without a bound.
  assert.ok(loggedBytes <= sentBytes + ALLOWED_BYTES, `${loggedBytes} bytes of log for ${sentBytes} sent`);
  assert.ok(lines.length > 5);
  t.diagnostic(`${loggedBytes} bytes of log, ${sentBytes} sent`);
});

test('a flood of connections beyond the bound writes no more than 64 KB, and says which bound', async (t) => {
  const { dial, port, lines, sizes } = await watched(t, { limits: { maxConnections: 1 } });
  await (await dial()).readReply('greeting');
  for (let n = 0; n < 50; n++) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = await connectSmtp({ port });
        await client.closed;
      }),
    );
  }
  const { time, ...first } = lines[0] ?? {};
  const facts = { remote_address: '127.0.0.1', condition: 'too-many-connections', limit: 1 };
  assert.deepEqual(first, { level: 'warn', ...facts, msg: 'connection refused' });
  const loggedBytes = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(loggedBytes <= ALLOWED_BYTES, String(loggedBytes));
});
