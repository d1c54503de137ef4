import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SmtpLimits } from './limits.ts';
import { assertInEverySegmentation, converse, type DialogueOptions, openDialogue } from './testing/engine-dialogue.ts';
import { refusals } from './testing/refusals.ts';
import { splitAt, splitRandomly } from './testing/segments.ts';

interface Script {
  readonly name: string;
  /** Lines; CRLF is added to each. */
  readonly client: readonly string[];
  /** After the greeting; only the beginning of each entry counts. */
  readonly expected: readonly string[];
  readonly options?: DialogueOptions;
}

const ehlo = [
  '250-mx.example greets c.example',
  '250-PIPELINING',
  '250-SIZE 26214400',
  '250-8BITMIME',
  '250-SMTPUTF8',
  '250-CHUNKING',
  '250 ENHANCEDSTATUSCODES',
];
const opening = ['EHLO c.example', 'MAIL FROM:<a@b.example>', 'RCPT TO:<c@d.example>'];
const opened = [...ehlo, 'begin a@b.example', '250 2.1.0', 'recipient c@d.example', '250 2.1.5'];
const refuseRecipients: DialogueOptions = {
  answer: (step) =>
    step === 'recipient' ? { refusal: refusals['unknown-recipient'] } : step === 'mail' ? { committed: 'm1' } : 'done',
};
const limited = (limits: Partial<SmtpLimits>): DialogueOptions => ({ limits });

const scripts: Script[] = [
  {
    name: 'a mail, a second one, and goodbye',
    client: [
      ...opening,
      'DATA',
      'Subject: x',
      '',
      '..dot',
      '.',
      'MAIL FROM:<>',
      'RCPT TO:<Postmaster>',
      'DATA',
      '.',
      'QUIT',
    ],
    expected: [
      ...opened,
      '354 ',
      'body begins',
      'body ends "Subject: x\\r\\n\\r\\n.dot\\r\\n"',
      '250 2.0.0 m1',
      'begin <>',
      '250 2.1.0',
      'recipient Postmaster',
      '250 2.1.5',
      '354',
      'body begins',
      'body ends ""',
      '250 2.0.0 m1',
      '221 2.0.0',
      'close',
    ],
  },
  {
    name: 'HELO, and commands that are always welcome',
    client: ['NOOP', 'noop with words', 'HELP', 'VRFY someone', 'RSET', 'helo c.example ', 'QuIt'],
    expected: ['250 2.0.0', '250 2.0.0', '214 2.0.0', '252 2.5.0', '250 2.0.0', '250 mx.example', '221 2.0.0', 'close'],
  },
  {
    name: 'every wrong order',
    client: ['MAIL FROM:<a@b>', 'RCPT TO:<a@b>', ...opening, 'MAIL FROM:<a@b>', 'RSET', 'RCPT TO:<a@b>'],
    expected: ['503 5.5.1', '503 5.5.1', ...opened, '503 5.5.1', 'abandon reset', '250 2.0.0', '503 5.5.1'],
  },
  {
    name: 'DATA before MAIL is out of sequence',
    client: ['EHLO c.example', 'DATA'],
    expected: [...ehlo, '503 5.5.1'],
  },
  {
    name: 'EHLO and QUIT end a transaction',
    client: [...opening, 'EHLO c.example', 'MAIL FROM:<a@b.example>', 'QUIT'],
    expected: [...opened, 'abandon reset', ...ehlo, 'begin a@b.example', '250', '221', 'abandon reset', 'close'],
  },
  {
    name: 'syntax errors keep the session in step',
    client: [
      'EHLO',
      'EHLO  ',
      'EHLO a\x01b',
      'HELO a\x7f',
      'RSET x',
      'QUIT x',
      'VRFY',
      'NOOP \x01',
      'FOO',
      '',
      ' NOOP',
      'QUIT',
    ],
    expected: [...Array(8).fill('501 5.5.4'), ...Array(3).fill('500 5.5.2'), '221', 'close'],
  },
  {
    name: 'extensions that are not offered are unknown',
    client: ['EHLO c.example', 'STARTTLS', 'AUTH PLAIN', 'EXPN x', 'ETRN x', 'XCLIENT ADDR=1.2.3.4', 'QUIT'],
    expected: [...ehlo, ...Array(5).fill('500 5.5.2'), '221', 'close'],
  },
  {
    name: 'MAIL parameters are taken strictly',
    client: [
      'EHLO c.example',
      'MAIL FROM:<a@b> SIZE=-1',
      'MAIL FROM:<a@b> SIZE=big',
      'MAIL FROM:<a@b> SIZE=',
      'MAIL FROM:<a@b> SIZE',
      'MAIL FROM:<a@b> SIZE=123456789012345678901',
      'MAIL FROM:<a@b> SIZE=99999999999999999999',
      'MAIL FROM:<a@b> SIZE=26214401',
      'MAIL FROM:<a@b> SIZE=1 SIZE=1',
      'MAIL FROM:<a@b> BODY=BINARYMIME',
      'MAIL FROM:<a@b> BODY',
      'MAIL FROM:<a@b> SMTPUTF8=yes',
      'MAIL FROM:<a@b> NOTIFY=NEVER',
      'MAIL FROM:<a@b> RET=HDRS RET=FULL',
      'MAIL FROM:<a@b> =x',
      'MAIL FROM:<a@b>SIZE=1',
      'MAIL FROM:<\xc3\xa4@b>',
      'MAIL FROM:<\xe4@b> SMTPUTF8',
      'MAIL FROM:<\xc3\xa4@b> SIZE=26214400 body=8bitmime SMTPUTF8',
      'RCPT TO:<\xc3\xa4@b>',
      'RCPT TO:<a@b> RET=HDRS',
      'QUIT',
    ],
    expected: [
      ...ehlo,
      ...Array(5).fill('501 5.5.4'),
      ...Array(2).fill('552 5.3.4'),
      '501 5.5.4',
      '555 5.5.4',
      '501 5.5.4',
      '501 5.5.4',
      '555 5.5.4',
      '501 5.5.4',
      '501 5.5.4',
      '501 5.5.4',
      '553 5.6.7',
      '501 5.1.7',
      'begin ä@b',
      '250 2.1.0',
      'recipient ä@b',
      '250 2.1.5',
      '555 5.5.4',
      '221',
      'abandon reset',
      'close',
    ],
    options: limited({ maxErrors: 50 }),
  },
  {
    name: 'HELO knows no SMTPUTF8, and a recipient needs it as well',
    client: ['HELO c', 'MAIL FROM:<a@b> SMTPUTF8', 'MAIL FROM:<a@b>', 'RCPT TO:<\xc3\xa4@b>'],
    expected: ['250', '555 5.5.4', 'begin a@b', '250', '553 5.6.7'],
  },
  {
    name: 'malformed addresses, NUL and control characters in them included',
    client: [
      'EHLO c.example',
      'MAIL FROM:a@b>',
      'MAIL FROM:<a@b',
      'MAIL FROM:<a\0@b>',
      'MAIL FROM:<Postmaster>',
      'MAIL FROM <a@b>',
      'MAIL <a@b>',
      'MAIL FROM: <a@b>',
      'RCPT TO:<>',
      'RCPT TO:<a>',
      'RCPT TO:<a\x01b@c>',
      'RCPT TO:<a@b\x7f>',
      'RCPT TO:<a@b>\0',
      'RCPT TO:<"a\0"@b>',
      'RCPT TO:<"a@b',
    ],
    expected: [
      ...ehlo,
      ...Array(4).fill('501 5.1.7'),
      ...Array(2).fill('501 5.5.4'),
      'begin a@b',
      '250 2.1.0',
      ...Array(4).fill('501 5.1.3'),
      '501 5.5.4',
      ...Array(2).fill('501 5.1.3'),
    ],
  },
  {
    name: 'a bare LF ends a command line that is never run',
    client: ['NOOP\nRSET\n\nHELP', 'NOOP'],
    expected: ['500 5.5.2 Lines', '500 5.5.2 Lines', '500 5.5.2 Lines', '214', '250'],
  },
  {
    name: 'a bare CR does not end a line',
    client: ['NOOP\rQUIT', 'RSET\r', 'NOOP'],
    expected: ['500 5.5.2', '500 5.5.2', '250'],
  },
  {
    name: 'lines of 512 octets pass, longer ones do not, MAIL may be longer',
    client: [
      `NOOP ${'x'.repeat(505)}`,
      'EHLO c.example',
      `MAIL FROM:<a@b>${' '.repeat(1_008)}`,
      `NOOP ${'x'.repeat(506)}`,
    ],
    expected: ['250 2.0.0', ...ehlo, 'begin a@b', '250 2.1.0', '500 5.5.2 Line too long'],
  },
  {
    name: 'a line of 17 KB is refused at its end, the session in step; the second one closes',
    client: [`RCPT TO:<${'x'.repeat(17_000)}@b>`, 'NOOP', 'x'.repeat(2_048), 'NOOP'],
    expected: ['500 5.5.2 Line too long', '250', '500 5.5.2 Line too long', 'close'],
  },
  {
    name: 'a line without end is not read for ever',
    client: ['x'.repeat(70_000)],
    expected: ['500 5.5.2 Line too long', 'close'],
  },
  {
    name: 'more recipients than fit are put off, the others keep theirs',
    client: [...opening, 'RCPT TO:<d@e>', 'RCPT TO:<f@g>', 'DATA', '.'],
    expected: [...opened, '452 4.5.3', '452 4.5.3', '354', 'body begins', 'body ends', '250'],
    options: limited({ maxRecipients: 1 }),
  },
  {
    name: 'excess recipients without end close the session',
    client: [...opening, 'RCPT TO:<d@e>', 'RCPT TO:<f@g>', 'RCPT TO:<h@i>'],
    expected: [...opened, '452 4.5.3', '452 4.5.3', '421 4.7.0', 'abandon protocol-error', 'close'],
    options: limited({ maxRecipients: 1, maxExcessRecipients: 2 }),
  },
  {
    name: 'too many errors',
    client: ['FOO', 'FOO', 'FOO', 'NOOP'],
    expected: ['500', '500', '421 4.7.0', 'close'],
    options: limited({ maxErrors: 3 }),
  },
  {
    name: 'too many junk commands',
    client: ['EHLO c.example', 'NOOP', 'RSET', 'VRFY x', 'NOOP'],
    expected: [...ehlo, '250', '250', '252', '421 4.7.0', 'close'],
    options: limited({ maxJunkCommands: 3 }),
  },
  {
    name: 'an accepted mail pays for errors before it',
    client: ['FOO', 'FOO', ...opening, 'DATA', '.', 'FOO', 'FOO', 'FOO'],
    expected: ['500', '500', ...opened, '354', 'body', 'body', '250', '500', '500', '421 4.7.0', 'close'],
    options: limited({ maxErrors: 3 }),
  },
  {
    name: 'too many refused recipients',
    client: ['EHLO c.example', 'MAIL FROM:<a@b>', 'RCPT TO:<1@x>', 'RCPT TO:<2@x>', 'RCPT TO:<3@x>', 'RCPT TO:<4@x>'],
    expected: [
      ...ehlo,
      'begin',
      '250',
      'recipient',
      '550 5.1.1',
      'recipient',
      '550 5.1.1',
      'recipient',
      '421 4.7.0',
      'abandon',
      'close',
    ],
    options: { ...refuseRecipients, limits: { maxRefusals: 3 } },
  },
  {
    name: 'a refused sender opens no transaction',
    client: ['EHLO c.example', 'MAIL FROM:<a@b>', 'RCPT TO:<c@d>', 'MAIL FROM:<e@f>'],
    expected: [...ehlo, 'begin a@b', '550 5.7.1', '503 5.5.1', 'begin e@f', '550 5.7.1'],
    options: { answer: () => ({ refusal: refusals['sender-blocked'] }) },
  },
  {
    name: 'faults are 451 and name only the session',
    client: ['EHLO c.example', 'MAIL FROM:<a@b>', 'MAIL FROM:<a@b>'],
    expected: [...ehlo, 'begin a@b', '451 4.3.0 Temporary failure, try again later (s1)', 'begin a@b', '451 4.3.0'],
    options: { answer: () => 'fault' },
  },
  {
    name: 'a recipient that could not be asked about does not spoil the others',
    client: ['EHLO c.example', 'MAIL FROM:<a@b>', 'RCPT TO:<bad@d>', 'RCPT TO:<c@d>', 'DATA', '.'],
    expected: [...ehlo, 'begin', '250', 'recipient', '451 4.3.0', 'recipient', '250', '354', 'body', 'body', '250'],
    options: {
      answer: (step, address) => (address === 'bad@d' ? 'fault' : step === 'mail' ? { committed: 'm1' } : 'done'),
    },
  },
  {
    name: 'a step that never came back makes all that depends on it temporary, until RSET',
    client: ['EHLO c.example', 'MAIL FROM:<a@b>', 'RCPT TO:<bad@d>', 'RCPT TO:<c@d>', 'RSET', 'MAIL FROM:<a@b>'],
    expected: [...ehlo, 'begin', '250', 'recipient bad@d', '451', '451', '250 2.0.0', 'begin', '250'],
    options: { answer: (_, address) => (address === 'bad@d' ? 'dead' : 'done') },
  },
  {
    name: 'a mail that is too large is read to its end and refused',
    client: [...opening, 'DATA', 'x'.repeat(12), '.', 'NOOP'],
    expected: [...opened.with(2, '250-SIZE 10'), '354', 'body begins', 'abandon too-large', '552 5.3.4', '250'],
    options: limited({ maxMessageBytes: 10 }),
  },
  {
    name: 'a mail of exactly the limit is taken',
    client: [...opening, 'DATA', '..234567', '.'],
    expected: [...opened.with(2, '250-SIZE 9'), '354', 'body begins', 'body ends ".234567\\r\\n"', '250'],
    options: limited({ maxMessageBytes: 9 }),
  },
  {
    name: 'a mail of more than twice the limit is cut',
    client: [...opening, 'DATA', 'x'.repeat(30), '.', 'NOOP'],
    expected: [...opened.with(2, '250-SIZE 10'), '354', 'body begins', 'abandon too-large', '552 5.3.4', 'cut'],
    options: limited({ maxMessageBytes: 10 }),
  },
  {
    name: 'refusals at the end of DATA',
    client: [...opening, 'DATA', '.', 'RSET'],
    expected: [...opened, '354', 'body', 'body', '452 4.3.1', '250 2.0.0'],
    options: { answer: (step) => (step === 'mail' ? { refusal: refusals['storage-full'] } : 'done') },
  },
  {
    name: 'HTTP is refused and closed, whatever follows',
    client: ['GET / HTTP/1.1', 'Host: x', '', 'MAIL FROM:<a@b>'],
    expected: ['554 5.5.1', 'close'],
  },
];

const wire = (lines: readonly string[]) => Buffer.from(lines.map((line) => `${line}\r\n`).join(''), 'latin1');

for (const { name, client, expected, options } of scripts) {
  test(`${name}: whole, byte by byte and at random cuts`, () => {
    assertInEverySegmentation(wire(client), expected, options);
  });
}

test('the terminator split over segments, with the next command behind it', () => {
  const bytes = wire([...opening, 'DATA', 'x', '.', 'NOOP']);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const log = converse(splitAt(bytes, [cut]));
    assert.deepEqual(log.slice(-3), ['body ends "x\\r\\n"', '250 2.0.0 m1', '250 2.0.0 OK']);
  }
});

const smuggled = ['Subject: x', '', 'RSET', 'MAIL FROM:<evil@x>', 'RCPT TO:<victim@x>', 'DATA', 'bad', '.', 'QUIT'];

test('a mail pipelined behind a refused DATA never runs as commands, in any segmentation', () => {
  for (const order of [
    [...opening, 'DATA'],
    ['EHLO c.example', 'DATA'],
    [...opening, 'DATA please'],
  ]) {
    const bytes = wire([...order, ...smuggled]);
    for (const answersAtOnce of [true, false]) {
      const options = { ...refuseRecipients, answersAtOnce };
      const cuts = [
        [bytes],
        splitAt(bytes, [...bytes.keys()]),
        ...[...Array(30).keys()].map((seed) => splitRandomly(bytes, seed)),
      ];
      for (const segments of cuts) {
        const log = converse(segments, options);
        assert.equal(log.at(-1), 'close');
        assert.equal(
          log.some((entry) => /evil|victim/.test(entry)),
          false,
          log.join('\n'),
        );
      }
    }
  }
});

test('a mail that begins like commands does not run when it is there before the refusal', () => {
  const dialogue = openDialogue({ ...refuseRecipients, answersAtOnce: false });
  dialogue.send(wire(opening));
  dialogue.settle();
  dialogue.send('DATA\r\n');
  dialogue.send('MAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\n');
  dialogue.settle();
  assert.deepEqual(dialogue.log.slice(-2), ['554 5.5.1 No valid recipients', 'close']);
});

test('a client that waits for the refusal of DATA goes on with RSET, MAIL, NOOP or QUIT', () => {
  for (const next of ['RSET', 'MAIL FROM:<a@b>', 'NOOP', 'EHLO x', 'HELO x', 'HELP', 'VRFY x', 'QUIT']) {
    const dialogue = openDialogue(refuseRecipients);
    dialogue.send(wire([...opening, 'DATA']));
    assert.deepEqual(dialogue.log.slice(-2), ['abandon protocol-error', '554 5.5.1 No valid recipients']);
    dialogue.send(wire([next]));
    assert.match(dialogue.log.at(next === 'QUIT' ? -2 : -1) ?? '', /^2\d\d /, next);
  }
});

test('what is no ordinary command after a refused DATA closes the session', () => {
  for (const next of ['Subject: x', 'RCPT TO:<a@b>', 'DATA', '.', '', 'FOO', 'NOOP\nx', 'x'.repeat(3_000)]) {
    const dialogue = openDialogue(refuseRecipients);
    dialogue.send(wire([...opening, 'DATA']));
    dialogue.send(wire([next, 'MAIL FROM:<evil@x>']));
    assert.deepEqual(
      dialogue.log.slice(-2),
      ['421 4.7.0 Mail sent after a refused DATA, closing connection', 'close'],
      next,
    );
  }
});

test('only a QUIT that nothing stands behind is the end of all the client has to say', () => {
  for (const [sent, ending] of [
    ['QUIT\r\n', 'goodbye'],
    ['NOOP\r\nQUIT\r\n', 'goodbye'],
    ['QUIT\r\nNOOP\r\n', 'last-word'],
    ['QUIT\r\nx', 'last-word'],
    ['GET / HTTP/1.1\r\n', 'last-word'],
  ] as const) {
    const dialogue = openDialogue();
    dialogue.send(sent);
    assert.deepEqual(dialogue.endings, [ending], sent);
  }
});

test('before the greeting any input is refused', () => {
  const early = openDialogue({ greeted: false });
  early.engine.receive(Buffer.from('E'));
  early.engine.greet();
  early.engine.receive(Buffer.from('HLO x\r\n'));
  assert.deepEqual(early.log, ['554 5.5.1 Client spoke before the greeting', 'close']);
});

test('a timeout answers 421 in every stage and ends the transaction', () => {
  const lines = [...opening, 'DATA', 'x'];
  for (let count = 0; count <= lines.length; count++) {
    const dialogue = openDialogue();
    dialogue.send(wire(lines.slice(0, count)));
    dialogue.engine.timeout();
    const inTransaction = count >= 2;
    assert.deepEqual(dialogue.log.slice(inTransaction ? -3 : -2), [
      '421 4.4.2 Timeout, closing connection',
      ...(inTransaction ? ['abandon deadline'] : []),
      'close',
    ]);
  }
});

test('the end of input in every stage loses what is not whole, and answers what is', () => {
  const lines = [...opening, 'DATA', 'x', '.'];
  const endings = ['close', 'close', 'abandon connection-lost', 'abandon connection-lost', 'abandon connection-lost'];
  for (let count = 0; count <= lines.length; count++) {
    const dialogue = openDialogue({ answersAtOnce: false });
    dialogue.send(wire(lines.slice(0, count)));
    dialogue.engine.endOfInput();
    dialogue.settle();
    assert.equal(dialogue.log.at(-1), 'close');
    if (count === lines.length) assert.equal(dialogue.log.at(-2), '250 2.0.0 m1');
    else if (count >= 2) assert.equal(dialogue.log.at(-2), endings[2]);
  }
});

test('shutting down answers 421 between commands and after the mail that is under way', () => {
  const lines = [...opening, 'DATA', 'x'];
  for (let count = 0; count <= lines.length; count++) {
    const dialogue = openDialogue();
    dialogue.send(wire(lines.slice(0, count)));
    dialogue.engine.shutdown();
    if (count >= 4) {
      assert.equal(dialogue.engine.stage, 'data');
      dialogue.send(`${count === 4 ? 'x\r\n' : ''}.\r\nMAIL FROM:<a@b>\r\n`);
      assert.deepEqual(dialogue.log.slice(-3), [
        '250 2.0.0 m1',
        '421 4.3.2 Service shutting down, try again later',
        'close',
      ]);
    } else assert.ok(dialogue.log.includes('421 4.3.2 Service shutting down, try again later'));
    assert.equal(dialogue.log.at(-1), 'close');
  }
});

test('a verdict given before the mail has ended stops the chunks and is the reply', () => {
  const dialogue = openDialogue();
  dialogue.send(wire([...opening, 'DATA', 'x']));
  dialogue.engine.answer({ refusal: refusals['storage-full'] });
  dialogue.send('y\r\n.\r\n');
  assert.deepEqual(dialogue.log.slice(-2), ['body begins', '452 4.3.1 Insufficient storage, try again later']);
});

test('an answer nobody asked for changes nothing', () => {
  const dialogue = openDialogue();
  const before = dialogue.log.length;
  dialogue.engine.answer({ committed: 'forged' });
  dialogue.engine.turnPassed();
  dialogue.engine.greet();
  assert.equal(dialogue.log.length, before);
});

test('a line without end costs no memory', () => {
  const dialogue = openDialogue({ limits: { maxDiscardedLineBytes: 60_000_000 } });
  const segment = Buffer.alloc(65_536, 0x78);
  for (let count = 0; count < 800; count++) dialogue.engine.receive(segment);
  assert.equal(dialogue.engine.bufferedBytes, 0);
  dialogue.send('\r\nNOOP\r\n');
  assert.deepEqual(dialogue.log.slice(-2), ['500 5.5.2 Line too long', '250 2.0.0 OK']);
});
