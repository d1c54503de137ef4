import assert from 'node:assert/strict';
import { test } from 'node:test';
import { escapeInsideJson, terminalSafeJson, visible, visibleBeginning, visibleLines } from './visible-text.ts';

const hostile = 'a\u001b]0;pwned\u0007b\u009b31mc\rd\ne\u202efdp.exe\u200b\u{e0041}\u007f\ud800z ÜÖ 注文 👍';
const dangerous =
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]|[\u{e0000}-\u{e007f}]/u;

test('text of a stranger is one line without control, reordering or invisible characters', () => {
  const shown = visible(hostile);
  assert.doesNotMatch(shown, dangerous);
  assert.doesNotMatch(shown, /\n/);
  assert.match(shown, /^a\\u\{1b\}\]0;pwned\\u\{7\}b\\u\{9b\}31mc/);
  assert.ok(shown.endsWith('ÜÖ 注文 👍'), 'ordinary text of any script stays');
});

test('a beginning has as many characters as asked for, and says where it was cut', () => {
  assert.equal(visibleBeginning('RCPT TO:<a@b>\u001b[2J\r', 200), 'RCPT TO:<a@b>\\u{1b}[2J\\u{d}');
  assert.equal(visibleBeginning('x'.repeat(200), 200), 'x'.repeat(200));
  assert.equal(visibleBeginning('x'.repeat(201), 200), `${'x'.repeat(199)}…`);
  assert.equal(visibleBeginning('\0'.repeat(200), 200).length, 200);
});

test('a whole mail on a terminal keeps its lines and tabs and nothing else', () => {
  assert.equal(visibleLines('a\r\n\tb\u001b[2Jc'), 'a\r\n\tb\\u{1b}[2Jc');
});

test('JSON is harmless on a terminal and still says the same', () => {
  const text = terminalSafeJson({ subject: hostile });
  assert.doesNotMatch(text, dangerous);
  assert.equal(JSON.parse(text).subject, hostile);
});

test('a JSON line prepared for raw printing parses to escapes, whatever backslashes stand before', () => {
  for (const text of [hostile, '\\\u001b[2J', '\\\\\u001b', '\\u001b', 'a\bb\fc']) {
    const parsed: string = JSON.parse(escapeInsideJson(JSON.stringify({ text }))).text;
    assert.doesNotMatch(parsed, dangerous, JSON.stringify(text));
  }
  const plain = JSON.stringify({ stack: 'Error: x\n\tat y "C:\\temp"' });
  assert.equal(escapeInsideJson(plain), plain);
});
