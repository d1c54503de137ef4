import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BoundedLine, createBoundedLines } from './bounded-lines.ts';
import { createLog } from './log.ts';

const KB = 1024;

function opened(level: 'info' | 'debug' = 'info') {
  let now = 0;
  let bytes = 0;
  const written: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    bytes += Buffer.byteLength(line);
    written.push(JSON.parse(line));
  };
  const log = createLog({ format: 'json', level }, { write });
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

test('what a client has sent pays for its lines, however much is written', () => {
  const { lines } = opened();
  for (let n = 0; n < 1000; n++) {
    lines.received({ bytes: 400, payFor: 'session', remoteAddress: '192.0.2.1' });
    assert.equal(lines.write(line({ remoteAddress: '192.0.2.1' })), true, String(n));
  }
});

test('a flood of small mails writes no more than it sent, and 64 KB, whoever reads them', () => {
  const { lines, bytes, wait } = opened();
  let sentBytes = 0;
  for (let second = 0; second < 60; second++) {
    for (let n = 0; n < 300; n++) {
      const traceId = `${second} ${n}`;
      const mail = { bytes: 200, traceId };
      sentBytes += mail.bytes;
      const [remoteAddress, orgId] = [`192.0.2.${n}`, `org ${n % 7}`];
      lines.received({ bytes: 200, payFor: 'acceptance', remoteAddress });
      lines.write(line({ message: 'mail accepted', remoteAddress }));
      for (let attempt = 0; attempt < 3; attempt++) {
        lines.received({ ...mail, payFor: 'reading', orgId });
        lines.write(line({ level: 'warn', message: 'no attachments in this mail', orgId }));
        lines.write(line({ message: 'mail parsed', orgId }));
      }
    }
    wait(1000);
  }
  assert.ok(bytes() > sentBytes / 2 && bytes() <= sentBytes + 60 * KB, `${bytes()} written, ${sentBytes} sent`);
});

test('a mail of ordinary size has its lines, also while others flood', () => {
  const { lines } = opened();
  const flood = () => {
    for (let n = 0; n < 1000; n++) lines.write(line({ remoteAddress: `198.51.100.${n % 250}` }));
  };
  for (let n = 0; n < 100; n++) {
    flood();
    lines.received({ bytes: 2000, payFor: 'acceptance', remoteAddress: '192.0.2.1' });
    assert.equal(lines.write(line({ remoteAddress: '192.0.2.1' })), true);
    flood();
    lines.received({ bytes: 2000, payFor: 'reading', orgId: 'o', traceId: String(n) });
    assert.equal(lines.write(line({ orgId: 'o' })), true);
  }
});

test('a mail for many organisations pays once, and so does one that is read again and again', () => {
  const { lines } = opened();
  const read = (n: number): boolean => {
    lines.received({ bytes: 100_000, payFor: 'reading', orgId: `o${n}`, traceId: 't' });
    return lines.write(line({ orgId: `o${n}` }));
  };
  const written = Array.from({ length: 1000 }, (_, n) => read(n));
  assert.ok(written.filter(Boolean).length < 80, String(written.filter(Boolean).length));
});

test('at debug nothing that a sender causes is left out; faults are bounded all the same', () => {
  const { lines } = opened('debug');
  for (let n = 0; n < 1000; n++) assert.equal(lines.write(line({ remoteAddress: '192.0.2.1' })), true);
  assert.equal(Array.from({ length: 1000 }, () => lines.write(line())).at(-1), false);
});

test('the bytes are counted as they are written: ids of a child, and an error with its stack and cause', () => {
  const { log, lines, bytes } = opened();
  const child = log.child({ trace_id: 't'.repeat(32) });
  const remoteAddress = 'a';
  for (const facts of [
    {},
    { err: new Error('outer', { cause: new Error('inner') }) },
    { name: 'ü"\\\u001b' },
    { type: 'x'.repeat(5000) },
  ]) {
    const write = () => lines.write({ level: 'error', log: child, facts, message: 'm "quoted"', remoteAddress });
    const before = bytes();
    lines.received({ bytes: 1e6, payFor: 'session', remoteAddress });
    write();
    const size = bytes() - before;
    // Exactly enough is enough, with the allowance used up to its last byte.
    for (let n = 0; n < 100; n++) lines.write(line({ remoteAddress }));
    for (let n = 0; n < 100; n++) lines.write(line({ facts: {}, message: '', remoteAddress }));
    lines.received({ bytes: size, payFor: 'session', remoteAddress });
    assert.equal(write(), true, JSON.stringify(facts).slice(0, 100));
    lines.received({ bytes: size - 100, payFor: 'session', remoteAddress });
    assert.equal(write(), false);
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

test('what was left out is told at the end as well, by organisation where there is no address', () => {
  const { lines, written } = opened();
  for (let n = 0; n < 500; n++) lines.write(line({ orgId: 'o' }));
  const told = written.length;
  lines.close();
  lines.close();
  const { left_out, remote_addresses, org_ids } = written.at(-1) ?? {};
  assert.deepEqual([left_out, remote_addresses, org_ids], [{ m: 500 - told }, {}, { o: 500 - told }]);
  assert.equal(written.length, told + 1);
});
