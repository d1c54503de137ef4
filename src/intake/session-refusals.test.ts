import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RepliedEvent } from '../smtp/index.ts';
import { visibleBeginning } from '../telemetry/visible-text.ts';
import { MAX_TOLD_REFUSALS, SessionRefusals } from './session-refusals.ts';

const session = { sessionId: 's', remoteAddress: '192.0.2.1', remotePort: 1, heloName: 'c', tls: null };

function reply(stage: RepliedEvent['stage'], code: number, more: Partial<RepliedEvent> = {}): RepliedEvent {
  const condition = code < 400 ? 'noop-ok' : 'unknown-recipient';
  const facts = { session, enhanced: null, condition, address: null, refusedText: null, durationMs: 0 } as const;
  return { ...facts, stage, code: code as RepliedEvent['code'], wire: `${code} text\r\n`, ...more };
}

/** As `from` and `to` of each refusal that is told. */
function envelopes(events: readonly RepliedEvent[]): (string | undefined)[][] {
  const refusals = new SessionRefusals(visibleBeginning);
  for (const event of events) refusals.replied(event);
  return (refusals.take()?.refusals ?? []).map(({ from, to }) => [from, to]);
}

test('a refusal names reverse-path and recipient of its own transaction, as far as they are known', () => {
  const mail = reply('MAIL', 250, { address: 'a@b' });
  const rcpt = (address: string, code = 250) => reply('RCPT', code, { address });
  assert.deepEqual(envelopes([reply('unknown', 500), mail, rcpt('x@y', 550), reply('unknown', 500)]), [
    [undefined, undefined],
    ['a@b', 'x@y'],
    ['a@b', undefined],
  ]);
  assert.deepEqual(envelopes([mail, rcpt('x@y'), rcpt('z@y'), reply('mail', 552), reply('unknown', 500)]), [
    ['a@b', 'x@y'],
    [undefined, undefined],
  ]);
  for (const end of ['RSET', 'EHLO', 'HELO', 'STARTTLS'] as const)
    assert.deepEqual(
      envelopes([mail, rcpt('x@y'), reply(end, 250), reply('DATA', 503)]),
      [[undefined, undefined]],
      end,
    );
  assert.deepEqual(envelopes([mail, reply('DATA', 554), reply('RCPT', 503)]), [
    ['a@b', undefined],
    [undefined, undefined],
  ]);
  assert.deepEqual(envelopes([reply('MAIL', 550, { address: '' })]), [['<>', undefined]]);
});

test('an idle client that is sent away was refused nothing; one with a mail under way was', () => {
  const idle = reply('connection', 421, { condition: 'idle-timeout' });
  assert.deepEqual(envelopes([idle]), []);
  assert.deepEqual(envelopes([reply('MAIL', 250, { address: 'a@b' }), idle]), [['a@b', undefined]]);
});

test('ten refusals are told and the rest is counted; what was told is not told again', () => {
  const refusals = new SessionRefusals(visibleBeginning);
  for (let n = 0; n < 25; n++) refusals.replied(reply('unknown', 500, { refusedText: `X${n}` }));
  const told = refusals.take();
  assert.equal(told?.refusals.length, MAX_TOLD_REFUSALS);
  assert.deepEqual([told?.refusals[0]?.command, told?.refusals[9]?.command, told?.more_refusals], ['X0', 'X9', 15]);
  assert.equal(refusals.take(), null);
  refusals.replied(reply('unknown', 500, { refusedText: 'Y' }));
  assert.deepEqual(refusals.take(), {
    refusals: [{ command: 'Y', reply: '500 text', condition: 'unknown-recipient' }],
  });
});

test('an entry has 690 bytes at most, whatever stands in its texts', () => {
  for (const character of ['x', '"', '\\', '\u001b', '\u009b', 'ü', '文', '👍', '\ud800', '\u{e0041}']) {
    const text = character.repeat(1000);
    const refusals = new SessionRefusals(visibleBeginning);
    refusals.replied(reply('MAIL', 250, { address: text }));
    refusals.replied(
      reply('RCPT', 550, { address: text, refusedText: text, wire: `550 5.1.1 ${'x'.repeat(300)}\r\n` }),
    );
    const [entry] = refusals.take()?.refusals ?? [];
    const bytes = Buffer.byteLength(JSON.stringify(entry));
    assert.ok(bytes > 250 && bytes <= 690, `${JSON.stringify(character)}: ${bytes}`);
  }
});
