/** What an observer is told of the text of a refused command. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DialogueOptions, openDialogue } from './testing/engine-dialogue.ts';
import { refusals } from './testing/refusals.ts';
import { splitAt, splitRandomly } from './testing/segments.ts';

function refusalsOf(segments: readonly (string | Buffer)[], options: DialogueOptions): readonly string[] {
  const dialogue = openDialogue(options);
  for (const segment of segments) dialogue.send(segment);
  dialogue.settle();
  return dialogue.refusals;
}

function assertRefusals(text: string, expected: readonly string[], options: DialogueOptions = {}): void {
  const bytes = Buffer.from(text);
  for (const answersAtOnce of [true, false]) {
    const how = { ...options, answersAtOnce };
    assert.deepEqual(refusalsOf([bytes], how), expected, 'whole');
    assert.deepEqual(refusalsOf(splitAt(bytes, [...bytes.keys()]), how), expected, 'byte by byte');
    for (let seed = 0; seed < 10; seed++) assert.deepEqual(refusalsOf(splitRandomly(bytes, seed), how), expected);
  }
}

test('syntax, sequence and what the receiver refuses: the line as it was sent', () => {
  assertRefusals(
    'HALLO\r\nMAIL FROM:<a@b>\r\nEHLO c\r\nMAIL FROM:<a@b> X=büro\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\nRCPT TO: no brackets\r\n',
    [
      '500 HALLO',
      '503 MAIL FROM:<a@b>',
      '501 MAIL FROM:<a@b> X=büro',
      '550 RCPT TO:<no@d>',
      '501 RCPT TO: no brackets',
    ],
    { answer: (step) => (step === 'recipient' ? { refusal: refusals['unknown-recipient'] } : 'done') },
  );
});

test('of an overlong line the first 200 octets, wherever it was cut, and of a bare line feed the line', () => {
  const long = `RCPT TO:<${'x'.repeat(2000)}@example.com>`;
  assertRefusals(`EHLO c\r\n${long}\r\nNOOP\nQUIT\r\n`, [`500 ${long.slice(0, 200)}`, '500 NOOP']);
});

test('bytes that are no UTF-8 come one character for each', () => {
  const [refusal] = refusalsOf([Buffer.from('WHAT \xfc\r\n', 'latin1')], {});
  assert.equal(refusal, '500 WHAT \xfc');
});

test('credentials are never told, neither those of AUTH nor the lines that follow it', () => {
  const withheld = '(withheld: it may be a password)';
  assertRefusals('EHLO c\r\nAUTH PLAIN AGEAYg==\r\nAUTH hunter2\r\n auth\tLOGIN\r\nYQ==\r\nYg==\r\nNOOP\r\nWHAT\r\n', [
    `500 AUTH PLAIN ${withheld}`,
    `500 AUTH ${withheld}`,
    '500  auth\tLOGIN',
    `500 ${withheld}`,
    `500 ${withheld}`,
    '500 WHAT',
  ]);
});

test('no line of a mail is told: neither behind a refused DATA nor when the mail itself is refused', () => {
  assert.deepEqual(refusalsOf(['EHLO c\r\n', 'DATA\r\n', 'Subject: secret\r\n'], {}), ['503 DATA', '421 null']);
  const refused = { answer: () => ({ refusal: refusals.unavailable }) };
  assert.deepEqual(refusalsOf(['EHLO c\r\nMAIL FROM:<a@b>\r\n'], refused), ['451 MAIL FROM:<a@b>']);
  assertRefusals('EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nsecret\r\n.\r\n', ['451 null'], {
    answer: (step) => (step === 'mail' ? { refusal: refusals.unavailable } : 'done'),
  });
});
