import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MailEvent, parseMail } from './index.ts';

const head = 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; name=a.txt\r\n\r\n';

/** A source that says what is asked of it. */
function createSource(chunks: readonly string[]) {
  const log = { reads: 0, closed: false };
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (const chunk of chunks) {
        log.reads++;
        yield Buffer.from(chunk);
      }
    } finally {
      log.closed = true;
    }
  }
  return { log, source: source() };
}

test('the source is read only when the consumer asks for more', async () => {
  const { log, source } = createSource([head, 'x'.repeat(1000), 'y'.repeat(1000), '\r\n--b--']);
  const events = parseMail(source);
  assert.equal(log.reads, 0);
  const seen: MailEvent[] = [];
  while (seen.at(-1)?.type !== 'part-begin') {
    const next = await events.next();
    assert.ok(!next.done);
    seen.push(next.value);
  }
  assert.equal(log.reads, 1);
  await events.next();
  assert.equal(log.reads, 2);
  await events.return();
  assert.equal(log.closed, true, 'leaving early closes the source');
});

test('a limit ends the reading and closes the source', async () => {
  const { log, source } = createSource([head, '\r\n--b\r\nA: b\r\n\r\n', 'never read', 'never read']);
  const types: string[] = [];
  for await (const event of parseMail(source, { limits: { maxParts: 2 } })) types.push(event.type);
  assert.deepEqual(types.slice(-2), ['limit', 'end']);
  assert.equal(log.reads, 2);
  assert.equal(log.closed, true);
});

test('what the source throws comes through', async () => {
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from(head);
    throw new Error('connection reset');
  })();
  await assert.rejects(async () => {
    for await (const event of parseMail(source)) assert.ok(event);
  }, /connection reset/);
});

test('a huge chunk comes out in pieces', async () => {
  const { source } = createSource([`${head}${'x'.repeat(5_000_000)}\r\n--b--`]);
  let largest = 0;
  let size = 0;
  for await (const event of parseMail(source)) {
    if (event.type !== 'part-data') continue;
    largest = Math.max(largest, event.bytes.length);
    size += event.bytes.length;
  }
  assert.equal(size, 5_000_000);
  assert.ok(largest <= 70_000, `${largest} bytes in one event`);
});
