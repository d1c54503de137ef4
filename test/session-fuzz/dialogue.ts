/** What a client says in one session, made from a seed: good and bad, whole and cut, in every state of a session. */
import { createRandom, type Random } from '../../scripts/mail-mutations.ts';
import { type ProxyOpening, proxyOpening } from './proxy-openings.ts';
import { randomBody } from './random-body.ts';
import { marks } from './session-model.ts';

export type House = 'plain' | 'tls' | 'tls-required' | 'proxy';

export interface Step {
  /** One character for each octet. */
  readonly send: string;
  /** Goes on when everything that was asked is answered. */
  readonly wait: boolean;
  /** Where `send` is cut into writes of their own. */
  readonly cuts: readonly number[];
}

export interface Dialogue {
  readonly seed: number;
  readonly house: House;
  /** Only behind a balancer. */
  readonly proxy: ProxyOpening | null;
  /** false: it speaks before the greeting. */
  readonly waitsForGreeting: boolean;
  readonly steps: readonly Step[];
  /** What it does when STARTTLS is answered 220. */
  readonly tls: 'handshake' | 'garbage' | 'leave';
  /** `close`: says nothing more, and reads on; `leave`: is gone. */
  readonly ending: 'quit' | 'close' | 'leave';
  /** Reads nothing until all is sent. */
  readonly deaf: boolean;
}

type Pace = 'in step' | 'pipelined' | 'mixed';

export function createDialogue(seed: number): Dialogue {
  const random = createRandom(seed);
  const house = random.pick<House>(['plain', 'plain', 'plain', 'tls', 'tls', 'tls-required', 'proxy', 'proxy']);
  const pace = random.pick<Pace>(['in step', 'pipelined', 'pipelined', 'mixed', 'mixed']);
  const cutting = random.pick([0, 0, 0, 0.1, 0.3]);
  const phrases = 2 + random.integer(9);
  const lines: Line[] = chance(random, 0.9) ? [hello(random)] : [];
  if (house === 'tls-required' || (house === 'tls' && chance(random, 0.4))) lines.push(startTls(random), hello(random));
  for (let count = 0; count < phrases; count++) lines.push(...random.pick(phraseBook)(random));
  return {
    seed,
    house,
    proxy: house === 'proxy' ? proxyOpening(random) : null,
    waitsForGreeting: chance(random, 0.97),
    steps: lines.map((line) => ({
      send: line.bytes,
      wait: line.wait ?? (pace === 'in step' || (pace === 'mixed' && chance(random, 0.5))),
      cuts: chance(random, cutting) ? cutsOf(random, line.bytes.length) : [],
    })),
    tls: random.pick(['handshake', 'handshake', 'handshake', 'handshake', 'garbage', 'leave']),
    ending: random.pick(['quit', 'quit', 'close', 'close', 'leave']),
    deaf: chance(random, 0.03),
  };
}

/** `wait` where the phrase needs it one way or the other. */
interface Line {
  readonly bytes: string;
  readonly wait?: boolean;
}

type Phrase = (random: Random) => readonly Line[];

const chance = (random: Random, share: number): boolean => random.integer(1_000) < share * 1_000;
const line = (text: string, wait?: boolean): Line => ({
  bytes: `${text}\r\n`,
  ...(wait === undefined ? {} : { wait }),
});
const repeat = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

function cutsOf(random: Random, length: number): number[] {
  const count = 1 + random.integer(4);
  return repeat(count, () => 1 + random.integer(Math.max(1, length - 1))).toSorted((a, b) => a - b);
}

function cased(random: Random, text: string): string {
  return random.integer(8) === 0 ? text.toLowerCase() : text;
}

function hello(random: Random): Line {
  const name = random.pick([
    'client.example',
    'c',
    'mx-1.example.org',
    'my scanner',
    'CORP\\PC01',
    '[192.0.2.1]',
    'm\xc3\xbcller',
    'm\xfcller',
    '\xc4\x8a',
    'x'.repeat(480),
  ]);
  return line(
    `${cased(random, random.pick(['EHLO', 'EHLO', 'EHLO', 'EHLO', 'HELO']))} ${random.integer(3) === 0 ? name : 'client.example'}`,
  );
}

function mailFrom(random: Random): Line {
  const path = random.pick([
    'a@b.example',
    'a@b.example',
    'a@b.example',
    'buyer.1@c.example',
    '',
    'slow@b.example',
    'blocked@b.example',
    'broken@b.example',
    '"a b"@c.example',
    'a@[192.0.2.1]',
    '@x.example:a@b.example',
    'a..b@c.example',
    '\xc3\xa4@b.example',
  ]);
  const parameters = random.pick([
    '',
    '',
    '',
    '',
    ' SIZE=100',
    ' SIZE=99999999',
    ' BODY=8BITMIME',
    ' SIZE=100 BODY=7BIT',
    ' SMTPUTF8',
    ' FOO=bar',
    ' SIZE=1 SIZE=1',
    ' RET=HDRS ENVID=x',
    ` ENVID=${'x'.repeat(600)}`,
  ]);
  return line(`${cased(random, 'MAIL FROM:')}${random.integer(20) === 0 ? ' ' : ''}<${path}>${parameters}`);
}

function rcptTo(random: Random): Line {
  const path = random.pick([
    'c@d.example',
    'c@d.example',
    'c@d.example',
    'orders@e.example',
    'slow@d.example',
    'no@d.example',
    'broken@d.example',
    'Postmaster',
    'c',
    '',
    '"q r"@d.example',
    'c@d.example.',
    'c..d@e.example',
    '\xff@d.example',
  ]);
  return line(`${cased(random, 'RCPT TO:')}<${path}>${random.pick(['', '', '', '', ' NOTIFY=NEVER', ' FOO=bar'])}`);
}

const safeFrom = line('MAIL FROM:<a@b.example>');
const safeTo = line('RCPT TO:<c@d.example>');

function envelope(random: Random): Line[] {
  const good = chance(random, 0.7);
  const recipients = 1 + random.integer(good ? 3 : 6);
  return [good ? safeFrom : mailFrom(random), ...repeat(recipients, () => (good ? safeTo : rcptTo(random)))];
}

/** Mostly waits for 354, as a client must; else the mail follows blindly. */
function dataMail(random: Random): Line[] {
  const blind = chance(random, 0.15);
  const begins = blind ? line('DATA', false) : line(cased(random, 'DATA'), true);
  const body = randomBody(random);
  const end = chance(random, 0.93) ? `${body === '' || body.endsWith('\r\n') ? '' : '\r\n'}.\r\n` : '';
  return [...envelope(random), begins, { bytes: body + end }];
}

function bdatMail(random: Random): Line[] {
  const chunks = repeat(1 + random.integer(5), () => chunkOctets(random));
  const whole = chance(random, 0.8);
  // biome-ignore format: a list
  const pieces = chunks.map((octets, index) => ({ bytes: chunkBytes(random, octets, whole && index === chunks.length - 1) }));
  const between = chance(random, 0.15)
    ? [
        random.pick([
          line('NOOP'),
          line('MAIL FROM:<a@b.example>'),
          line('RCPT TO:<c@d.example>'),
          line('DATA'),
          line('RSET'),
        ]),
      ]
    : [];
  return [...(chance(random, 0.9) ? envelope(random) : []), ...pieces.slice(0, 1), ...between, ...pieces.slice(1)];
}

function chunkOctets(random: Random): string {
  const kind = random.integer(12);
  if (kind === 0) return '';
  if (kind === 1) return 'MAIL FROM:<evil@x.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n';
  if (kind === 2) return `BDAT 3 LAST\r\n.\r\n${random.integer(2) === 0 ? '\r\n.\r\n' : ''}`;
  if (kind === 3) return 'x'.repeat(random.integer(9_000));
  return randomBody(random);
}

/** With its command. Now and then the number is another than that of the octets. */
function chunkBytes(random: Random, octets: string, last: boolean): string {
  const size = random.integer(40) === 0 ? Math.max(0, octets.length + random.integer(9) - 4) : octets.length;
  return `${cased(random, `BDAT${random.integer(20) === 0 ? '  ' : ' '}${size}${last ? ' LAST' : ''}`)}\r\n${octets}`;
}

/** What was sent behind it in the clear came from anybody on the way. */
function startTls(random: Random): Line {
  const injected = random.pick([
    '',
    '',
    '',
    'NOOP\r\n',
    'EHLO evil.example\r\nMAIL FROM:<evil@x.example>\r\n',
    'RSET\r\nNOO',
    'MAIL FROM:<evil@x.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nevil\r\n.\r\n',
    '\x16\x03\x01',
  ]);
  return { bytes: `STARTTLS\r\n${injected}`, wait: true };
}

// biome-ignore format: a list
const oddLines: readonly string[] = [
  'DATA', 'RSET', 'NOOP', 'NOOP words', 'HELP', 'HELP DATA', 'VRFY someone', 'VRFY', 'EXPN list', 'HELO', 'EHLO',
  'XYZZY', '', ' ', '.', '..', '\t', 'DATA x', 'RSET x', 'QUIT x', 'STARTTLS x', 'AUTH PLAIN AGEAYg==', 'AUTH LOGIN',
  'MAIL', 'MAIL FROM:', 'MAIL FROM:<>', 'MAIL FROM:<a>', 'MAIL TO:<a@b.example>', 'RCPT', 'RCPT TO:', 'RCPT TO:<>',
  'BDAT', 'BDAT x', 'BDAT -1', 'BDAT 1 LASTING', 'BDAT\t3', '.BDAT 3', 'BDATX', 'BDAT 99999999999999999999', 'BDAT 0', 'BDAT 0 LAST',
  'GET / HTTP/1.1', 'POST / HTTP/1.1', 'PRI * HTTP/2.0', '\x16\x03\x01\x02\x00\x01', 'NOOP\0', '\0', 'NO\0OP', 'RSET\r', 'DATA\r',
  'NOOP \xff\xfe', 'EHLO a\rb', 'DATA ', 'RSET \t', 'noop', 'rset', 'd\xc5\xbfata', '\xc5\xbftarttls', 'PROXY UNKNOWN', 'EHLO \xe4\xb8\x8a',
];

const verbs = ['EHLO', 'HELO', 'MAIL', 'RCPT', 'DATA', 'BDAT', 'RSET', 'NOOP', 'VRFY', 'HELP', 'QUIT', 'STARTTLS'];

function bent(random: Random): Line {
  const good = random.pick([
    hello,
    mailFrom,
    rcptTo,
    () => line('DATA'),
    () => line('RSET'),
    () => line('NOOP'),
    () => line('BDAT 4'),
  ])(random).bytes;
  const at = random.integer(good.length);
  switch (random.integer(9)) {
    case 0:
      return { bytes: good.slice(0, at) }; // Half, and the next line behind it.
    case 1:
      return { bytes: good.replace('\r\n', '\n') };
    case 2:
      return { bytes: good.replace('\r\n', '\r') };
    case 3:
      return { bytes: `${good.slice(0, at)}\0${good.slice(at)}` };
    case 4:
      return { bytes: good.slice(0, at) + String.fromCharCode(random.integer(256)) + good.slice(at + 1) };
    case 5:
      return { bytes: good.replace('\r\n', '\r\r\n') };
    case 6:
      return { bytes: `${good.slice(0, -2)}${random.pick([' ', '\t', '  \t'])}\r\n` };
    case 7:
      return { bytes: `${good.slice(0, at)}\n${good.slice(at)}` };
    default:
      return {
        bytes: `${random.pick(verbs)} ${'y'.repeat(random.pick([400, 500, 504, 505, 506, 507, 508, 600, 1_500, 2_100, 9_000]))}\r\n`,
      };
  }
}

/** Much more than may be held, behind a command that takes its time. */
function flood(random: Random): Line[] {
  const text = random.pick(['NOOP\r\n', 'X\r\n', 'RCPT TO:<c@d.example>\r\n', 'x'.repeat(70_000)]);
  return [
    line('MAIL FROM:<slow@b.example>', false),
    { bytes: text.repeat(Math.ceil(700_000 / text.length)), wait: true },
  ];
}

function large(random: Random): Line[] {
  const size = random.pick([29_000, 30_001, 45_000, 70_000, 120_000]);
  const octets = `${'z'.repeat(98)}\r\n`.repeat(size / 100);
  const opened = [safeFrom, safeTo];
  if (chance(random, 0.5)) return [...opened, line('DATA', true), { bytes: `${octets}.\r\n` }];
  return [...opened, { bytes: chunkBytes(random, octets, chance(random, 0.5)) }];
}

const refusedMail = (random: Random): Line[] => {
  const body = `Subject: x\r\n\r\n${random.pick(Object.values(marks))}\r\nmore\r\n`;
  if (chance(random, 0.5)) return [safeFrom, safeTo, line('DATA', true), { bytes: `${body}.\r\n` }];
  return [
    safeFrom,
    safeTo,
    { bytes: chunkBytes(random, body, false) },
    { bytes: chunkBytes(random, 'rest\r\n', true) },
  ];
};

const odd: Phrase = (random) => [line(random.pick(oddLines))];
const wrong: Phrase = (random) => [bent(random)];
const rarely =
  (share: number, phrase: Phrase): Phrase =>
  (random) =>
    chance(random, share) ? phrase(random) : odd(random);

// biome-ignore format: a list
const phraseBook: readonly Phrase[] = [
  dataMail, dataMail, dataMail, dataMail, bdatMail, bdatMail, bdatMail, odd, odd, odd, wrong, wrong, wrong, envelope, refusedMail,
  (random) => [hello(random)],
  (random) => [mailFrom(random)],
  (random) => [rcptTo(random)],
  (random) => [...envelope(random), line('RSET'), random.pick([safeTo, line('DATA', true), line('BDAT 2 LAST\r\nx'), safeFrom])],
  (random) => [safeFrom, line('DATA', chance(random, 0.5)), random.pick([safeTo, line('NOOP'), line('DATA'), safeFrom, line('Subject: x')])],
  rarely(0.3, (random) => [startTls(random)]),
  rarely(0.1, large),
  rarely(0.02, flood),
  rarely(0.2, () => [line('QUIT')]),
];
