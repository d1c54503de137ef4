/** CHUNKING in the engine: whole, byte by byte and at random cuts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertInEverySegmentation, converse, type DialogueOptions, openDialogue } from './testing/engine-dialogue.ts';
import { refusals } from './testing/refusals.ts';
import { splitAt, splitRandomly, stuff } from './testing/segments.ts';
import { bdat, bdatMail } from './testing/wire-client.ts';

interface Script {
  readonly name: string;
  /** As sent. */
  readonly client: readonly (string | Buffer)[];
  readonly expected: readonly string[];
  readonly options?: DialogueOptions;
}

const last = { last: true };
const opening = 'EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n';
const ehlo = ['250-', '250-PIPELINING', '250-SIZE', '250-8BITMIME', '250-SMTPUTF8', '250-CHUNKING', '250 '];
const began = ['begin a@b', '250 2.1.0', 'recipient c@d', '250 2.1.5'];
const opened = [...ehlo, ...began];
const chunkOk = '250 2.0.0 Chunk received';
const chunks = (count: number): string[] => Array(count).fill(chunkOk);
const again = 'MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n';
const small = { limits: { maxMessageBytes: 10 } };
const evil = 'x\r\n.\r\nRSET\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<evil@x>\r\nDATA\r\nBDAT 3 LAST\r\nQUIT\r\n';

const scripts: Script[] = [
  {
    name: 'octets are taken as they are, dots, terminators, commands and NUL included; what is behind them runs',
    client: [opening, bdat('.\r\n..x\r\n.\r\n'), bdat(''), bdat('QUIT\r\n\0\xff\n\r'), bdat('.', last), 'NOOP\r\n'],
    expected: [
      ...opened,
      'body begins',
      ...chunks(3),
      'body ends ".\\r\\n..x\\r\\n.\\r\\nQUIT\\r\\n\\u0000ÿ\\n\\r."',
      '250 2.0.0 m1',
      '250 2.0.0 OK',
    ],
  },
  {
    name: 'one chunk, none, an empty one, and DATA, in one session',
    client: [
      opening,
      bdat(evil, last),
      again,
      'BDAT 0 LAST\r\n',
      again,
      'bdat 0\r\nBdAt  2  last \r\nok',
      again,
      'DATA\r\n.\r\n',
    ],
    expected: [
      ...opened,
      'body begins',
      `body ends ${JSON.stringify(evil)}`,
      '250 2.0.0 m1',
      ...began,
      'body begins',
      'body ends ""',
      '250 2.0.0 m1',
      ...began,
      'body begins',
      chunkOk,
      'body ends "ok"',
      '250 2.0.0 m1',
      ...began,
      '354',
      'body begins',
      'body ends ""',
      '250 2.0.0 m1',
    ],
  },
  {
    name: 'between two chunks NOOP is welcome, RCPT and MAIL are not, and the mail goes on',
    client: [opening, bdat('a'), 'NOOP\r\nRCPT TO:<e@f>\r\nMAIL FROM:<e@f>\r\n', bdat('b', last)],
    expected: [
      ...opened,
      'body begins',
      chunkOk,
      '250 2.0.0 OK',
      '503 5.5.1',
      '503 5.5.1',
      'body ends "ab"',
      '250 2.0.0 m1',
    ],
  },
  {
    name: 'DATA behind a chunk is out of sequence and ends the transaction',
    client: [opening, bdat('a'), 'DATA\r\n'],
    expected: [...opened, 'body begins', chunkOk, 'abandon protocol-error', '503 5.5.1'],
  },
  ...(['RSET', 'EHLO c', 'QUIT'] as const).map((verb) => ({
    name: `${verb} between two chunks throws the mail away; what comes then belongs to no mail`,
    client: [opening, bdat('a'), `${verb}\r\n`, bdat(evil, last), 'NOOP\r\n'],
    expected: [
      ...opened,
      'body begins',
      chunkOk,
      ...(verb === 'QUIT'
        ? ['221 2.0.0', 'abandon reset', 'close']
        : ['abandon reset', ...(verb === 'RSET' ? ['250 2.0.0 Reset'] : ehlo), '503 5.5.1', '250 2.0.0 OK']),
    ],
  })),
  {
    name: 'a chunk without EHLO, behind HELO or without MAIL is read, dropped and refused',
    client: [bdat(evil, last), 'HELO c\r\n', again, bdat(evil), bdat(evil, last), 'EHLO c\r\n', bdat(evil), again],
    expected: [
      '503 5.5.1',
      '250 mx.example',
      ...began,
      'abandon protocol-error',
      '503 5.5.1',
      '503 5.5.1',
      ...ehlo,
      '503 5.5.1',
      ...began,
    ],
  },
  {
    name: 'without a valid recipient every chunk is refused, and none can be added behind the first chunk',
    client: [
      'EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@d>\r\n',
      bdat(evil),
      'RCPT TO:<c@d>\r\n',
      bdat(evil),
      bdat(evil, last),
      bdat('', last),
      again,
      bdat('ok', last),
    ],
    expected: [
      ...ehlo,
      'begin a@b',
      '250',
      'recipient no@d',
      '550 5.1.1',
      'abandon protocol-error',
      '554 5.5.1',
      '503 5.5.1',
      '554 5.5.1',
      '554 5.5.1',
      '503 5.5.1',
      ...began,
      'body begins',
      'body ends "ok"',
      '250 2.0.0 m1',
    ],
    options: {
      answer: (step, address) =>
        address === 'no@d'
          ? { refusal: refusals['unknown-recipient'] }
          : step === 'mail'
            ? { committed: 'm1' }
            : 'done',
    },
  },
  {
    name: 'a recipient that never came back makes the mail temporary',
    client: [opening, bdat(evil), bdat(evil, last), 'RSET\r\n'],
    expected: [...ehlo, 'begin', '250', 'recipient', '451 4.3.0', '451 4.3.0', '451 4.3.0', '250 2.0.0 Reset'],
    options: { answer: (step) => (step === 'recipient' ? 'dead' : 'done') },
  },
  {
    name: 'the limit is one for all chunks: exactly it is taken, one more is read, dropped and refused',
    client: [opening, bdat('12345'), bdat('67890', last), again, bdat('12345'), bdat('678901'), bdat('', last), again],
    expected: [
      ...opened,
      'body begins',
      chunkOk,
      'body ends "1234567890"',
      '250 2.0.0 m1',
      ...began,
      'body begins',
      chunkOk,
      'abandon too-large',
      '552 5.3.4',
      '552 5.3.4',
      ...began,
    ],
    options: small,
  },
  {
    name: 'behind a mail that was refused for its size a MAIL begins anew',
    client: [opening, bdat('12345678901'), again, bdat('ok', last)],
    expected: [...opened, 'body begins', 'abandon', '552', ...began, 'body begins', 'body ends "ok"', '250 2.0.0 m1'],
    options: small,
  },
  {
    name: 'chunks of more than twice the limit in all are cut',
    client: [opening, bdat('12345678901'), bdat('1234567890', last), 'NOOP\r\n'],
    expected: [...opened, 'body begins', 'abandon too-large', '552 5.3.4', '552 5.3.4', 'cut'],
    options: small,
  },
  {
    name: 'a chunk of 2^53 - 1 octets is not waited for',
    client: [opening, 'BDAT 9007199254740991 LAST\r\n', evil.repeat(3)],
    expected: [...opened, 'body begins', 'abandon too-large', '552 5.3.4', 'cut'],
    options: small,
  },
  {
    name: 'a chunk of 2^53 - 1 octets of no mail is not waited for',
    client: ['EHLO c\r\n', 'BDAT 9007199254740991 LAST\r\n', evil.repeat(3)],
    expected: [...ehlo, '552 5.3.4', 'cut'],
    options: small,
  },
  {
    name: 'the application refuses the whole mail at its end',
    client: [opening, bdat('a'), bdat('b', last), 'NOOP\r\n'],
    expected: [...opened, 'body begins', chunkOk, 'body ends "ab"', '452 4.3.1', '250 2.0.0 OK'],
    options: { answer: (step) => (step === 'mail' ? { refusal: refusals['storage-full'] } : 'done') },
  },
  {
    name: 'chunks that are small are counted, large ones and last ones are not',
    client: [opening, bdat('x'.repeat(1_024)), bdat('', last), again, bdat('a'), bdat(''), bdat('b'), 'NOOP\r\n'],
    expected: [
      ...opened,
      'body begins',
      chunkOk,
      'body ends',
      '250 2.0.0 m1',
      ...began,
      'body begins',
      ...chunks(2),
      '421 4.7.0',
      'abandon protocol-error',
      'close',
    ],
    options: { limits: { maxSmallChunks: 2 } },
  },
  {
    name: 'refused chunks without end close the session',
    client: ['EHLO c\r\n', bdat('', last), bdat('a'), bdat(''), 'NOOP\r\n'],
    expected: [...ehlo, '503', '503', '421 4.7.0', 'close'],
    options: { limits: { maxErrors: 3 } },
  },
];

const join = (client: Script['client']): Buffer =>
  Buffer.concat(client.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)));

for (const { name, client, expected, options } of scripts) {
  test(`${name}: whole, byte by byte and at random cuts`, () => {
    assertInEverySegmentation(join(client), expected, options);
  });
}

test('a BDAT of which nobody can say where its octets end closes the session, and nothing behind it runs', () => {
  for (const line of [
    'BDAT',
    'BDAT ',
    'BDAT LAST',
    'BDAT -1',
    'BDAT +5 LAST',
    'BDAT 0x10',
    'BDAT 1e3',
    'BDAT 5.0',
    'BDAT 9007199254740992',
    'BDAT 99999999999999999999999',
    'BDAT 5 FIRST',
    'BDAT 5 LAST LAST',
    'BDAT 5LAST',
    'BDAT 5,LAST',
    'BDAT\t5',
    ' BDAT 5',
    'BDAT5',
    'BDAT 5\0',
    'BDAT \xb2',
    `BDAT ${'0'.repeat(600)}5`,
    `BDAT ${'0'.repeat(3_000)}5 LAST`,
    'BDAT 5 LAST\nRSET',
  ]) {
    const expected = [
      ...opened,
      '501 5.5.4 Malformed chunk size, closing connection',
      'abandon protocol-error',
      'close',
    ];
    assertInEverySegmentation(join([opening, `${line}\r\n`, evil]), expected);
  }
});

test('between two chunks such a line throws the mail away', () => {
  const log = converse([join([opening, bdat('a'), 'BDAT -1 LAST\r\n', evil])]);
  assert.deepEqual(log.slice(-4), [
    chunkOk,
    '501 5.5.4 Malformed chunk size, closing connection',
    'abandon protocol-error',
    'close',
  ]);
});

test('where TLS is required chunks in the clear are dropped, and behind the handshake nothing of them counts', () => {
  const dialogue = openDialogue({ tls: 'required' });
  dialogue.send(join(['EHLO c\r\n', bdat(evil), bdat(evil), 'STARTTLS\r\n']));
  const tls = '530 5.7.0 Must issue a STARTTLS command first';
  assert.deepEqual(dialogue.log.slice(-4), [tls, tls, '220 2.0.0 Ready to start TLS', 'handshake']);
  dialogue.engine.tlsStarted();
  dialogue.send(join([bdat(evil), opening, bdat('ok', last)]));
  const next = dialogue.log.indexOf('handshake') + 1;
  assert.equal(dialogue.log[next], '503 5.5.1 Bad sequence of commands');
  assert.deepEqual(dialogue.log.slice(-2), ['body ends "ok"', '250 2.0.0 m1']);
});

test('STARTTLS between two chunks is out of sequence', () => {
  const log = converse([join([opening, bdat('a'), 'STARTTLS\r\n', bdat('b', last)])], { tls: 'offered' });
  assert.deepEqual(log.slice(-4), [chunkOk, '503 5.5.1 Bad sequence of commands', 'body ends "ab"', '250 2.0.0 m1']);
});

test('a verdict before the last chunk is the reply to every chunk that is left, once and as it was', () => {
  for (const [answer, reply] of [
    [{ refusal: refusals['storage-full'] }, '452 4.3.1 Insufficient storage, try again later'],
    ['dead', '451 4.3.0 Temporary failure, try again later (s1)'],
  ] as const) {
    const dialogue = openDialogue();
    dialogue.send(join([opening, bdat('a')]));
    dialogue.engine.answer(answer);
    dialogue.send(join([bdat('b'), bdat(evil), bdat('c', last), bdat('d', last), 'NOOP\r\n']));
    const bad = '503 5.5.1 Bad sequence of commands';
    assert.deepEqual(dialogue.log.slice(-6), [chunkOk, reply, reply, reply, bad, '250 2.0.0 OK']);
  }
});

test('a verdict in the middle of a chunk stops its octets', () => {
  const dialogue = openDialogue();
  dialogue.send(join([opening, 'BDAT 6 LAST\r\nabc']));
  dialogue.engine.answer({ refusal: refusals['storage-full'] });
  dialogue.send('def');
  assert.deepEqual(dialogue.log.slice(-2), ['body begins', '452 4.3.1 Insufficient storage, try again later']);
});

test('a timeout, and the end of input, in a chunk and between two lose the mail', () => {
  for (const sent of [bdat('a'), 'BDAT 3\r\nab', 'BDAT 3 LAST\r\nab', 'BDAT 3 LA']) {
    const late = openDialogue();
    late.send(join([opening, sent]));
    late.engine.timeout();
    assert.deepEqual(late.log.slice(-3), ['421 4.4.2 Timeout, closing connection', 'abandon deadline', 'close']);
    const gone = openDialogue();
    gone.send(join([opening, bdat('x'), sent]));
    gone.engine.endOfInput();
    assert.deepEqual(gone.log.slice(-2), ['abandon connection-lost', 'close']);
  }
});

test('shutting down lets a mail of chunks come to its end, and not one that is refused', () => {
  const goodbye = '421 4.3.2 Service shutting down, try again later';
  const dialogue = openDialogue();
  dialogue.send(join([opening, bdat('a')]));
  dialogue.engine.shutdown();
  assert.equal(dialogue.log.at(-1), chunkOk);
  dialogue.send(join([bdat('b', last), 'NOOP\r\n']));
  assert.deepEqual(dialogue.log.slice(-4), ['body ends "ab"', '250 2.0.0 m1', goodbye, 'close']);

  const refused = openDialogue();
  refused.send(join(['EHLO c\r\n', bdat('a')]));
  refused.engine.shutdown();
  assert.deepEqual(refused.log.slice(-2), [goodbye, 'close']);
});

test('the pieces of one read come out as one', () => {
  const dialogue = openDialogue();
  dialogue.send(opening);
  const letters = [...'abcdefghijklmnopqrstuvwxyz'].map((letter) => bdat(letter));
  dialogue.send(join([...letters, 'NOOP\r\n', 'BDAT 3\r\n12']));
  dialogue.send(join(['3', bdat('456', last)]));
  assert.deepEqual(dialogue.pieces, ['abcdefghijklmnopqrstuvwxyz12', '3456']);
  assert.equal(dialogue.log.at(-2), 'body ends "abcdefghijklmnopqrstuvwxyz123456"');
});

const text = fc
  .array(fc.constantFrom('\r\n', '.', '\r', '\n', '\0', 'BDAT 3 LAST\r\n', 'RSET\r\n', '\xff', 'x'), { maxLength: 40 })
  .map((words) => Buffer.from(words.join(''), 'latin1'));

test('the same mail by DATA and by BDAT, in any chunks and any segments, is the same mail', () => {
  const numbers = fc.array(fc.nat(200), { maxLength: 8 });
  fc.assert(
    fc.property(text, numbers, numbers, fc.nat(), (words, cuts, segmentCuts, seed) => {
      const mail = words.length === 0 ? words : Buffer.concat([words, Buffer.from('\r\n')]);
      // Empty chunks as well, wherever two cuts fall together.
      const ends = [...cuts.map((cut) => Math.min(cut, mail.length)), mail.length].toSorted((a, b) => a - b);
      const pieces = ends.map((end, index) => mail.subarray(ends[index - 1] ?? 0, end));
      const chunked = bdatMail(pieces);
      const body = (log: readonly string[]) => log.filter((entry) => entry.startsWith('body ends'));
      const byData = converse([join([opening, 'DATA\r\n', stuff(mail), 'NOOP\r\n'])]);
      assert.deepEqual(body(byData), [`body ends ${JSON.stringify(mail.toString('latin1'))}`]);
      const wire = join([opening, chunked, 'NOOP\r\n']);
      for (const segments of [[wire], splitAt(wire, segmentCuts), splitRandomly(wire, seed)]) {
        const log = converse(segments);
        assert.deepEqual(body(log), body(byData));
        assert.deepEqual(log.slice(-2), ['250 2.0.0 m1', '250 2.0.0 OK']);
        assert.equal(log.filter((entry) => entry === chunkOk).length, pieces.length - 1);
      }
    }),
    { numRuns: 300 },
  );
});

test('whatever chunks of no mail hold, only the commands around them run', () => {
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), fc.nat(), (contents, seed) => {
      const wire = join(['EHLO c\r\n', ...contents.map((content) => bdat(content)), 'RSET\r\nNOOP\r\n']);
      const log = converse(splitRandomly(wire, seed, 20));
      const refusals = contents.map(() => '503 5.5.1 Bad sequence of commands');
      assert.deepEqual(log.slice(1 + ehlo.length), [...refusals, '250 2.0.0 Reset', '250 2.0.0 OK']);
    }),
    { numRuns: 200 },
  );
});
