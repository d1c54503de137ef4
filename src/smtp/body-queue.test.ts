import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BodyQueue, MailIncomplete } from './body-queue.ts';

function openQueue(maxBytes = 1_000) {
  const seen = { emptied: 0 };
  const queue = new BodyQueue({
    maxBytes,
    onEmpty: () => {
      seen.emptied++;
    },
  });
  return { queue, seen };
}

const chunk = (text: string): Buffer => {
  const bytes = Buffer.allocUnsafeSlow(text.length);
  bytes.write(text, 'latin1');
  return bytes;
};

async function readAll(queue: BodyQueue, bytes: number): Promise<readonly string[]> {
  const into = Buffer.alloc(bytes);
  const pieces: string[] = [];
  for (let count = await queue.read(into); count > 0; count = await queue.read(into))
    pieces.push(into.toString('latin1', 0, count));
  return pieces;
}

test('a read takes what there is, as much as fits, over the borders of chunks', async () => {
  const { queue, seen } = openQueue();
  for (const text of ['abc', 'defg', 'h']) queue.push(chunk(text));
  queue.end();
  assert.deepEqual(await readAll(queue, 5), ['abcde', 'fgh']);
  assert.equal(queue.delivered, true);
  assert.equal(seen.emptied, 1);
  assert.equal(queue.bytes, 0);
});

test('a reader who waits is woken by the first bytes, and then when the queue is full or the mail has ended', async () => {
  const { queue } = openQueue(8);
  const into = Buffer.alloc(100);
  const first = queue.read(into);
  queue.push(chunk('ab'));
  assert.equal(await first, 2);
  let woken = 0;
  const second = queue.read(into).then((count) => {
    woken = count;
  });
  queue.push(chunk('cdef'));
  await new Promise(setImmediate);
  assert.equal(woken, 0);
  queue.push(chunk('ghij'));
  await second;
  assert.equal(into.toString('latin1', 0, woken), 'cdefghij');
  const last = queue.read(into);
  queue.end();
  assert.equal(await last, 0);
  assert.equal(queue.delivered, true);
});

test('a chunk of an iteration stays as it is, also when the next was asked for', async () => {
  const { queue } = openQueue();
  const chunks: Uint8Array[] = [];
  queue.push(chunk('one'));
  for await (const each of queue) {
    chunks.push(each);
    if (chunks.length === 1) queue.push(chunk('two'));
    else queue.end();
  }
  assert.deepEqual(
    chunks.map((each) => Buffer.from(each).toString()),
    ['one', 'two'],
  );
});

test('a read that was given up writes nothing any more', async () => {
  const { queue } = openQueue();
  const into = Buffer.alloc(10, '.');
  void queue.read(into);
  queue.cancel();
  queue.push(chunk('late'));
  queue.end();
  await new Promise(setImmediate);
  assert.equal(into.toString(), '..........');
  assert.equal(queue.delivered, false);
});

test('a mail that does not arrive whole rejects the read that waits, and every later one', async () => {
  const { queue } = openQueue();
  const waiting = queue.read(Buffer.alloc(10));
  queue.fail('connection-lost');
  await assert.rejects(waiting, MailIncomplete);
  await assert.rejects(queue.read(Buffer.alloc(10)), MailIncomplete);
  await assert.rejects(Array.fromAsync(queue), MailIncomplete);
});

test('two reads at a time, and a read of no bytes, are mistakes', async () => {
  const { queue } = openQueue();
  void queue.read(Buffer.alloc(10));
  await assert.rejects(queue.read(Buffer.alloc(10)), TypeError);
  await assert.rejects(openQueue().queue.read(Buffer.alloc(0)), TypeError);
});
