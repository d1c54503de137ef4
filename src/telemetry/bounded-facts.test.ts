import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog, type Log } from './log.ts';

/** What `log` writes, as it is written: one line a call. */
function written(say: (log: Log) => void): { readonly bytes: number; readonly facts: Record<string, unknown> } {
  const lines: string[] = [];
  say(createLog({ format: 'json', level: 'debug' }, { write: (line) => void lines.push(line) }));
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /^\{.*\}\n$/);
  return { bytes: Buffer.byteLength(lines[0] ?? ''), facts: JSON.parse(lines[0] ?? '') };
}

const LONG = 240 * 1024;
const letters = ['x', '\\', '"', '\u001b', '\u0080', 'ü', '文', '👍', '\ud83d'];

for (const letter of letters) {
  const text = letter.repeat(LONG);
  const shorter = letter.repeat(1000);
  const ways: Readonly<Record<string, (log: Log) => void>> = {
    'a field': (log) => log.info({ mime_type: text }, 'm'),
    'a field of a child': (log) => log.child({ trace_id: 't', message_id: text }).info('m'),
    'many fields': (log) => log.info(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [n, shorter])), 'm'),
    'the name of a field': (log) => log.info({ [text]: 1 }, 'm'),
    'a list': (log) => log.info({ notes: Array.from({ length: 500 }, () => ({ code: shorter, part: shorter })) }, 'm'),
    'a depth': (log) => log.info({ a: { b: { c: { d: [{ e: { f: { g: { h: text } } } }] } } } }, 'm'),
    'an error': (log) => log.error({ err: Object.assign(new Error(text), { detail: text }) }, 'm'),
    'a chain of errors': (log) =>
      log.error(
        new AggregateError(
          [1, 2].map(() => new Error(text)),
          text,
        ),
      ),
    'a message': (log) => log.info(text),
  };
  for (const [where, say] of Object.entries(ways)) {
    test(`a line has 4 KB at most: ${JSON.stringify(letter)} without end in ${where}`, () => {
      const { bytes, facts } = written(say);
      assert.ok(bytes <= 4096, `${bytes} bytes`);
      assert.ok(['info', 'error'].includes(String(facts.level)));
      assert.equal(typeof facts.time, 'string');
    });
  }
}

test('a text has 256 characters, the cut is shown, and what joins the lines of a mail stays', () => {
  const { facts } = written((log) =>
    log.child({ trace_id: 't', inbound_message_id: 'i' }).info({ mime_type: 'y'.repeat(300), n: 1, none: null }, 'm'),
  );
  const { level, time, ...rest } = facts;
  assert.deepEqual(rest, {
    trace_id: 't',
    inbound_message_id: 'i',
    mime_type: `${'y'.repeat(255)}…`,
    n: 1,
    none: null,
    msg: 'm',
  });
});

test('the longest address and fifty document ids are written whole', () => {
  const address = `${'l'.repeat(64)}@${'d'.repeat(187)}.example`.slice(0, 254);
  const ids = Array.from({ length: 50 }, () => crypto.randomUUID());
  const { facts } = written((log) => log.info({ from: address, document_ids: ids }, 'mail parsed'));
  assert.deepEqual([facts.from, facts.document_ids], [address, ids]);
});

test('an error keeps message, code, stack and causes', () => {
  const cause = new Error('inner');
  const { facts } = written((log) => log.error({ err: Object.assign(new Error('outer', { cause }), { code: 'X' }) }));
  const { type, message, stack, code } = facts.err as Record<string, string>;
  assert.deepEqual([type, message, code], ['Error', 'outer: inner', 'X']);
  assert.match(stack ?? '', /outer[\s\S]*bounded-facts\.test[\s\S]*inner/);
});

test('dates, numbers and values that JSON leaves out are written as ever', () => {
  const { facts } = written((log) => log.info({ at: new Date(0), no: undefined, big: 1e21, list: [1, null] }, 'm'));
  const { level, time, ...rest } = facts;
  assert.deepEqual(rest, { at: '1970-01-01T00:00:00.000Z', big: 1e21, list: [1, null], msg: 'm' });
});
