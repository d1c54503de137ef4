/** Memory of all connections together, counted in bytes held; `npm run bench:flood` measures the process. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaultLimits, resolveLimits, type SmtpLimits } from './limits.ts';
import { MemoryPlaces, type PlaceHolder, placeBytes } from './memory-places.ts';
import { eventually, inBatches, type RunningServer, startServer } from './testing/running-server.ts';
import { openEnvelope, type WireClient } from './testing/wire-client.ts';

const mebibyte = 1 << 20;
const twoReads = 128 * 1024;

async function openData(running: RunningServer, from?: string): Promise<WireClient> {
  const client = await running.connect(from);
  await openEnvelope(client);
  await client.say('DATA', '354');
  return client;
}

async function deliver(running: RunningServer, bytes: number, from: string): Promise<void> {
  const client = await openData(running, from);
  client.send(Buffer.alloc(bytes, 'x'.repeat(70).concat('\r\n')));
  await client.say('\r\n.', '250 2.0.0');
}

/** Of a mail that does not end, twice what is taken without a place: more only fills the kernel's buffers. */
function sendEndlessly(client: WireClient, piece: Buffer): void {
  let leftBytes = 2 * (defaultLimits.maxSmallHeldBytes + twoReads);
  const more = (): void => {
    leftBytes -= piece.length;
    if (leftBytes >= 0 && !client.socket.destroyed) client.socket.write(piece, more);
  };
  more();
}

interface Watched {
  readonly running: RunningServer;
  readonly limits: SmtpLimits;
  mostHeld: number;
}

/** With four places, and its held bytes looked at all the time. */
async function startSmall(t: TestContext, given: Partial<SmtpLimits> = {}): Promise<Watched> {
  const limits = resolveLimits({
    maxConnectionsPerAddress: 1_000,
    maxHeldBytes: 4 * placeBytes(defaultLimits),
    placeWaitMs: 200,
    ...given,
  });
  const running = await startServer(t, { limits, keep: false });
  const watched: Watched = { running, limits, mostHeld: 0 };
  const looking = setInterval(() => {
    watched.mostHeld = Math.max(watched.mostHeld, running.server.heldBytes);
  }, 20);
  t.after(() => clearInterval(looking));
  return watched;
}

for (const [what, piece] of [
  ['an endless header', Buffer.alloc(16_384, 'X-Endless: header\r\n')],
  ['an endless line', Buffer.alloc(16_384, 'x')],
] as const) {
  test(`600 connections with ${what} each: memory is bounded over all, and mails of others arrive`, async (t) => {
    const watched = await startSmall(t);
    const { running, limits } = watched;
    const flood = await inBatches(600, () => openData(running));
    for (const client of flood) sendEndlessly(client, piece);
    await eventually('all send', () => running.receiver.mails.every(({ bodyBytes }) => bodyBytes > 0));
    for (let n = 0; n < 2; n++) {
      await deliver(running, 8_000, '127.0.0.2');
      await deliver(running, mebibyte, '127.0.0.3');
    }
    watched.mostHeld = Math.max(watched.mostHeld, running.server.heldBytes);
    const bound = limits.maxHeldBytes + 600 * (limits.maxSmallHeldBytes + twoReads);
    assert.ok(watched.mostHeld <= bound, `${watched.mostHeld} bytes held, ${bound} allowed`);
    assert.ok(running.server.heldBytes > limits.maxHeldBytes / 2, 'the flood was none');
    for (const client of flood) client.destroy();
    await eventually('nothing is held', () => running.server.heldBytes === 0);
    assert.equal(running.receiver.accepted.length, 4);
  });
}

test('mails that wait for memory all arrive, none is cut', async (t) => {
  const { running, limits } = await startSmall(t, { placeWaitMs: 60_000 });
  await Promise.all(Array.from({ length: 40 }, () => deliver(running, mebibyte, '127.0.0.1')));
  assert.equal(running.receiver.accepted.length, 40);
  assert.equal(running.server.heldBytes, 0);
  assert.ok(limits.maxHeldBytes < 40 * limits.maxReceiverBytes);
});

test('a mail of one piece that waits holds nobody up, and arrives when there is a place again', async (t) => {
  const { running } = await startSmall(t, { placeWaitMs: 60_000, maxHeldBytes: 1 });
  const holder = await openData(running);
  holder.send(Buffer.alloc(100_000, 'x'));
  await eventually('it is there', () => running.server.heldBytes >= 100_000);
  const waiting = await openData(running, '127.0.0.2');
  waiting.send(Buffer.alloc(40_000, 'y'));
  await eventually('it is read', () => running.server.heldBytes >= 140_000);
  waiting.send('\r\n.\r\n');
  await deliver(running, 10_000, '127.0.0.3');
  assert.doesNotMatch(waiting.transcript, /250 2\.0\.0/);
  await holder.say('\r\n.', '250 2.0.0');
  await waiting.expect('250 2.0.0');
});

test('who waits for memory as long as for the next piece of a mail is told to come back', async (t) => {
  const { running } = await startSmall(t, {
    placeWaitMs: 60_000,
    maxHeldBytes: 1,
    dataTimeoutMs: 300,
    dataGraceMs: 9_000,
  });
  const holder = await openData(running);
  const trickle = setInterval(() => holder.send('x'), 50);
  t.after(() => clearInterval(trickle));
  holder.send(Buffer.alloc(100_000, 'x'));
  await eventually('it is there', () => running.server.heldBytes >= 100_000);
  const waiting = await openData(running, '127.0.0.2');
  waiting.send(Buffer.alloc(200_000, 'y'));
  await waiting.expect('421 4.3.2');
  clearInterval(trickle);
  await holder.say('\r\n.', '250 2.0.0');
});

test('a client that leaves with commands unread keeps no place', async (t) => {
  const answers: (() => void)[] = [];
  const recipient = () => new Promise<undefined>((resolve) => answers.push(() => resolve(undefined)));
  const running = await startServer(t, { limits: { maxHeldBytes: 1 }, recipient });
  const client = await running.connect();
  await client.expect('220');
  await client.say('EHLO client.example', '250');
  await client.say('MAIL FROM:<a@b.example>', '250');
  client.send(`RCPT TO:<c@d.example>\r\n${'NOOP\r\n'.repeat(10_000)}`);
  await eventually('it is there', () => running.server.heldBytes >= 40_000);
  client.socket.resetAndDestroy();
  await eventually('it is gone', () => running.seen.closed.length === 1);
  for (const answer of answers.splice(0)) answer();
  await eventually('nothing is held', () => running.server.heldBytes === 0);
  const next = await running.connect();
  await next.expect('220');
  await next.say('EHLO client.example', '250');
  await next.say('MAIL FROM:<a@b.example>', '250');
  next.send('RCPT TO:<c@d.example>\r\n');
  await eventually('it is asked about', () => answers.length === 1);
  for (const answer of answers.splice(0)) answer();
  await next.expect('250');
  await next.say('DATA', '354');
  next.send(Buffer.alloc(mebibyte, 'x'.repeat(70).concat('\r\n')));
  await next.say('\r\n.', '250 2.0.0');
});

test('memory counts until the receiver has let go of it, also when the client has gone', async (t) => {
  let letGo = (): void => {};
  const released = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const limits = { maxHeldBytes: 1 };
  const running = await startServer(t, {
    limits,
    body: async (chunks) => {
      try {
        for await (const _ of chunks);
      } catch (error) {
        await released;
        throw error;
      }
      return undefined;
    },
  });
  const gone = await openData(running);
  gone.send(Buffer.alloc(100_000, 'x'));
  await eventually('it is there', () => running.server.heldBytes >= 100_000);
  gone.destroy();
  await eventually('it is gone', () => running.server.connections === 0);
  const next = await openData(running);
  next.send(Buffer.alloc(300_000, 'x'));
  next.send('\r\n.\r\n');
  await sleep(100);
  assert.doesNotMatch(next.transcript, /250 2\.0\.0/);
  letGo();
  await next.expect('250 2.0.0');
});

class Holder implements PlaceHolder {
  readonly addressKey: string;
  readonly rate: number | null;
  given = false;
  cutWith: string | null = null;
  constructor(addressKey: string, rate: number | null = Number.POSITIVE_INFINITY) {
    this.addressKey = addressKey;
    this.rate = rate;
  }
  placeGiven(): void {
    this.given = true;
  }
  bytesPerSecond(): number | null {
    return this.rate;
  }
  cutForOthers(condition: string): void {
    this.cutWith = condition;
  }
}

const placesOf = (count: number) =>
  new MemoryPlaces<Holder>({ ...defaultLimits, maxHeldBytes: count * placeBytes(defaultLimits) });

test('a place that is free goes to the address with fewest, in the order in which they came', () => {
  const places = placesOf(3);
  const [first, second, third] = [new Holder('a'), new Holder('a'), new Holder('b')];
  for (const holder of [first, second, third]) assert.ok(places.claim(holder));
  const [again, other, late] = [new Holder('a'), new Holder('c'), new Holder('d')];
  for (const holder of [again, other, late]) assert.ok(!places.claim(holder));
  places.release(first);
  assert.deepEqual([again.given, other.given, late.given], [false, true, false]);
  places.release(again);
  places.release(second);
  assert.deepEqual([again.given, late.given], [false, true]);
  assert.ok(places.claim(late));
});

test('of an address with more places the slowest goes, of others one that is too slow, and no more than wait', () => {
  const places = placesOf(4);
  const crowd = [new Holder('a', 50_000), new Holder('a', null), new Holder('a', 20_000)];
  const slow = new Holder('b', 100);
  for (const holder of [...crowd, slow]) assert.ok(places.claim(holder));
  const waiting = new Holder('c');
  assert.ok(!places.claim(waiting));
  places.checkWaiting(performance.now());
  assert.ok(crowd.every(({ cutWith }) => cutWith === null));
  const later = performance.now() + defaultLimits.placeWaitMs;
  places.checkWaiting(later);
  places.checkWaiting(later);
  assert.deepEqual(
    [...crowd, slow].map(({ cutWith }) => cutWith),
    [null, null, 'too-many-connections-from-address', null],
  );
  const ofCrowd = new Holder('a');
  assert.ok(!places.claim(ofCrowd));
  places.checkWaiting(later + defaultLimits.placeWaitMs);
  assert.equal(slow.cutWith, 'idle-timeout');
  for (const holder of [...crowd, slow]) places.release(holder);
  assert.ok(waiting.given && ofCrowd.given);
});
