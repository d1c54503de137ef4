/** CHUNKING over real sockets: what it shares with DATA (deadlines, back-pressure, leaving) and what a liar can try. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { storedBytes } from './testing/recording-receiver.ts';
import { eventually, type RunningServer, startServer } from './testing/running-server.ts';
import { stuff } from './testing/segments.ts';
import { bdat, bdatMail, openEnvelope, type WireClient } from './testing/wire-client.ts';

const mebibyte = 1 << 20;
const last = { last: true };

async function openChunks(running: RunningServer): Promise<WireClient> {
  const client = await running.connect();
  await openEnvelope(client);
  return client;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Writes as fast as the other side takes it, until it takes nothing any more. */
async function flood(socket: Socket, chunk: Buffer, maxBytes: number): Promise<void> {
  let stalledRounds = 0;
  let lastTaken = -1;
  for (let queued = 0; queued < maxBytes && !socket.destroyed && stalledRounds < 20; ) {
    if (socket.writableLength < mebibyte) {
      socket.write(chunk);
      queued += chunk.length;
    }
    const taken = socket.bytesWritten - socket.writableLength;
    stalledRounds = taken === lastTaken ? stalledRounds + 1 : 0;
    lastTaken = taken;
    await sleep(stalledRounds > 0 ? 5 : 0);
  }
}

test('EHLO offers CHUNKING, and a mail of chunks is stored as sent and told of like any other', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  assert.match(await client.say('EHLO c', '250'), /^250-CHUNKING$/m);
  await client.say('MAIL FROM:<a@example.com>', '250');
  await client.say('RCPT TO:<b@example.com>', '250');
  client.send(bdat('Subject: x\r\n\r\n.\r\n'));
  assert.equal(await client.reply(), '250 2.0.0 Chunk received');
  client.send(bdat('..no line end', last));
  assert.equal(await client.reply(), '250 2.0.0 accepted 1');
  await client.say('QUIT', '221');
  await client.untilClosed();
  assert.equal(storedBytes(running.receiver.accepted[0]).toString(), 'Subject: x\r\n\r\n.\r\n..no line end');
  assert.deepEqual(
    running.seen.replies.slice(-3).map(({ stage }) => stage),
    ['BDAT', 'mail', 'QUIT'],
  );
  const [transaction] = running.seen.transactions;
  assert.equal(transaction?.outcome, 'committed');
  assert.equal(transaction?.bytes, 30);
  assert.ok((transaction?.ackDurationMs ?? -1) >= 0);
});

test('a whole session in one write, two mails in it', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  const envelope = Buffer.from('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n');
  const first = [Buffer.from('one'), Buffer.from('\r\n.\r\n')];
  client.send(
    Buffer.concat([Buffer.from('EHLO c\r\n'), envelope, bdatMail(first), envelope, bdatMail([first[1] ?? envelope])]),
  );
  client.send('QUIT\r\n');
  for (const code of ['250', '250', '250', '250', '250', '250', '250', '250', '221']) await client.expect(code);
  assert.deepEqual(
    running.receiver.accepted.map((mail) => storedBytes(mail).toString()),
    ['one\r\n.\r\n', '\r\n.\r\n'],
  );
});

test('the reply to the last chunk waits for the commit', async (t) => {
  let release = () => {};
  const running = await startServer(t, {
    commit: () =>
      new Promise((resolve) => {
        release = () => resolve({ acknowledgement: 'saved' });
      }),
  });
  const client = await openChunks(running);
  client.send(bdat('a'));
  await client.expect('250 2.0.0 Chunk received');
  client.send(bdat('b', last));
  await eventually('the mail is whole', () => running.receiver.mails[0]?.bodyBytes === 2);
  await sleep(20);
  assert.ok(client.transcript.endsWith('250 2.0.0 Chunk received\r\n'));
  release();
  await client.expect('250 2.0.0 saved');
});

test('8 MB of random octets in chunks of every size arrive whole', async (t) => {
  const running = await startServer(t);
  const mail = randomBytes(8 * mebibyte);
  const client = await openChunks(running);
  let at = 0;
  for (let size = 1; at + size < mail.length; size = size * 2 + 1) {
    client.send(bdat(mail.subarray(at, at + size)));
    at += size;
  }
  client.send(bdat(mail.subarray(at), last));
  let reply = await client.reply();
  while (reply === '250 2.0.0 Chunk received') reply = await client.reply();
  assert.equal(reply, '250 2.0.0 accepted 1');
  assert.equal(sha256(storedBytes(running.receiver.accepted[0])), sha256(mail));
});

test('the same mail by DATA and by BDAT is the same at the receiver', async (t) => {
  const running = await startServer(t);
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO c', '250');
  const transact = async (wire: Buffer) => {
    client.send('MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n');
    for (const code of ['250', '250']) await client.expect(code);
    client.send(wire);
    let reply = await client.reply();
    while (/^354|Chunk/.test(reply)) reply = await client.reply();
    assert.match(reply, /^250 2\.0\.0 accepted/);
    return storedBytes(running.receiver.accepted.at(-1));
  };
  const lines = fc.array(fc.constantFrom('\r\n', '.', '\n', '\r', '\0', 'QUIT', 'x'.repeat(3_000)), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(lines, fc.array(fc.nat(20_000), { maxLength: 6 }), async (words, cuts) => {
      const mail = Buffer.from(`${words.join('')}\r\n`);
      const ends = [...cuts.map((cut) => Math.min(cut, mail.length)), mail.length].toSorted((a, b) => a - b);
      const byData = await transact(Buffer.concat([Buffer.from('DATA\r\n'), stuff(mail)]));
      const byBdat = await transact(bdatMail(ends.map((end, index) => mail.subarray(ends[index - 1] ?? 0, end))));
      assert.deepEqual(byData, mail);
      assert.deepEqual(byBdat, mail);
    }),
    { numRuns: 40 },
  );
});

for (const [where, sent] of [
  ['in a chunk', Buffer.from('BDAT 1000 LAST\r\nhalf a ma')],
  ['between two chunks', bdat('half a ma')],
] as const) {
  for (const [how, leave] of [
    ['vanishes', (client: WireClient) => client.destroy()],
    ['sends a RST', (client: WireClient) => client.socket.resetAndDestroy()],
    ['half-closes', (client: WireClient) => client.socket.end()],
  ] as const) {
    test(`a client that ${how} ${where} leaves nothing behind`, async (t) => {
      const running = await startServer(t);
      const client = await openChunks(running);
      client.send(sent);
      await eventually('the half is there', () => (running.receiver.mails[0]?.bodyBytes ?? 0) === 9);
      leave(client);
      await eventually('the session is closed', () => running.seen.closed.length === 1);
      const [mail] = running.receiver.mails;
      assert.match(String(mail?.bodyError), /connection-lost/);
      assert.deepEqual(mail?.aborts, ['connection-lost']);
      assert.equal(mail?.committed, false);
      assert.deepEqual(running.seen.faults, []);
      assert.deepEqual(
        running.seen.transactions.map(({ outcome }) => outcome),
        ['connection-lost'],
      );
    });
  }
}

for (const [verb, reply] of [
  ['RSET', '250'],
  ['QUIT', '221'],
] as const) {
  test(`${verb} between two chunks has the receiver throw away what it took`, async (t) => {
    const running = await startServer(t);
    const client = await openChunks(running);
    client.send(bdat('half a ma'));
    await client.expect('250 2.0.0 Chunk received');
    await eventually('the half is there', () => running.receiver.mails[0]?.bodyBytes === 9);
    await client.say(verb, reply);
    await eventually('it is aborted', () => running.receiver.mails[0]?.aborts.length === 1);
    assert.deepEqual(running.receiver.mails[0]?.aborts, ['reset']);
    assert.match(String(running.receiver.mails[0]?.bodyError), /reset/);
    assert.equal(running.receiver.accepted.length, 0);
  });
}

test('deadlines: a stalled chunk, nothing behind a chunk, slow octets, slow chunks, slow octets of no mail', async (t) => {
  const limits = { dataTimeoutMs: 100, dataGraceMs: 250, minDataBytesPerSecond: 1_000 };
  const running = await startServer(t, { limits });
  const trickles: [string, string, number][] = [
    ['BDAT 1000 LAST\r\nx', '', 0],
    ['BDAT 1\r\nx', '', 0],
    ['BDAT 100000 LAST\r\n', 'x', 20],
    ['BDAT 1\r\nx', 'BDAT 1\r\nx', 20],
    ['RSET\r\nBDAT 100000 LAST\r\n', 'x', 20],
  ];
  const clients = await Promise.all(
    trickles.map(async ([first, then, everyMs]) => {
      const client = await openChunks(running);
      client.send(first);
      if (everyMs === 0) return client;
      const trickle = setInterval(() => client.send(then), everyMs);
      t.after(() => clearInterval(trickle));
      return client;
    }),
  );
  for (const client of clients) assert.match((await client.untilClosed()).at(-1) ?? '', /^421 4\.4\.2/);
  const aborts = running.receiver.mails.map((mail) => mail.aborts.join());
  assert.deepEqual(aborts.toSorted(), [...Array(4).fill('deadline'), 'reset']);
});

test('a client that is quick enough is not cut, however many chunks it makes of it', async (t) => {
  const limits = { dataGraceMs: 100, minDataBytesPerSecond: 1_000 };
  const running = await startServer(t, { limits });
  const client = await openChunks(running);
  // 500 octets each 50 ms are ten times the least rate, for five times the grace.
  for (let count = 0; count < 10; count++) {
    client.send(bdat('x'.repeat(500)));
    await client.expect('250 2.0.0 Chunk received');
    await sleep(50);
  }
  client.send(bdat('', last));
  await client.expect('250 2.0.0 accepted');
});

test('the octets that come with a BDAT count for the rate as well', async (t) => {
  const running = await startServer(t, { limits: { dataGraceMs: 100, minDataBytesPerSecond: 1_000 } });
  const client = await openChunks(running);
  client.send(`BDAT 10001 LAST\r\n${'x'.repeat(10_000)}`);
  await sleep(300);
  client.send('x');
  await client.expect('250 2.0.0 accepted');
});

test('every mail has a clock of its own, wanted or not', async (t) => {
  const running = await startServer(t, { limits: { dataGraceMs: 1_000, minDataBytesPerSecond: 1_000 } });
  const client = await openChunks(running);
  client.send(bdat('x', last));
  await client.expect('250 2.0.0 accepted');
  await sleep(1_050);
  client.send('BDAT 2 LAST\r\nx');
  await sleep(300);
  client.send('x');
  await client.expect('503 5.5.1');
});

for (const [name, chunk] of [
  ['large', bdat(Buffer.alloc(65_536, 'x'))],
  ['small', Buffer.concat(Array(2_000).fill(bdat('x')))],
] as const) {
  test(`a receiver that does not ask for the next octets stops the socket: ${name} chunks`, async (t) => {
    const running = await startServer(t, {
      limits: { maxSmallChunks: 1_000_000_000 },
      async body(chunks, signal) {
        await chunks[Symbol.asyncIterator]().next();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return undefined;
      },
    });
    const client = await openChunks(running);
    await flood(client.socket, chunk, 24 * mebibyte);
    client.destroy();
    await running.server.close({ graceMs: 0 });
    await eventually('the session is closed', () => running.seen.closed.length === 1);
    const bytesRead = running.seen.closed[0]?.bytesRead ?? 0;
    // The small ones are one octet in ten of what is read: the queue fills by its number of pieces, one for each read.
    assert.ok(bytesRead <= 20 * 65_536, `${bytesRead} bytes were read`);
  });
}

test('chunks of one octet do not become as many objects, nor hold what came around them', async (t) => {
  const running = await startServer(t, { limits: { maxSmallChunks: 40_000 } });
  const client = await openChunks(running);
  client.send(Buffer.concat([...Array(40_000).fill(bdat('x')), bdat('', last)]));
  let reply = await client.reply();
  while (reply === '250 2.0.0 Chunk received') reply = await client.reply();
  assert.equal(reply, '250 2.0.0 accepted 1');
  const [mail] = running.receiver.accepted;
  assert.equal(storedBytes(mail).toString(), 'x'.repeat(40_000));
  const pieces = mail?.chunks ?? [];
  assert.ok(pieces.length < 4_000, `${pieces.length} pieces`);
  const memory = new Set(pieces.map((piece) => piece.buffer));
  const heldBytes = [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(heldBytes < 3 * 40_000 + 2 * Buffer.poolSize, `${heldBytes} bytes held for 40,000 octets`);
});

test('a receiver that hangs between two chunks: 451 to the next, and the session goes on', async (t) => {
  const running = await startServer(t, { body: () => new Promise(() => {}), limits: { receiverTimeoutMs: 60 } });
  const client = await openChunks(running);
  client.send(bdat('a'));
  await client.expect('250 2.0.0 Chunk received');
  await eventually('the deadline has passed', () => running.seen.faults.length === 1);
  client.send(bdat('b'));
  await client.expect('451 4.3.0');
  client.send(bdat('c', last));
  await client.expect('451 4.3.0');
  await client.say('MAIL FROM:<a@b>', '250');
  assert.deepEqual(running.receiver.mails[0]?.aborts, ['deadline']);
});

test('a client that waits long for our slow receiver is not the one that is late', async (t) => {
  const limits = { dataTimeoutMs: 500, dataGraceMs: 500, minDataBytesPerSecond: 1_000_000_000 };
  const running = await startServer(t, { chunkDelayMs: 60, keep: false, limits });
  const client = await openChunks(running);
  client.send(Buffer.concat([...Array(16).fill(bdat(Buffer.alloc(65_536))), bdat('', last)]));
  let reply = await client.reply();
  while (reply === '250 2.0.0 Chunk received') reply = await client.reply();
  assert.equal(reply, '250 2.0.0 accepted 1');
});

test('a chunk that says more than will ever come: storing stops at once, reading at twice the limit', async (t) => {
  const running = await startServer(t, { limits: { maxMessageBytes: mebibyte, lingerMs: 200 } });
  for (const opened of [true, false]) {
    const client = await openChunks(running);
    if (!opened) await client.say('RSET', '250');
    client.send('BDAT 9007199254740991 LAST\r\n');
    await flood(client.socket, Buffer.alloc(65_536, 'RSET\r\n'), 64 * mebibyte);
    await eventually('the session is cut', () => running.seen.closed.length > (opened ? 0 : 1));
    assert.ok((running.seen.closed.at(-1)?.bytesRead ?? 0) < 2 * mebibyte + 4 * 65_536);
    assert.equal(running.seen.replies.at(-1)?.condition, 'too-large');
  }
  assert.deepEqual(
    running.receiver.mails.map(({ bodyBytes, aborts }) => [bodyBytes, aborts.join()]),
    [
      [0, 'too-large'],
      [0, 'reset'],
    ],
  );
});

test('a chunk that says less than it has: the rest runs as the commands it is, and no mail is lost for it', async (t) => {
  const running = await startServer(t);
  const client = await openChunks(running);
  client.send('BDAT 3\r\nabcNOOP\r\nxyz\r\n');
  for (const expected of ['250 2.0.0 Chunk', '250 2.0.0 OK', '500 5.5.2']) await client.expect(expected);
  client.send(bdat('d', last));
  await client.expect('250 2.0.0 accepted');
  assert.equal(storedBytes(running.receiver.accepted[0]).toString(), 'abcd');
});

test('a malformed BDAT closes, and nothing of the mail behind it runs', async (t) => {
  const running = await startServer(t);
  const client = await openChunks(running);
  client.send('BDAT 99999999999999999999 LAST\r\nRSET\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<e@x>\r\nDATA\r\nx\r\n.\r\n');
  await client.expect('501 5.5.4');
  assert.deepEqual(await client.untilClosed(), []);
  assert.equal(running.receiver.mails.length, 1);
  assert.deepEqual(running.receiver.mails[0]?.aborts, ['protocol-error']);
});

test('closing: a mail between two chunks comes to its reply', async (t) => {
  const running = await startServer(t);
  const client = await openChunks(running);
  client.send(bdat('a'));
  await client.expect('250 2.0.0 Chunk received');
  const closed = running.server.close({ graceMs: 10_000 });
  await sleep(20);
  client.send(bdat('b', last));
  await client.expect('250 2.0.0 accepted 1');
  await client.expect('421 4.3.2');
  await closed;
  assert.equal(storedBytes(running.receiver.accepted[0]).toString(), 'ab');
});
