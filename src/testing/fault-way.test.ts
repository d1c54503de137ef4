import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanUp } from './clean-up.ts';
import { type FaultWay, openFaultWay } from './fault-way.ts';

/** A server that sends back what it gets, and a way to it. */
async function openEcho(t: TestContext): Promise<FaultWay & { open(): Promise<Socket> }> {
  const server = createServer((socket) => void socket.on('error', () => {}).pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp(t, () => void server.close());
  const way = await openFaultWay(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return {
    ...way,
    async open() {
      const socket = connect(Number(new URL(way.url).port), '127.0.0.1').on('error', () => {});
      cleanUp(t, () => void socket.destroy());
      // A connection that is reset at once may never have been one.
      await Promise.race([once(socket, 'connect'), new Promise((resolve) => socket.once('close', resolve))]).catch(
        () => {},
      );
      return socket;
    },
  };
}

/** Shape: what comes back within the time; null when the connection ended instead. */
async function echoed(socket: Socket, text: string, withinMs: number): Promise<string | null> {
  let heard = '';
  const hear = (bytes: Buffer): void => {
    heard += bytes.toString('latin1');
  };
  socket.on('data', hear);
  const closed = new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
  socket.write(text);
  const ended = await Promise.race([closed.then(() => true), sleep(withinMs).then(() => false)]);
  socket.off('data', hear);
  return ended && heard === '' ? null : heard;
}

test('bytes pass unchanged while there is no trouble, also after it', async (t) => {
  const way = await openEcho(t);
  const socket = await way.open();
  const large = 'x'.repeat(1_000_000);
  assert.equal(await echoed(socket, large, 500), large);
  way.begin({ kind: 'latency', delayMs: 50 });
  way.end();
  assert.equal(await echoed(socket, 'again', 100), 'again');
});

test('latency: late, and whole', async (t) => {
  const way = await openEcho(t);
  const socket = await way.open();
  way.begin({ kind: 'latency', delayMs: 150 });
  assert.equal(await echoed(socket, 'late', 200), '');
  assert.equal(await echoed(socket, '', 300), 'late');
});

test('reset: those there are and new ones', async (t) => {
  const way = await openEcho(t);
  const old = await way.open();
  assert.equal(await echoed(old, 'a', 100), 'a');
  way.begin({ kind: 'reset' });
  assert.equal(await echoed(old, 'b', 1_000), null);
  const refused = await way.open();
  assert.equal(await echoed(refused, 'c', 1_000), null);
  way.end();
  assert.equal(await echoed(await way.open(), 'd', 100), 'd');
});

test('silence: nothing comes, nobody is told; forgotten connections stay forgotten, new ones pass', async (t) => {
  const way = await openEcho(t);
  const old = await way.open();
  assert.equal(await echoed(old, 'a', 100), 'a');
  way.begin({ kind: 'silence' });
  assert.equal(await echoed(old, 'b', 200), '');
  way.end();
  assert.equal(await echoed(old, 'c', 200), '');
  assert.equal(await echoed(await way.open(), 'd', 100), 'd');
});

test('cut: a connection ends in the middle of what is sent', async (t) => {
  const way = await openEcho(t);
  const socket = await way.open();
  way.begin({ kind: 'cut', afterBytes: 150_000 });
  const heard = (await echoed(socket, 'x'.repeat(100_000), 1_000)) ?? '';
  assert.ok(socket.closed && heard.length < 100_000, `${heard.length} bytes came back`);
});

test('bandwidth: slow', async (t) => {
  const way = await openEcho(t);
  const socket = await way.open();
  way.begin({ kind: 'bandwidth', bytesPerSecond: 1_000 });
  assert.equal(await echoed(socket, 'x'.repeat(100), 150), '');
  assert.equal((await echoed(socket, '', 200))?.length, 100);
});
