/**
 * The same dialogues against npm's smtp-server and Debian's aiosmtpd. Where a peer differs, the difference stands
 * below with the reason why ours is right; any other difference, and any that has gone, fails.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing } from '../testing/missing.ts';
import { dialogues, holdDialogue, type Outcome } from './testing/dialogues.ts';
import { aiosmtpdProblem, type Peer, startAiosmtpd, startOurs, startSmtpServerPackage } from './testing/peers.ts';

interface Difference {
  readonly replies?: string;
  readonly mails?: readonly string[];
  /** Why ours is right. */
  readonly because: string;
}

type Differences = Readonly<Record<string, Difference>>;

const noRecipient = 'RFC 5321 §3.3: 554 (no valid recipients) or 503; our table says 554';
const ended = 'RFC 5321 §4.1.4 leaves it open; a refused DATA ends our transaction, so that no body can add to it';
const notOffered = 'RFC 5321 §4.1.1.11: 555 for a parameter that is not recognized or not implemented';
const refusedBody = 'RFC 2920 §3.1: nothing may follow DATA; what does is a mail and must not run as commands';
const bareLf = 'RFC 5321 §2.3.8: only CRLF ends a line';
const anyName = 'RFC 5321 §4.1.4: no mail is refused because of the name; office machines send such';
const blanks = 'RFC 5321 §4.1.1 has one space; devices send others, and nothing else could be meant';
const barePath = 'RFC 5321 §4.1.2 has angle brackets; scripts leave them out, and nothing else could be meant';
const docomo = 'RFC 5321 §4.1.2 has no empty atom; senders have such addresses, and a bounced order helps nobody';
const rootDot = 'RFC 5321 §4.1.2 has no dot behind a domain; it is the same domain';
const dsn = 'RFC 3461, RFC 4954: parameters that ask nothing of us are read over';
const utf8 = 'RFC 6531 §3.5: 553 5.6.7 without SMTPUTF8';

const smtpServer: Differences = {
  'HELO without a name': { replies: '220 501 503', because: anyName },
  'a name with a space': { replies: '220 501 503', because: anyName },
  'two spaces behind the verb': { replies: '220 250 501', because: blanks },
  'a tab behind the verb': { replies: '220 250 500', because: blanks },
  'no angle brackets': { replies: '220 250 501', because: barePath },
  'two dots': { replies: '220 250 501', because: docomo },
  'a dot before the at sign': { replies: '220 250 501', because: docomo },
  'a dot behind the domain': { replies: '220 250 250 501', because: rootDot },
  'DATA before RCPT': { replies: '220 250 250 503 250', because: noRecipient },
  'DATA after a refused RCPT': { replies: '220 250 250 550 503 250', because: noRecipient },
  'RCPT after a refused DATA': { replies: '220 250 250 503 250', because: ended },
  'DATA with an argument': {
    replies: '220 250 250 250 354',
    because: 'RFC 5321 §4.1.1.4: DATA has no argument; §4.3.2: 501',
  },
  'RSET with an argument': { replies: '220 250 250', because: 'RFC 5321 §4.1.1.5: RSET has no argument; 501' },
  'a command of 600 octets': {
    replies: '220 250 250 250',
    because: 'RFC 5321 §4.5.3.1.4: 512 octets; §4.5.3.1.9: 500',
  },
  'a command that ends with a bare LF': { replies: '220 250 250', because: bareLf },
  'quoted local part': { replies: '220 250 501', because: 'RFC 5321 §4.1.2: Quoted-string is a Local-part' },
  'BODY=BINARYMIME': { replies: '220 250 501', because: notOffered },
  'unknown MAIL parameter': { replies: '220 250 250', because: notOffered },
  'unknown RCPT parameter': { replies: '220 250 250 250', because: notOffered },
  'non-ASCII without SMTPUTF8': { replies: '220 250 250', because: utf8 },
  'CRLF . LF': {
    mails: ['a@b.example: a\r\n.\nb\r\n'],
    because: 'RFC 5321 §4.5.2: a leading dot with other characters on its line is deleted; a LF is such a character',
  },
  'dots behind a bare LF': { mails: ['a@b.example: a\n.b\r\n'], because: `${bareLf}, so that dot leads no line` },
  'a body behind a refused DATA': {
    replies: '220 250 250 503 503 250 354 250',
    mails: ['a@b.example: bad\r\n'],
    because: refusedBody,
  },
};

const aiosmtpd: Differences = {
  'HELO without a name': { replies: '220 501 503', because: anyName },
  'a tab behind the verb': { replies: '220 250 500', because: blanks },
  'two dots in a recipient': {
    replies: '220 250 250 250',
    because: 'RFC 5321 §4.1.2: Dot-string has no empty atom; none of our addresses has one',
  },
  'a dot behind the domain': { replies: '220 250 250 553', because: rootDot },
  'RET and ENVID': { replies: '220 250 555', because: dsn },
  AUTH: { replies: '220 250 555', because: dsn },
  'NOTIFY and ORCPT': { replies: '220 250 250 555', because: dsn },
  'null reverse-path': { mails: ['<>: x\r\n'], because: 'the same sender, written otherwise by its interface' },
  'DATA before RCPT': { replies: '220 250 250 503 250', because: noRecipient },
  'DATA after a refused RCPT': { replies: '220 250 250 550 503 250', because: noRecipient },
  'RCPT after a refused DATA': { replies: '220 250 250 503 250', because: ended },
  EXPN: {
    replies: '220 250 502',
    because: 'RFC 5321 §4.2.4 allows 500 for what is not implemented; ours knows no EXPN',
  },
  HELP: { replies: '220 250 250', because: 'RFC 5321 §4.3.2: 211 or 214' },
  'a command that ends with a bare LF': { replies: '220 250 250', because: bareLf },
  'sender without domain': { replies: '220 250 250', because: 'RFC 5321 §4.1.2: Mailbox has a domain' },
  'recipient without domain': {
    replies: '220 250 250 250',
    because: 'RFC 5321 §4.1.1.3: only Postmaster needs no domain',
  },
  'empty recipient': { replies: '220 250 250 250', because: 'RFC 5321 §4.1.1.3: a forward-path is not empty' },
  'NUL in an address': { replies: '220 250 250', because: 'RFC 5321 §4.1.2: no control characters; 501' },
  'SIZE twice': { replies: '220 250 250', because: 'RFC 5321 §4.1.2: a parameter given twice has no meaning; 501' },
  'BODY=BINARYMIME': { replies: '220 250 501', because: notOffered },
  'non-ASCII without SMTPUTF8': { replies: '220 250 250', because: utf8 },
  'parameter after HELO': {
    replies: '220 250 501',
    because: 'RFC 5321 §2.2.1 has no extensions after HELO; old devices send SIZE',
  },
  'a line beyond 1,000 octets': {
    replies: '220 250 250 250 354 500 250',
    because: 'RFC 5321 §4.5.3.1.6 is what a line must be able to hold at least; too long a mail is 552',
  },
  'a body behind a refused DATA': {
    replies: '220 250 250 503 503 250 354 250',
    mails: ['a@b.example: bad\r\n'],
    because: refusedBody,
  },
};

async function compare(peer: Peer, differences: Differences): Promise<void> {
  const ours = await startOurs();
  const problems: string[] = [];
  try {
    for (const dialogue of dialogues) {
      const we = await holdDialogue(ours, dialogue);
      const they = await holdDialogue(peer, dialogue);
      const listed = differences[dialogue.name];
      const expected: Outcome = { replies: listed?.replies ?? we.replies, mails: listed?.mails ?? we.mails };
      if (JSON.stringify(they) !== JSON.stringify(expected))
        problems.push(`${dialogue.name}: ours ${JSON.stringify(we)}, peer ${JSON.stringify(they)}`);
      else if (listed !== undefined && JSON.stringify(they) === JSON.stringify(we))
        problems.push(`${dialogue.name}: listed as a difference, and there is none`);
    }
  } finally {
    await peer.close();
    await ours.close();
  }
  const names = new Set(dialogues.map(({ name }) => name));
  for (const name of Object.keys(differences)) if (!names.has(name)) problems.push(`${name}: no such dialogue`);
  assert.deepEqual(problems, []);
}

test('every difference to smtp-server is a known one', async () => {
  await compare(await startSmtpServerPackage(), smtpServer);
});

test('every difference to aiosmtpd is a known one', async (t) => {
  const problem = aiosmtpdProblem();
  if (problem !== null) return missing(t, 'aiosmtpd', problem);
  await compare(await startAiosmtpd(), aiosmtpd);
});
