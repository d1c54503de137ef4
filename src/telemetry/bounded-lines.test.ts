import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BoundedLine, createBoundedLines } from './bounded-lines.ts';
import { createLog } from './log.ts';

const KB = 1024;

function opened() {
  let now = 0;
  let bytes = 0;
  const written: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    bytes += Buffer.byteLength(line);
    written.push(JSON.parse(line));
  };
  const log = createLog({ format: 'json', level: 'info' }, { write });
  const lines = createBoundedLines({ log, clock: () => now });
  const wait = (ms: number): void => {
    now += ms;
  };
  return { log, lines, written, bytes: () => bytes, wait };
}

const line = (more: Partial<BoundedLine> = {}): BoundedLine => ({
  level: 'info',
  facts: { text: 'x'.repeat(200) },
  message: 'm',
  ...more,
});

test('over any minute no more than 64 KB are written, for clients and faults together', () => {
  const { lines, bytes, wait } = opened();
  wait(1_000_000);
  for (let second = 0; second < 60; second++) {
    for (let n = 0; n < 200; n++) lines.write(line({ remoteAddress: `192.0.2.${n}` }));
    for (let n = 0; n < 200; n++)
      lines.write(line({ level: 'error', facts: { err: new Error('broken') }, kind: 'begin' }));
    wait(1000);
  }
  // 4 KB are for the count of what was left out.
  assert.ok(bytes() > 40 * KB && bytes() <= 60 * KB, String(bytes()));
});

test('one address has its share, and others are told of all the same', () => {
  const { lines } = opened();
  const written = Array.from({ length: 1000 }, () => lines.write(line({ remoteAddress: '192.0.2.1' })));
  assert.ok(written.filter(Boolean).length < 60);
  assert.equal(written.at(-1), false);
  assert.equal(lines.write(line({ remoteAddress: '192.0.2.2' })), true);
});

test('what a client has sent pays for its line, however much is written', () => {
  const { lines } = opened();
  for (let n = 0; n < 1000; n++)
    assert.equal(lines.write(line({ remoteAddress: '192.0.2.1', paidBytes: 400 })), true, String(n));
});

test('the bytes are counted as they are written: ids of a child, and an error with its stack and cause', () => {
  const { log, lines, bytes } = opened();
  const child = log.child({ trace_id: 't'.repeat(32) });
  for (const facts of [{}, { err: new Error('outer', { cause: new Error('inner') }) }, { name: 'ü"\\\u001b' }]) {
    const before = bytes();
    lines.write({ level: 'error', log: child, facts, message: 'm "quoted"', remoteAddress: 'a', paidBytes: 1e6 });
    const size = bytes() - before;
    // Exactly enough is enough, and what is missing comes out of the allowance: so a second time, with it used up.
    for (let n = 0; n < 100; n++) lines.write(line({ remoteAddress: 'a' }));
    for (let n = 0; n < 10; n++) lines.write(line({ facts: {}, remoteAddress: 'a' }));
    const again = (paidBytes: number) =>
      lines.write({ level: 'error', log: child, facts, message: 'm "quoted"', remoteAddress: 'a', paidBytes });
    assert.equal(again(size), true, JSON.stringify(facts));
    assert.equal(again(size - 200), false);
  }
});

test('what is left out is counted by kind and address, in one line a minute', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { lines, written } = opened();
  for (let n = 0; n < 500; n++) lines.write(line({ kind: 'k', remoteAddress: '192.0.2.1' }));
  const told = written.length;
  t.mock.timers.tick(60_000);
  const { left_out, remote_addresses, level, msg } = written.at(-1) ?? {};
  assert.deepEqual([level, msg], ['warn', 'log lines left out: too many in a minute']);
  assert.deepEqual(
    [left_out, remote_addresses, written.length],
    [{ 'm: k': 500 - told }, { '192.0.2.1': 500 - told }, told + 1],
  );
  t.mock.timers.tick(60_000);
  assert.equal(written.length, told + 1);
});
