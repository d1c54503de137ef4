import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type ApplicationRefusal, enhancedCode, type ReplyName, replies, replyLine, safeReplyText } from './replies.ts';

const names = Object.keys(replies) as ReplyName[];

function documented(): Map<string, string> {
  const page = readFileSync(new URL('../../docs/replies.md', import.meta.url), 'utf8');
  const rows = page.matchAll(/^\| `([a-z-]+)`[^|]*\|[^|]*\| `([^`]+)`/gm);
  return new Map([...rows].map(([, name = '', line = '']) => [name, line]));
}

test('docs/replies.md and the code list the same replies, word for word', () => {
  const inCode = new Map<string, string>(names.map((name) => [name, replyLine(replies[name])]));
  assert.deepEqual(Object.fromEntries(documented()), Object.fromEntries(inCode));
});

test('the class of the enhanced code is that of the reply code, and 220, HELO, EHLO and 354 have none', () => {
  for (const name of names) {
    const enhanced = enhancedCode(replies[name]);
    if (enhanced === null) assert.ok(['greeting', 'helo-ok', 'ehlo-ok', 'start-mail'].includes(name), name);
    else assert.match(enhanced, new RegExp(`^${String(replies[name].code)[0]}\\.\\d\\.\\d$`), name);
  }
});

test('every name an application may refuse with is a refusal', () => {
  const refusals: Record<ApplicationRefusal, string> = {
    'unknown-recipient': '550 5.1.1',
    'relaying-denied': '550 5.7.1',
    'mailbox-disabled': '550 5.2.1',
    'sender-blocked': '550 5.7.1',
    unavailable: '451 4.3.0',
    'storage-full': '452 4.3.1',
    'routing-loop': '554 5.4.6',
    unstorable: '554 5.6.0',
  };
  for (const [name, start] of Object.entries(refusals))
    assert.ok(replyLine(replies[name as ReplyName]).startsWith(start), name);
});

test('an acknowledgement cannot forge a second reply and fits a reply line', () => {
  assert.equal(safeReplyText('ok\r\n250 forged\0é'), 'ok??250 forged??');
  assert.ok(replyLine(replies.accepted, safeReplyText('x'.repeat(5_000))).length + 2 <= 512);
});
