import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AbortReason, MailReceiver, MailTransaction, Refused } from './receiver.ts';
import { ReceiverDeadline } from './receiver-deadline.ts';
import { createSmtpServer } from './server.ts';
import { createRecordingReceiver, storedBytes } from './testing/recording-receiver.ts';
import { refusals } from './testing/refusals.ts';
import { eventually, startServer } from './testing/running-server.ts';
import { connectWireClient, openEnvelope, type WireClient } from './testing/wire-client.ts';

async function sendMail(client: WireClient, body = 'Subject: x\r\n\r\nhello\r\n', expected = '250'): Promise<string> {
  await openEnvelope(client);
  await client.say('DATA', '354');
  client.send(`${body}.\r\n`);
  return client.expect(expected);
}

test('a mail is handed over with its envelope and stored as sent', async (t) => {
  const { connect, receiver, seen } = await startServer(t);
  const client = await connect();
  assert.equal(await sendMail(client, 'a\nb\rc\0\r\n..d\r\n'), '250 2.0.0 accepted 1');
  await client.say('QUIT', '221');
  assert.deepEqual(await client.untilClosed(), []);
  const [mail] = receiver.accepted;
  assert.deepEqual(storedBytes(mail).toString(), 'a\nb\rc\0\r\n.d\r\n');
  assert.deepEqual(mail?.recipients, ['b@example.com']);
  assert.equal(mail?.mail.reversePath?.address, 'a@example.com');
  assert.equal(mail?.session.heloName, 'client.example');
  assert.equal(mail?.session.remoteAddress, '127.0.0.1');
  assert.deepEqual(mail?.aborts, []);
  assert.deepEqual(seen.faults, []);
});

/** Sends once greeted, and keeps its half open. Shape: resolves when the server has ended its own. */
async function sendAndStay(t: TestContext, port: number, bytes: string): Promise<{ socket: Socket; heard: string }> {
  const socket = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  let heard = '';
  socket.on('data', (more) => {
    heard += more;
  });
  await eventually('the greeting', () => heard.startsWith('220'));
  const ended = once(socket, 'end');
  socket.write(bytes);
  await ended;
  return { socket, heard };
}

test('after QUIT the connection is closed, also where the client does not close its half', async (t) => {
  const { port, server } = await startServer(t, { limits: { lingerMs: 600_000 } });
  const { heard } = await sendAndStay(t, port, 'QUIT\r\n');
  assert.match(heard, /\r\n221 2\.0\.0 [^\n]*\r\n$/);
  await eventually('the server is done with it', () => server.connections === 0);
});

test('a client that goes on behind QUIT is read until it notices, so that it gets the reply', async (t) => {
  const { port, server } = await startServer(t, { limits: { lingerMs: 600_000 } });
  const { socket, heard } = await sendAndStay(t, port, `QUIT\r\n${'x'.repeat(5_000)}`);
  assert.match(heard, /\r\n221 2\.0\.0 [^\n]*\r\n$/);
  assert.equal(server.connections, 1);
  socket.end();
  await eventually('the server is done with it', () => server.connections === 0);
});

test('the observer learns all that logs and metrics need', async (t) => {
  const { connect, seen } = await startServer(t, {
    recipient: ({ localPart }) => (localPart === 'no' ? { refusal: refusals['unknown-recipient'] } : undefined),
  });
  const client = await connect();
  await openEnvelope(client);
  await client.say('RCPT TO:<no@example.com>', '550 5.1.1');
  await client.say('DATA', '354');
  client.send('x\r\n.\r\n');
  await client.expect('250');
  await client.say('QUIT', '221');
  await client.untilClosed();
  await eventually('the session is closed', () => seen.closed.length === 1);

  const refused = seen.replies.find(({ code }) => code === 550);
  assert.equal(refused?.condition, 'unknown-recipient');
  assert.equal(refused?.stage, 'RCPT');
  assert.equal(refused?.enhanced, '5.1.1');
  assert.equal(refused?.address, 'no@example.com');
  assert.equal(refused?.session.remoteAddress, '127.0.0.1');
  assert.ok((refused?.durationMs ?? -1) >= 0);
  assert.deepEqual(
    seen.replies.map(({ stage }) => stage),
    ['connection', 'EHLO', 'MAIL', 'RCPT', 'RCPT', 'DATA', 'mail', 'QUIT'],
  );
  const [transaction] = seen.transactions;
  assert.equal(transaction?.outcome, 'committed');
  assert.equal(transaction?.bytes, 3);
  assert.equal(transaction?.recipients, 1);
  assert.equal(transaction?.clientTold, true);
  assert.ok((transaction?.ackDurationMs ?? -1) >= 0);
  const [stats] = seen.closed;
  assert.equal(stats?.acceptedMails, 1);
  assert.ok((stats?.bytesRead ?? 0) > 50);
  assert.equal(seen.opened, 1);
});

test('an observer that throws harms nobody', async (t) => {
  const faults: unknown[] = [];
  const broken = () => {
    throw new Error('broken observer');
  };
  const server = createSmtpServer({
    receiver: createRecordingReceiver(),
    hostName: 'mx.example',
    observer: {
      sessionOpened: broken,
      sessionClosed: broken,
      replied: broken,
      transactionEnded: broken,
      fault: (error) => {
        faults.push(error);
        broken();
      },
    },
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => server.close({ graceMs: 0 }));
  await sendMail(await connectWireClient({ port }));
  assert.ok(faults.length >= 6);
});

test('replies to commands that came together leave in one write', async (t) => {
  const { connect, port } = await startServer(t, {
    begin: () => sleep(5).then(() => undefined),
    recipient: () => sleep(5).then(() => undefined),
  });
  const writes: string[] = [];
  const { write } = Socket.prototype;
  t.mock.method(Socket.prototype, 'write', function (this: Socket, ...given: Parameters<Socket['write']>) {
    if (this.localPort === port) writes.push(String(given[0]));
    return write.apply(this, given);
  });
  const client = await connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  client.send('MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<>\r\nDATA\r\n');
  for (const expected of ['250', '250', '250', '501', '354']) await client.expect(expected);
  client.send('x\r\n.\r\nNOOP\r\nQUIT\r\n');
  for (const expected of ['250', '250', '221']) await client.expect(expected);
  assert.deepEqual(
    writes.map((text) => text.split('\r\n').filter((line) => /^\d{3}( |$)/.test(line)).length),
    [1, 1, 5, 3],
  );
});

test('a client that half-closes behind its last mail still gets its answer', async (t) => {
  const { connect, receiver } = await startServer(t, {
    commit: () => sleep(20).then(() => ({ acknowledgement: 'late' })),
  });
  const client = await connect();
  await client.expect('220');
  client.socket.end('EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n');
  const replies = await client.untilClosed();
  assert.equal(replies.at(-1), '250 2.0.0 late');
  assert.equal(receiver.accepted.length, 1);
});

const faults: [string, Parameters<typeof startServer>[1], string[]][] = [
  ['begin', { begin: () => Promise.reject(new Error('secret cause')) }, ['451 4.3.0', '503', '503']],
  ['addRecipient', { recipient: () => Promise.reject(new Error('secret cause')) }, ['250', '451 4.3.0', '554 5.5.1']],
  ['body', { body: () => Promise.reject(new Error('secret cause')) }, ['250', '250', '354', '451 4.3.0']],
  ['commit', { commit: () => Promise.reject(new Error('secret cause')) }, ['250', '250', '354', '451 4.3.0']],
  ['a hanging begin', { begin: () => new Promise(() => {}) }, ['451 4.3.0', '503', '503']],
  ['a hanging addRecipient', { recipient: () => new Promise(() => {}) }, ['250', '451 4.3.0', '451 4.3.0']],
  ['a hanging body', { body: () => new Promise(() => {}) }, ['250', '250', '354', '451 4.3.0']],
  ['a hanging commit', { commit: () => new Promise(() => {}) }, ['250', '250', '354', '451 4.3.0']],
  ['a body that did not take all', { body: () => Promise.resolve(undefined) }, ['250', '250', '354', '451 4.3.0']],
];

for (const [step, options, expected] of faults) {
  test(`fault: ${step} is a generic 451, reported, and leaves the session in step`, async (t) => {
    const { connect, receiver, seen } = await startServer(t, { ...options, limits: { receiverTimeoutMs: 60 } });
    const client = await connect();
    await client.expect('220');
    await client.say('EHLO c', '250');
    const commands = ['MAIL FROM:<a@b>', 'RCPT TO:<a@b>', 'DATA', 'x\r\n.'];
    for (const [index, start] of expected.entries()) {
      client.send(`${commands[index]}\r\n`);
      const reply = await client.expect(start);
      assert.doesNotMatch(reply, /secret/);
    }
    await client.say('RSET', '250');
    assert.equal(seen.faults.length, 1);
    assert.equal(seen.faults[0] instanceof ReceiverDeadline, step.startsWith('a hanging'));
    assert.equal(receiver.accepted.length, 0);
    if (step.endsWith('begin')) return;
    const reason: AbortReason =
      step === 'addRecipient' ? 'protocol-error' : step.startsWith('a hanging') ? 'deadline' : 'fault';
    assert.deepEqual(receiver.mails[0]?.aborts, [reason]);
  });
}

test('a hanging receiver does not hold a client that is still sending: the rest is discarded, then 451', async (t) => {
  const { connect } = await startServer(t, { body: () => new Promise(() => {}), limits: { receiverTimeoutMs: 60 } });
  const client = await connect();
  await openEnvelope(client);
  await client.say('DATA', '354');
  client.send(Buffer.alloc(8 << 20, 'x\r\n'));
  client.send('\r\n.\r\n');
  await client.expect('451 4.3.0');
});

test('what a receiver says too late is ignored, and a transaction begun too late is aborted', async (t) => {
  const aborts: AbortReason[] = [];
  const late: MailTransaction = {
    addRecipient: async () => undefined,
    body: async () => undefined,
    commit: async () => ({ acknowledgement: 'too late' }),
    abort: async (reason) => void aborts.push(reason),
  };
  let release: (transaction: MailTransaction) => void = () => {};
  let signal: AbortSignal | undefined;
  const receiver: MailReceiver = {
    begin: (_, __, given) => {
      signal = given;
      return new Promise((resolve) => {
        release = resolve;
      });
    },
  };
  const server = createSmtpServer({ receiver, hostName: 'mx.example', limits: { receiverTimeoutMs: 40 } });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => server.close({ graceMs: 0 }));
  const client = await connectWireClient({ port });
  t.after(() => client.destroy());
  await client.expect('220');
  await client.say('EHLO c', '250');
  await client.say('MAIL FROM:<a@b>', '451 4.3.0');
  assert.equal(signal?.aborted, true);
  release(late);
  await eventually('the late transaction is aborted', () => aborts.length === 1);
  assert.deepEqual(aborts, ['deadline']);
  await client.say('NOOP', '250');
});

test('a commit that comes true after its deadline sends no second reply', async (t) => {
  let release: () => void = () => {};
  const { connect, receiver, seen } = await startServer(t, {
    commit: () =>
      new Promise((resolve) => {
        release = () => resolve({ acknowledgement: 'too late' });
      }),
    limits: { receiverTimeoutMs: 40 },
  });
  const client = await connect();
  await sendMail(client, 'x\r\n', '451 4.3.0');
  release();
  await client.say('NOOP', '250 2.0.0 OK');
  assert.deepEqual(receiver.mails[0]?.aborts, ['deadline']);
  assert.deepEqual(
    seen.transactions.map(({ outcome }) => outcome),
    ['deadline'],
  );
});

test('a refusal in the middle of the body stops the chunks and is told at the end', async (t) => {
  const { connect, receiver } = await startServer(t, {
    async body(chunks): Promise<Refused | undefined> {
      for await (const _ of chunks) break;
      return { refusal: refusals['storage-full'] };
    },
  });
  const client = await connect();
  await openEnvelope(client);
  await client.say('DATA', '354');
  for (let count = 0; count < 64; count++) client.send(Buffer.alloc(65_536, 'x\r\n'));
  client.send('\r\n.\r\n');
  await client.expect('452 4.3.1');
  assert.deepEqual(receiver.mails[0]?.aborts, ['refused']);
});

test('a mail over the limit: storing stops there, 552 at its end', async (t) => {
  const { connect, receiver, seen } = await startServer(t, { limits: { maxMessageBytes: 100_000 } });
  const client = await connect();
  await openEnvelope(client);
  await client.say('DATA', '354');
  client.send(`${'x'.repeat(150_000)}\r\n.\r\n`);
  await client.expect('552 5.3.4');
  await client.say('NOOP', '250');
  const [mail] = receiver.mails;
  assert.ok((mail?.bodyBytes ?? 0) <= 100_000);
  assert.match(String(mail?.bodyError), /too-large/);
  assert.deepEqual(mail?.aborts, ['too-large']);
  assert.deepEqual(seen.faults, []);
});

test('the client is gone while commit runs: the commit is waited for and not aborted', async (t) => {
  let release: () => void = () => {};
  let signal: AbortSignal | undefined;
  const { connect, receiver, seen } = await startServer(t, {
    commit: (given) => {
      signal = given;
      return new Promise((resolve) => {
        release = () => resolve({ acknowledgement: 'done' });
      });
    },
  });
  const client = await connect();
  await openEnvelope(client);
  await client.say('DATA', '354');
  client.send('x\r\n.\r\n');
  await eventually('commit runs', () => signal !== undefined);
  client.socket.resetAndDestroy();
  await eventually('the session is closed', () => seen.closed.length === 1);
  assert.equal(signal?.aborted, false);
  release();
  await eventually('the transaction has ended', () => seen.transactions.length === 1);
  assert.equal(seen.transactions[0]?.outcome, 'committed');
  assert.equal(seen.transactions[0]?.clientTold, false);
  assert.deepEqual(receiver.mails[0]?.aborts, []);
});

test('deadlines of the client: idle, half a command, a stalled mail, a slow mail', async (t) => {
  const { connect, receiver } = await startServer(t, {
    limits: {
      idleTimeoutMs: 80,
      commandTimeoutMs: 80,
      dataTimeoutMs: 80,
      dataGraceMs: 200,
      minDataBytesPerSecond: 1_000,
    },
  });
  const idle = await connect();
  await idle.expect('220');
  assert.match((await idle.untilClosed())[0] ?? '', /^421 4\.4\.2/);

  const dribbling = await connect();
  await dribbling.expect('220');
  const dribble = setInterval(() => dribbling.send('N'), 10);
  t.after(() => clearInterval(dribble));
  assert.match((await dribbling.untilClosed())[0] ?? '', /^421 4\.4\.2/);

  const stalled = await connect();
  await openEnvelope(stalled);
  await stalled.say('DATA', '354');
  assert.match((await stalled.untilClosed())[0] ?? '', /^421 4\.4\.2/);

  const slow = await connect();
  await openEnvelope(slow);
  await slow.say('DATA', '354');
  const trickle = setInterval(() => slow.send('x'), 20);
  t.after(() => clearInterval(trickle));
  assert.match((await slow.untilClosed())[0] ?? '', /^421 4\.4\.2/);
  assert.deepEqual(
    receiver.mails.map(({ aborts }) => aborts),
    [['deadline'], ['deadline']],
  );
});

test('a session has an age at which it ends between two commands', async (t) => {
  const { connect } = await startServer(t, { limits: { maxSessionMs: 150 } });
  const client = await connect();
  await client.expect('220');
  const noop = setInterval(() => client.send('NOOP\r\n'), 20);
  t.after(() => clearInterval(noop));
  assert.match((await client.untilClosed()).at(-1) ?? '', /^421 4\.4\.2/);
});

test('closing: idle sessions get 421, a mail under way its reply, and new clients no greeting', async (t) => {
  let release: () => void = () => {};
  const { server, connect, port, receiver } = await startServer(t, {
    commit: () =>
      new Promise((resolve) => {
        release = () => resolve({ acknowledgement: 'saved' });
      }),
  });
  const idle = await connect();
  await idle.expect('220');
  const inMail = await connect();
  await openEnvelope(inMail);
  await inMail.say('DATA', '354');
  inMail.send('x\r\n');
  const inCommit = await connect();
  await openEnvelope(inCommit);
  await inCommit.say('DATA', '354');
  inCommit.send('x\r\n.\r\n');
  const releaseCommit = () => receiver.mails.filter(({ bodyBytes }) => bodyBytes > 0).length === 2;
  await eventually('both mails arrive', releaseCommit);

  const closed = server.close({ graceMs: 10_000 });
  assert.deepEqual(await idle.untilClosed(), ['421 4.3.2 Service shutting down, try again later']);
  await assert.rejects(connectWireClient({ port }).then((late) => late.expect('220')));
  release();
  assert.match(await inCommit.reply(), /^250 2\.0\.0 saved/);
  assert.deepEqual(await inCommit.untilClosed(), ['421 4.3.2 Service shutting down, try again later']);
  inMail.send('.\r\n');
  await sleep(20);
  release();
  assert.match(await inMail.reply(), /^250 2\.0\.0 saved/);
  await inMail.expect('421 4.3.2');
  await closed;
  assert.equal(receiver.accepted.length, 2);
});

test('closing: what is not done when the grace is over is cut and aborted', async (t) => {
  const { server, connect, receiver } = await startServer(t, { commit: () => new Promise(() => {}) });
  const inMail = await connect();
  await openEnvelope(inMail);
  await inMail.say('DATA', '354');
  const inCommit = await connect();
  await openEnvelope(inCommit);
  await inCommit.say('DATA', '354');
  inCommit.send('x\r\n.\r\n');
  await eventually('the mail has arrived', () => receiver.mails.some(({ bodyBytes }) => bodyBytes === 3));
  await server.close({ graceMs: 50 });
  await inMail.untilClosed();
  await inCommit.untilClosed();
  assert.deepEqual(
    receiver.mails.map(({ aborts }) => aborts),
    [['shutdown'], ['shutdown']],
  );
  assert.equal(server.connections, 0);
  assert.equal(server.address(), null);
});

test('a port in use is an error of listen', async (t) => {
  const { port } = await startServer(t);
  const second = createSmtpServer({ receiver: createRecordingReceiver(), hostName: 'mx.example' });
  await assert.rejects(second.listen({ host: '127.0.0.1', port }), { code: 'EADDRINUSE' });
  await second.close();
});

test('a host name that could break the greeting is refused', () => {
  for (const hostName of ['', 'a b', 'a\r\nb'])
    assert.throws(() => createSmtpServer({ receiver: createRecordingReceiver(), hostName }), RangeError);
});
