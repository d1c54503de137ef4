/** What the front door must withstand, over real sockets; the engine's own tests have the finer cuts. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { connect, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { SmtpLimits } from './limits.ts';
import { storedBytes } from './testing/recording-receiver.ts';
import { refusals } from './testing/refusals.ts';
import { eventually, type RunningServer, startServer } from './testing/running-server.ts';
import { splitAt, splitRandomly, stuff } from './testing/segments.ts';
import { openEnvelope, type WireClient } from './testing/wire-client.ts';

const mebibyte = 1 << 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function sendInSegments(client: WireClient, segments: readonly Buffer[]): Promise<void> {
  for (const segment of segments) {
    client.send(segment);
    await turn();
  }
}

async function openData(running: RunningServer): Promise<WireClient> {
  const client = await running.connect();
  await openEnvelope(client);
  await client.say('DATA', '354');
  return client;
}

/** Writes until the other side takes no more, or `maxBytes` are out. Returns what the kernel took. */
async function writeUntilBlocked(socket: Socket, chunk: Buffer, maxBytes: number): Promise<number> {
  let stalledRounds = 0;
  let lastBytes = -1;
  let queuedBytes = 0;
  while (queuedBytes < maxBytes && !socket.destroyed && stalledRounds < 20) {
    if (socket.writableLength < mebibyte) {
      socket.write(chunk);
      queuedBytes += chunk.length;
    }
    const taken = socket.bytesWritten - socket.writableLength;
    stalledRounds = taken === lastBytes ? stalledRounds + 1 : 0;
    lastBytes = taken;
    await new Promise((resolve) => setTimeout(resolve, stalledRounds > 0 ? 5 : 0));
  }
  return socket.bytesWritten - socket.writableLength;
}

const smugglingTerminators = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\n.\r',
  '\r.\n',
  '\r\n\0.\r\n',
];

test('SMTP smuggling: nine near-terminators in random segments give one mail, stored as sent', async (t) => {
  const running = await startServer(t);
  for (const [index, terminator] of smugglingTerminators.entries()) {
    const evil = 'MAIL FROM:<evil@example.com>\r\nRCPT TO:<evil@example.com>\r\nDATA\r\nbad\r\n';
    const wire = Buffer.from(`Subject: x\r\n\r\na${terminator}${evil}.\r\nQUIT\r\n`, 'latin1');
    const client = await openData(running);
    await sendInSegments(client, splitRandomly(wire, index, 12));
    assert.match(await client.reply(), /^250 2\.0\.0 accepted/, JSON.stringify(terminator));
    assert.deepEqual(await client.untilClosed(), ['221 2.0.0 Goodbye']);
    const body = `Subject: x\r\n\r\na${terminator}${evil}`.replace(/\r\n\.(?=[\r\n])/, '\r\n');
    assert.equal(storedBytes(running.receiver.mails[index]).toString('latin1'), body, JSON.stringify(terminator));
  }
  assert.equal(running.receiver.mails.length, smugglingTerminators.length);
});

test('dot-stuffing: every split of a small mail is stored as sent', async (t) => {
  const running = await startServer(t);
  const mail = Buffer.from('.\r\n..\r\n.a\r\nb\r\n');
  const wire = stuff(mail);
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  for (let cut = 1; cut < wire.length; cut++) {
    client.send('MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n');
    for (const expected of ['250', '250', '354']) await client.expect(expected);
    await sendInSegments(client, splitAt(wire, [cut]));
    await client.expect('250');
    assert.deepEqual(storedBytes(running.receiver.mails.at(-1)), mail, `split at ${cut}`);
  }
});

test('dot flood: 8 MB of it cost less than twice a plain mail, hashed and written to a file both', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'dot-flood-'));
  t.after(() => rm(folder, { recursive: true }));
  const running = await startServer(t, {
    async body(chunks) {
      const hash = createHash('sha256');
      const file = await open(join(folder, 'mail'), 'w');
      for await (const chunk of chunks) {
        hash.update(chunk);
        await file.write(chunk);
      }
      await file.close();
      return undefined;
    },
  });
  const plain = Buffer.from(`${`${'A'.repeat(76)}\r\n`.repeat((8 * mebibyte) / 78)}.\r\n`);
  const flood = Buffer.from(`${'..\r\n'.repeat(2 * mebibyte)}.\r\n`);
  const costMs = async (wire: Buffer) => {
    const client = await openData(running);
    const before = process.cpuUsage();
    client.send(wire);
    await client.expect('250');
    const { user, system } = process.cpuUsage(before);
    client.destroy();
    return (user + system) / 1_000;
  };
  // Processor time, and the best of several pairs: on a busy machine only that says something about the code. A native
  // search for every dot, or an object for every line, is five times over in every round.
  const ratios: number[] = [];
  while (ratios.length < 3 || (ratios.length < 12 && Math.min(...ratios) >= 2)) {
    const plainMs = await costMs(plain);
    ratios.push((await costMs(flood)) / plainMs);
  }
  t.diagnostic(`flood to plain: ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}`);
  assert.ok(Math.min(...ratios) < 2, ratios.join(', '));
});

test('a body pipelined behind a refused DATA creates no transaction and no second session', async (t) => {
  const running = await startServer(t, { recipient: () => ({ refusal: refusals['unknown-recipient'] }) });
  const evil = 'RSET\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\nbad\r\n.\r\nQUIT\r\n';
  for (const [index, header] of ['', 'Subject: x\r\n\r\n'].entries()) {
    const client = await running.connect();
    await client.expect('220');
    await client.say('EHLO c', '250');
    client.send(`MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n${header}${evil}`);
    for (const expected of ['250', '550', '554 5.5.1']) await client.expect(expected);
    assert.deepEqual(await client.untilClosed(), []);
    assert.equal(running.receiver.mails.length, index + 1);
  }
  assert.equal(running.seen.opened, 2);
  assert.deepEqual(
    running.receiver.mails.map(({ mail }) => mail.reversePath?.address),
    ['a@b', 'a@b'],
  );
});

test('a client that pipelines up to a refused DATA and waits may go on', async (t) => {
  const running = await startServer(t, {
    recipient: ({ localPart }) => (localPart === 'no' ? { refusal: refusals['unknown-recipient'] } : undefined),
  });
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  for (const next of ['RSET', 'NOOP', 'MAIL FROM:<c@d>']) {
    if (next !== 'MAIL FROM:<c@d>') {
      client.send('MAIL FROM:<a@b>\r\nRCPT TO:<no@b>\r\nDATA\r\n');
      for (const expected of ['250', '550', '554']) await client.expect(expected);
    }
    await client.say(next, '250');
  }
  await client.say('RCPT TO:<yes@b>', '250');
  await client.say('DATA', '354');
  await client.say('x\r\n.', '250');
  await client.say('QUIT', '221');
});

test('talk before the greeting is refused and closed', async (t) => {
  const running = await startServer(t);
  // What is written before the handshake is done travels right behind it.
  const socket = connect({ port: running.port, host: '127.0.0.1' });
  socket.write('EHLO early\r\nMAIL FROM:<a@b>\r\n');
  socket.setEncoding('latin1');
  let transcript = '';
  for await (const text of socket) transcript += text;
  assert.equal(transcript, '554 5.5.1 Client spoke before the greeting\r\n');
  assert.equal(running.receiver.mails.length, 0);
});

test('HTTP spoken to the port is refused and closed', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  client.send('POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<evil@x>\r\n');
  await client.expect('554 5.5.1');
  assert.deepEqual(await client.untilClosed(), []);
  const response = await fetch(`http://127.0.0.1:${running.port}/`).catch((error: Error) => error);
  assert.ok(response instanceof Error);
  assert.equal(running.receiver.mails.length, 0);
});

test('commands of 513 octets, 2 KB and 17 KB, and NUL in an address: a clear 5xx, the session in step', async (t) => {
  const running = await startServer(t);
  for (const [line, expected] of [
    [`NOOP ${'x'.repeat(506)}`, '500 5.5.2'],
    [`MAIL FROM:<${'x'.repeat(2_000)}@b>`, '500 5.5.2'],
    [`RCPT TO:<${'x'.repeat(17_000)}@b>`, '500 5.5.2'],
    ['MAIL FROM:<a\0@b>', '501 5.1.7'],
    ['MAIL FROM:<\x1b[2J@b>', '501 5.1.7'],
  ] as const) {
    const client = await running.connect();
    await client.expect('220');
    await client.say('EHLO c', '250');
    await client.say(line, expected);
    await client.say('NOOP', '250');
    client.destroy();
  }
});

test('a line of 50 MB without a line end is stored as sent, in bounded memory', async (t) => {
  const running = await startServer(t, { keep: false, limits: { maxMessageBytes: 64 * mebibyte } });
  const client = await openData(running);
  const line = Buffer.alloc(mebibyte, 0xff);
  let peakBytes = 0;
  collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  for (let count = 0; count < 50; count++) {
    await new Promise((resolve) => client.socket.write(line, resolve));
    if (count % 5 > 0) continue;
    collectGarbage();
    peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
  }
  client.send('\r\n.\r\n');
  await client.expect('250');
  assert.equal(running.receiver.accepted[0]?.bodyBytes, 50 * mebibyte + 2);
  // What the collector has not swept yet counts as well.
  assert.ok(peakBytes < 20 * mebibyte, `${peakBytes} bytes`);
});

test('NUL and 8-bit bytes in DATA are stored as sent', async (t) => {
  const running = await startServer(t);
  const mail = Buffer.concat([Buffer.from([...Array(256).keys()]), Buffer.from('\r\n')]);
  const client = await openData(running);
  client.send(stuff(mail));
  await client.expect('250');
  assert.deepEqual(storedBytes(running.receiver.accepted[0]), mail);
});

test('a receiver that does not ask for the next chunk stops the socket', async (t) => {
  const running = await startServer(t, {
    async body(chunks, signal) {
      await chunks[Symbol.asyncIterator]().next();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return undefined;
    },
  });
  const client = await openData(running);
  await writeUntilBlocked(client.socket, Buffer.alloc(65_536, 'x\r\n'), 24 * mebibyte);
  client.destroy();
  await running.server.close({ graceMs: 0 });
  await eventually('the session is closed', () => running.seen.closed.length === 1);
  const bytesRead = running.seen.closed[0]?.bytesRead ?? 0;
  // The queue, the chunk that filled it, the one in hand, and one in Node's own buffer.
  assert.ok(bytesRead <= 5 * 65_536, `${bytesRead} bytes were read`);
});

test('commands pipelined behind a slow step stop the socket', async (t) => {
  const running = await startServer(t, { begin: () => new Promise(() => {}) });
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  client.send('MAIL FROM:<a@b>\r\n');
  await writeUntilBlocked(client.socket, Buffer.from('NOOP\r\n'.repeat(10_000)), 24 * mebibyte);
  client.destroy();
  await running.server.close({ graceMs: 0 });
  await eventually('the session is closed', () => running.seen.closed.length === 1);
  const bytesRead = running.seen.closed[0]?.bytesRead ?? 0;
  assert.ok(bytesRead <= 4 * 65_536, `${bytesRead} bytes were read`);
});

test('a client that never reads its replies is not read any further, and cut in the end', async (t) => {
  const running = await startServer(t, { limits: { maxJunkCommands: 1_000_000_000, idleTimeoutMs: 1_000 } });
  let peakBytes = 0;
  const { write } = Socket.prototype;
  t.mock.method(Socket.prototype, 'write', function (this: Socket, ...given: Parameters<Socket['write']>) {
    const taken = write.apply(this, given);
    if (this.localPort === running.port) peakBytes = Math.max(peakBytes, this.writableLength);
    return taken;
  });
  const socket = connect({ port: running.port, host: '127.0.0.1' });
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.pause();
  await eventually('the greeting is there', () => running.seen.replies.length > 0);
  const commands = Buffer.from('HELP\r\n'.repeat(10_000));
  while (running.seen.closed.length === 0 && !socket.destroyed)
    await writeUntilBlocked(socket, commands, 64 * mebibyte);
  await eventually('the session is cut', () => running.seen.closed.length === 1);
  // The limit, and the replies to one read: 64 KiB of HELP, each answered with twelve times its length.
  assert.ok(peakBytes > 65_536 && peakBytes < 13 * 65_536 + 65_536, `${peakBytes} bytes waited`);
});

for (const [name, line, limits] of [
  ['5,000 wrong recipients', 'RCPT TO:<nobody@example.com>', {}],
  ['5,000 recipients too many', 'RCPT TO:<b@example.com>', {}],
  ['10,000 NOOP', 'NOOP', {}],
  ['10,000 RSET', 'RSET', {}],
  ['10,000 VRFY', 'VRFY someone', {}],
  ['10,000 EHLO', 'EHLO again', {}],
  ['10,000 unknown commands', 'XYZZY', {}],
] as [string, string, Partial<SmtpLimits>][]) {
  test(`${name}: 421 and close`, async (t) => {
    const running = await startServer(t, {
      limits,
      recipient: ({ localPart }) => (localPart === 'nobody' ? { refusal: refusals['unknown-recipient'] } : undefined),
    });
    const client = await running.connect();
    await openEnvelope(client);
    client.send(`${line}\r\n`.repeat(10_000));
    const replies = await client.untilClosed();
    assert.match(replies.at(-1) ?? '', /^421 4\.7\.0/);
    assert.ok(replies.length <= 1_101, `${replies.length} replies`);
    assert.deepEqual(running.receiver.mails[0]?.aborts.length, 1);
  });
}

test('slowloris: 200 slow clients do not delay a good mail, and are cut', async (t) => {
  const running = await startServer(t, {
    limits: { commandTimeoutMs: 1_500, dataTimeoutMs: 5_000, dataGraceMs: 1_500, minDataBytesPerSecond: 1_000 },
  });
  const slow = await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      if (index % 2 === 0) return openData(running);
      const client = await running.connect();
      await client.expect('220');
      return client;
    }),
  );
  const trickle = setInterval(() => {
    for (const client of slow) if (!client.socket.destroyed) client.send('x');
  }, 100);
  t.after(() => clearInterval(trickle));
  const good = await openData(running);
  const cutBefore = running.seen.closed.length;
  await good.say('x\r\n.', '250');
  assert.equal(cutBefore, 0);
  const endings = await Promise.all(slow.map((client) => client.untilClosed()));
  for (const ending of endings) assert.match(ending.at(-1) ?? '', /^421 4\.4\.2/);
  assert.equal(running.receiver.accepted.length, 1);
});

async function openMany(t: TestContext, running: RunningServer, count: number): Promise<string[]> {
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  return Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<string>((resolve) => {
          const socket = connect({ port: running.port, host: '127.0.0.1' });
          sockets.push(socket);
          socket.setEncoding('latin1');
          socket.once('data', (text: string) => resolve(text));
          socket.once('error', () => resolve('reset'));
          socket.once('close', () => resolve('closed'));
        }),
    ),
  );
}

test('2,000 connections at once: those below the cap are greeted, the others turned away', async (t) => {
  const running = await startServer(t, { limits: { maxConnections: 500, maxConnectionsPerAddress: 2_000 } });
  const first = await openMany(t, running, 2_000);
  assert.equal(first.filter((text) => text.startsWith('220')).length, 500);
  assert.ok(first.filter((text) => text.startsWith('421 4.3.2')).length >= 256);
  assert.equal(running.server.connections, 500);
  assert.equal(running.seen.refused.length, 1_500);
});

test('too many connections from one address are turned away, and room is made again', async (t) => {
  const running = await startServer(t, { limits: { maxConnections: 4, maxConnectionsPerAddress: 2 } });
  const first = await running.connect();
  await first.expect('220');
  const second = await running.connect();
  await second.expect('220');
  const third = await running.connect();
  await third.expect('421 4.7.0');
  await third.untilClosed();
  await first.say('QUIT', '221');
  await first.untilClosed();
  await eventually('the first is gone', () => running.server.connections === 1);
  const fourth = await running.connect();
  await fourth.expect('220');
});

for (const [how, leave] of [
  ['vanishes', (client: WireClient) => client.destroy()],
  ['sends a RST', (client: WireClient) => client.socket.resetAndDestroy()],
  ['half-closes', (client: WireClient) => client.socket.end()],
] as [string, (client: WireClient) => unknown][]) {
  test(`a client that ${how} in the middle of DATA leaves nothing behind`, async (t) => {
    const running = await startServer(t);
    const client = await openData(running);
    client.send('Subject: x\r\n\r\nhalf a ma');
    await eventually('the half is there', () => (running.receiver.mails[0]?.bodyBytes ?? 0) > 0);
    leave(client);
    await eventually('the session is closed', () => running.seen.closed.length === 1);
    const [mail] = running.receiver.mails;
    assert.match(String(mail?.bodyError), /connection-lost/);
    assert.deepEqual(mail?.aborts, ['connection-lost']);
    assert.equal(mail?.committed, false);
    assert.equal(running.server.connections, 0);
    assert.deepEqual(running.seen.faults, []);
    assert.deepEqual(
      running.seen.transactions.map(({ outcome }) => outcome),
      ['connection-lost'],
    );
  });
}

test('SIZE with 20 and 21 digits, negative, in words', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  await client.say(`MAIL FROM:<a@b> SIZE=${'9'.repeat(20)}`, '552 5.3.4');
  await client.say(`MAIL FROM:<a@b> SIZE=${'9'.repeat(21)}`, '501 5.5.4');
  await client.say('MAIL FROM:<a@b> SIZE=-1', '501 5.5.4');
  await client.say('MAIL FROM:<a@b> SIZE=lots', '501 5.5.4');
  await client.say('MAIL FROM:<a@b> SIZE=1000', '250');
});

test('endless DATA: storing stops at the limit, the connection is cut at twice the limit', async (t) => {
  const running = await startServer(t, { limits: { maxMessageBytes: mebibyte, lingerMs: 200 } });
  const client = await openData(running);
  await writeUntilBlocked(client.socket, Buffer.alloc(65_536, 'x\r\n'), 64 * mebibyte);
  await eventually('the session is cut', () => running.seen.closed.length === 1);
  const [mail] = running.receiver.mails;
  assert.ok((mail?.bodyBytes ?? 0) <= mebibyte);
  assert.deepEqual(mail?.aborts, ['too-large']);
  assert.ok((running.seen.closed[0]?.bytesRead ?? 0) < 2 * mebibyte + 4 * 65_536);
  assert.equal(running.seen.replies.at(-1)?.condition, 'too-large');
});

test('BINARYMIME, undeclared SMTPUTF8, unknown parameters, STARTTLS', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  await client.say('STARTTLS', '500 5.5.2');
  await client.say('MAIL FROM:<a@b> BODY=BINARYMIME', '555 5.5.4');
  await client.say('MAIL FROM:<a@b> FOO=BAR', '555 5.5.4');
  await client.say('MAIL FROM:<ä@b>', '553 5.6.7');
  await client.say('MAIL FROM:<a@b>', '250');
  await client.say('RCPT TO:<ä@b>', '553 5.6.7');
  await client.say('RCPT TO:<a@b> FOO=rfc822;a@b', '555 5.5.4');
  assert.equal(running.receiver.mails.length, 1);
});
