/** STARTTLS over real sockets: Node's TLS, openssl and swaks as clients. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { makeCertificate, opensslProblem, type TestCertificate } from '../testing/certificate.ts';
import { missing } from '../testing/missing.ts';
import { storedBytes } from './testing/recording-receiver.ts';
import { refusals } from './testing/refusals.ts';
import { eventually, type RunningOptions, type RunningServer, startServer } from './testing/running-server.ts';
import { stuff } from './testing/segments.ts';
import { connectWireClient, openEnvelope, secureWireClient, type WireClient } from './testing/wire-client.ts';

const mebibyte = 1 << 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function contextOf({ cert, key }: TestCertificate): SecureContext {
  return createSecureContext({ cert, key, minVersion: 'TLSv1.2' });
}

/** The test's name and its body, which gets a server that offers STARTTLS. */
function tlsTest(
  name: string,
  body: (t: TestContext, start: (options?: RunningOptions) => Promise<RunningServer>) => Promise<void>,
): void {
  test(name, async (t) => {
    const problem = opensslProblem();
    if (problem !== null) return missing(t, 'openssl', problem);
    const context = contextOf(await makeCertificate(t));
    await body(t, (options) => startServer(t, { tls: { secureContext: () => context }, ...options }));
  });
}

/** Up to the 220 that lets the handshake begin. */
async function readyForTls(running: RunningServer): Promise<WireClient> {
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO client.example', '250');
  await client.say('STARTTLS', '220 2.0.0');
  return client;
}

async function openTls(running: RunningServer, options = {}) {
  const client = await secureWireClient(await readyForTls(running), options);
  await client.say('EHLO client.example', '250');
  return client;
}

async function openData(client: WireClient): Promise<void> {
  await client.say('MAIL FROM:<a@example.com>', '250');
  await client.say('RCPT TO:<b@example.com>', '250');
  await client.say('DATA', '354');
}

/** The server has not suffered. */
async function assertServes(running: RunningServer): Promise<void> {
  const client = await openTls(running);
  await openData(client);
  await client.say('x\r\n.', '250');
  await client.say('QUIT', '221');
  await client.untilClosed();
  await eventually('all sessions are closed', () => running.server.connections === 0);
  assert.deepEqual(running.seen.faults, []);
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  tlsTest(`a mail over ${version} is stored as sent, with version and cipher among its facts`, async (_, start) => {
    const running = await start();
    const client = await openTls(running, { maxVersion: version });
    assert.doesNotMatch(client.transcript, /STARTTLS/);
    await openData(client);
    await client.say('a\nb\0\r\n..d\r\n.', '250 2.0.0 accepted');
    await client.say('QUIT', '221');
    await client.untilClosed();
    const [mail] = running.receiver.accepted;
    assert.equal(storedBytes(mail).toString(), 'a\nb\0\r\n.d\r\n');
    assert.equal(mail?.session.heloName, 'client.example');
    const tls = { version, cipher: mail?.session.tls?.cipher };
    assert.deepEqual(mail?.session.tls, tls);
    assert.match(tls.cipher ?? '', /^TLS_[A-Z0-9_]+$/);
    await eventually('the session is closed', () => running.seen.closed.length === 1);
    assert.ok((running.seen.closed[0]?.bytesRead ?? 0) > 50);
    const [handshake] = running.seen.handshakes;
    assert.deepEqual([handshake?.outcome, handshake?.reason, handshake?.session.tls], ['completed', null, tls]);
    assert.equal(running.seen.handshakes.length, 1);
  });
}

tlsTest('commands injected behind STARTTLS are discarded, and the session begins anew', async (_, start) => {
  const running = await start();
  const evil = 'EHLO evil\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\nbad\r\n.\r\n';
  for (const injected of [evil, 'NOOP\r\n'.repeat(5_000) + evil, 'MAIL FROM:<evil@x']) {
    const plain = await running.connect();
    await plain.expect('220');
    await plain.say('EHLO client.example', '250');
    plain.send(`STARTTLS\r\n${injected}`);
    await plain.expect('220 2.0.0');
    const client = await secureWireClient(plain);
    await client.say('NOOP', '250 2.0.0 OK');
    await client.say('MAIL FROM:<a@example.com>', '503 5.5.1');
    await client.say('EHLO client.example', '250');
    await openData(client);
    await client.say('good\r\n.', '250');
    assert.equal(storedBytes(running.receiver.mails.at(-1)).toString(), 'good\r\n');
    client.destroy();
  }
  assert.deepEqual(
    running.receiver.mails.map(({ mail }) => mail.reversePath?.address),
    Array(3).fill('a@example.com'),
  );
});

tlsTest('commands injected behind STARTTLS while the session is paused are discarded too', async (_, start) => {
  const begin = Promise.withResolvers<void>();
  const running = await start({
    begin: () => begin.promise.then(() => ({ refusal: refusals['sender-blocked'] }) as const),
  });
  const plain = await running.connect();
  await plain.expect('220');
  await plain.say('EHLO client.example', '250');
  plain.send('MAIL FROM:<a@b>\r\nSTARTTLS\r\n');
  await sleep(20);
  // The sixteenth chunk pauses the session, and one more is in the socket's own buffer: no more is read.
  for (let count = 0; count < 16; count++) {
    plain.send('MAIL FROM:<evil@x>\r\n');
    await sleep(3);
  }
  begin.resolve();
  await plain.expect('550');
  await plain.expect('220 2.0.0');
  const client = await secureWireClient(plain);
  await client.say('NOOP', '250');
  assert.deepEqual(running.receiver.mails, []);
  assert.equal(running.seen.transactions.length, 1);
  client.destroy();
});

tlsTest('a handshake that never comes, or comes byte by byte, is cut at its deadline', async (t, start) => {
  const running = await start({ limits: { tlsHandshakeTimeoutMs: 100 } });
  const silent = await readyForTls(running);
  assert.deepEqual(await silent.untilClosed(), []);
  const dribbling = await readyForTls(running);
  dribbling.send(Buffer.from([0x16, 3, 1, 0x20, 0]));
  const dribble = setInterval(() => dribbling.send('x'), 10);
  t.after(() => clearInterval(dribble));
  await dribbling.untilClosed();
  await eventually('both are told', () => running.seen.handshakes.length === 2);
  assert.deepEqual(
    running.seen.handshakes.map(({ outcome }) => outcome),
    ['timeout', 'timeout'],
  );
  await eventually('both are closed', () => running.seen.closed.length === 2);
  assert.equal(running.server.connections, 0);
});

for (const [what, act, reason] of [
  ['speaks plain text', (client) => client.send('EHLO c\r\nMAIL FROM:<a@b>\r\n'), /^ERR_SSL_/],
  ['sends a RST', (client) => client.socket.resetAndDestroy(), /^ECONNRESET$/],
  ['vanishes', (client) => client.destroy(), /^connection-closed$/],
  ['half-closes', (client) => client.socket.end(), /^connection-closed$/],
] as [string, (client: WireClient) => unknown, RegExp][]) {
  tlsTest(`a client that ${what} instead of the handshake is closed, told once, and harms nobody`, async (_, start) => {
    const running = await start();
    const client = await readyForTls(running);
    act(client);
    await eventually('the session is closed', () => running.seen.closed.length === 1);
    assert.deepEqual(
      running.seen.handshakes.map(({ outcome }) => outcome),
      ['failed'],
    );
    assert.match(running.seen.handshakes[0]?.reason ?? '', reason);
    assert.equal(running.receiver.mails.length, 0);
    await assertServes(running);
  });
}

tlsTest('TLS 1.1 is refused, a second handshake too, and bytes that are no TLS end the session', async (_, start) => {
  const running = await start();
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  await assert.rejects(secureWireClient(await readyForTls(running), old).then((client) => client.say('NOOP', '250')));
  const again = await openTls(running, { maxVersion: 'TLSv1.2' });
  again.socket.renegotiate({}, () => {});
  await again.untilClosed();
  const plain = await readyForTls(running);
  const broken = await secureWireClient(plain);
  await broken.say('EHLO c', '250');
  await openData(broken);
  plain.socket.write('this is no record of TLS\r\n');
  await eventually('the mail is given up', () => (running.receiver.mails[0]?.aborts.length ?? 0) > 0);
  assert.deepEqual(running.receiver.mails[0]?.aborts, ['connection-lost']);
  await assertServes(running);
});

tlsTest('a large mail over TLS arrives as sent at the pace of a slow receiver, in bounded memory', async (_, start) => {
  const hash = createHash('sha256');
  const slow = await start({
    limits: { maxMessageBytes: 64 * mebibyte },
    async body(chunks) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        if (chunk.length % 7 === 0) await sleep(1);
      }
      return undefined;
    },
  });
  const client = await openTls(slow);
  await openData(client);
  const line = Buffer.from(`${'.x'.repeat(39)}\r\n`);
  const piece = Buffer.alloc(80 * 1_024, line);
  const sent = createHash('sha256');
  let peakBytes = 0;
  collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  for (let count = 0; count < 400; count++) {
    sent.update(piece);
    const wire = stuff(piece).subarray(0, -3);
    if (!client.socket.write(wire)) await once(client.socket, 'drain');
    if (count % 40 > 0) continue;
    collectGarbage();
    peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
  }
  client.send('.\r\n');
  await client.expect('250');
  assert.equal(hash.digest('hex'), sent.digest('hex'));
  assert.ok(peakBytes < 12 * mebibyte, `${peakBytes} bytes`);
});

tlsTest('a receiver that does not ask for the next chunk stops the TLS socket', async (_, start) => {
  const running = await start({
    async body(chunks, signal) {
      await chunks[Symbol.asyncIterator]().next();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return undefined;
    },
  });
  const plain = await readyForTls(running);
  const client = await secureWireClient(plain);
  await client.say('EHLO c', '250');
  await openData(client);
  const chunk = Buffer.alloc(65_536, 'x\r\n');
  let stalledRounds = 0;
  for (let last = -1; stalledRounds < 20; last = plain.socket.bytesWritten) {
    if (client.socket.writableLength < mebibyte) client.socket.write(chunk);
    stalledRounds = plain.socket.bytesWritten === last ? stalledRounds + 1 : 0;
    await sleep(stalledRounds > 0 ? 5 : 0);
  }
  client.destroy();
  await running.server.close({ graceMs: 0 });
  const bytesRead = running.seen.closed[0]?.bytesRead ?? 0;
  assert.ok(bytesRead > 0 && bytesRead <= 6 * 65_536, `${bytesRead} bytes were read`);
});

tlsTest('closing: idle TLS sessions get 421, a mail under way its reply, a handshake is cut', async (_, start) => {
  const running = await start();
  const idle = await openTls(running);
  const inMail = await openTls(running);
  await openData(inMail);
  inMail.send('x\r\n');
  await eventually('the mail has begun', () => (running.receiver.mails[0]?.bodyBytes ?? 0) > 0);
  const inHandshake = await readyForTls(running);
  const closed = running.server.close({ graceMs: 10_000 });
  assert.deepEqual(await idle.untilClosed(), ['421 4.3.2 Service shutting down, try again later']);
  assert.deepEqual(await inHandshake.untilClosed(), []);
  inMail.send('.\r\n');
  await inMail.expect('250 2.0.0 accepted');
  assert.deepEqual(await inMail.untilClosed(), ['421 4.3.2 Service shutting down, try again later']);
  await closed;
  assert.equal(running.server.connections, 0);
});

test('another certificate is served from the next handshake on; sessions of the old one go on', async (t) => {
  if (opensslProblem() !== null) return missing(t, 'openssl', opensslProblem() ?? '');
  const [first, second] = [await makeCertificate(t), await makeCertificate(t, { name: 'mx2.example' })];
  let context = contextOf(first);
  const running = await startServer(t, { tls: { secureContext: () => context } });
  const before = await openTls(running);
  context = contextOf(second);
  const after = await openTls(running);
  assert.equal(before.socket.getPeerCertificate().subject.CN, 'mx.example');
  assert.equal(after.socket.getPeerCertificate().subject.CN, 'mx2.example');
  for (const client of [before, after]) {
    await openData(client);
    await client.say('x\r\n.', '250');
  }
});

test('where TLS is required, a mail is taken over it only', async (t) => {
  if (opensslProblem() !== null) return missing(t, 'openssl', opensslProblem() ?? '');
  const context = contextOf(await makeCertificate(t));
  const running = await startServer(t, { tls: { secureContext: () => context, required: true } });
  const plain = await connectWireClient({ port: running.port });
  t.after(() => plain.destroy());
  await assert.rejects(openEnvelope(plain), /530 5\.7\.0 Must issue a STARTTLS command first/);
  plain.destroy();
  await assertServes(running);
});

tlsTest('openssl s_client -starttls smtp', async (t, start) => {
  const running = await start();
  const where = ['s_client', '-starttls', 'smtp', '-connect', `127.0.0.1:${running.port}`, '-quiet', '-crlf'];
  const child = spawn('openssl', [...where, '-name', 'openssl.example'], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => child.kill());
  let said = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  const replies = (start: string) => said.split('\n').filter((line) => line.startsWith(start)).length;
  // It ends its own EHLO's reply with the last line of it.
  await eventually('the handshake', () => running.seen.handshakes.length === 1);
  for (const [line, start, count] of [
    ['EHLO c', '250 ENH', 1],
    ['MAIL FROM:<a@b>', '250 2.1.0', 1],
    // Not RCPT: a line that begins with R makes it renegotiate.
    ['rcpt TO:<a@b>', '250 2.1.5', 1],
    ['DATA', '354', 1],
    ['x\n.', '250 2.0.0', 1],
  ] as const) {
    child.stdin.write(`${line}\n`);
    await eventually(`${start} to ${line}\n${said}`, () => replies(start) === count);
  }
  child.stdin.end('QUIT\n');
  await once(child, 'close');
  assert.equal(storedBytes(running.receiver.accepted[0]).toString(), 'x\r\n');
  assert.equal(running.receiver.accepted[0]?.session.tls?.version, 'TLSv1.3');
});

tlsTest('swaks --tls', async (t, start) => {
  const support = spawnSync('swaks', ['--support'], { encoding: 'utf8' });
  if (!/=== TLS supported|=== TLS\b/.test(support.stdout ?? ''))
    return missing(t, 'swaks with TLS', 'apt-get install swaks libnet-ssleay-perl');
  const running = await start();
  const child = spawn('swaks', [
    '--tls',
    '--server',
    `127.0.0.1:${running.port}`,
    '--from',
    'a@b.example',
    '--to',
    'c@d.example',
  ]);
  t.after(() => child.kill());
  let said = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, said);
  assert.match(said, /=== TLS started with cipher TLSv1\.3/);
  assert.equal(running.receiver.accepted[0]?.session.tls?.version, 'TLSv1.3');
});
