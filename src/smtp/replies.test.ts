import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRefusal, enhancedCode, type ReplyName, replies, replyLine, safeReplyText } from './replies.ts';

const names = Object.keys(replies) as ReplyName[];

test('the class of the enhanced code is that of the reply code, and 220, HELO, EHLO and 354 have none', () => {
  for (const name of names) {
    const enhanced = enhancedCode(replies[name]);
    if (enhanced === null) assert.ok(['greeting', 'helo-ok', 'ehlo-ok', 'start-mail'].includes(name), name);
    else assert.match(enhanced, new RegExp(`^${String(replies[name].code)[0]}\\.\\d\\.\\d$`), name);
  }
});

test('a refusal is checked when it is made', () => {
  const good = { condition: 'out-of-office', code: 450, subject: 2, detail: 0, text: 'Not now ({sessionId})' };
  assert.equal(replyLine(createRefusal(good)), '450 4.2.0 Not now ({sessionId})');
  const wrong = [
    { condition: 'accepted' },
    { condition: 'Out of office' },
    { code: 250 },
    { code: 600 },
    { code: 450.5 },
    { subject: -1 },
    { detail: 1_000 },
    { text: '' },
    { text: 'Not now\r\n250 but later' },
    { text: 'nö' },
    { text: 'x'.repeat(600) },
  ];
  for (const change of wrong) assert.throws(() => createRefusal({ ...good, ...change }), RangeError);
});

test('an acknowledgement cannot forge a second reply and fits a reply line', () => {
  assert.equal(safeReplyText('ok\r\n250 forged\0é'), 'ok??250 forged??');
  assert.ok(replyLine(replies.accepted, safeReplyText('x'.repeat(5_000))).length + 2 <= 512);
});
