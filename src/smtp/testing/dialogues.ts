/** Dialogues that every SMTP server understands, and what became of them. */
import type { Peer } from './peers.ts';
import { connectWireClient } from './wire-client.ts';

export interface PeerDialogue {
  readonly name: string;
  /** Each is sent as it stands, and as many replies are awaited as `replies` says (default one). */
  readonly steps: readonly (string | { readonly send: string; readonly replies: number })[];
}

const hello = 'EHLO c.example\r\n';
const mail = 'MAIL FROM:<a@b.example>\r\n';
const rcpt = 'RCPT TO:<c@d.example>\r\n';
const data = 'DATA\r\n';
const opened = [hello, mail, rcpt, data];
const after = (name: string, ...steps: PeerDialogue['steps']): PeerDialogue => ({ name, steps: [hello, ...steps] });
const body = (name: string, wire: string): PeerDialogue => ({ name, steps: [...opened, wire, 'NOOP\r\n'] });

export const dialogues: readonly PeerDialogue[] = [
  { name: 'a mail', steps: [...opened, 'Subject: x\r\n\r\nhello\r\n.\r\n', 'QUIT\r\n'] },
  { name: 'HELO', steps: ['HELO c.example\r\n', mail, rcpt, data, 'x\r\n.\r\n', 'QUIT\r\n'] },
  after('null reverse-path', 'MAIL FROM:<>\r\n', rcpt, data, 'x\r\n.\r\n'),
  after('two mails in a session', mail, rcpt, data, 'x\r\n.\r\n', mail, rcpt, data, 'y\r\n.\r\n'),
  after('pipelined envelope', { send: mail + rcpt + rcpt + data, replies: 4 }, 'x\r\n.\r\n'),
  after('lower case', 'mail from:<a@b.example>\r\n', 'rcpt to:<c@d.example>\r\n', 'data\r\n', 'x\r\n.\r\n', 'quit\r\n'),

  { name: 'MAIL before EHLO', steps: [mail] },
  { name: 'EHLO without a name', steps: ['EHLO\r\n'] },
  { name: 'HELO without a name', steps: ['HELO\r\n', mail] },
  { name: 'a name with a space', steps: ['EHLO my scanner\r\n', mail] },
  { name: 'a name with a backslash', steps: ['EHLO CORP\\PC01\r\n', mail] },
  after('RCPT before MAIL', rcpt),
  after('DATA before MAIL', data),
  after('DATA before RCPT', mail, data, 'RSET\r\n'),
  after('DATA after a refused RCPT', mail, 'RCPT TO:<no@d.example>\r\n', data, 'RSET\r\n'),
  after('RCPT after a refused DATA', mail, data, rcpt),
  after('nested MAIL', mail, mail),
  after('RSET', mail, rcpt, 'RSET\r\n', rcpt),
  after('EHLO resets', mail, rcpt, hello, rcpt),
  after('a refused and an accepted recipient', mail, 'RCPT TO:<no@d.example>\r\n', rcpt, data, 'x\r\n.\r\n'),
  after('unknown command', 'XYZZY\r\n'),
  after('EXPN', 'EXPN list\r\n'),
  after('VRFY', 'VRFY someone\r\n'),
  after('NOOP with words', 'NOOP words\r\n'),
  after('HELP', 'HELP\r\n'),
  after('DATA with an argument', mail, rcpt, 'DATA x\r\n'),
  after('RSET with an argument', 'RSET x\r\n'),
  after('trailing space', 'NOOP \r\n', 'RSET \r\n'),
  after('a command of 600 octets', `NOOP ${'x'.repeat(593)}\r\n`, 'NOOP\r\n'),
  after('a command that ends with a bare LF', 'NOOP\n'),

  after('space behind the colon', 'MAIL FROM: <a@b.example>\r\n'),
  after('two spaces behind the verb', 'MAIL  FROM:<a@b.example>\r\n'),
  after('a tab behind the verb', 'MAIL\tFROM:<a@b.example>\r\n'),
  after('no angle brackets', 'MAIL FROM:a@b.example\r\n'),
  after('words beside an address', 'MAIL FROM:Buyer <a@b.example>\r\n'),
  after('no FROM', 'MAIL <a@b.example>\r\n'),
  after('sender without domain', 'MAIL FROM:<a>\r\n'),
  after('recipient without domain', mail, 'RCPT TO:<c>\r\n'),
  after('Postmaster', mail, 'RCPT TO:<Postmaster>\r\n'),
  after('empty recipient', mail, 'RCPT TO:<>\r\n'),
  after('source route', mail, 'RCPT TO:<@x.example:c@d.example>\r\n'),
  after('quoted local part', 'MAIL FROM:<"a b"@c.example>\r\n'),
  after('address literal', 'MAIL FROM:<a@[192.0.2.1]>\r\n'),
  after('two dots', 'MAIL FROM:<a..b@c.example>\r\n'),
  after('a dot before the at sign', 'MAIL FROM:<a.@c.example>\r\n'),
  after('two dots in a recipient', mail, 'RCPT TO:<a..b@c.example>\r\n'),
  after('a dot behind the domain', mail, 'RCPT TO:<c@d.example.>\r\n'),
  after('NUL in an address', 'MAIL FROM:<a\0@c.example>\r\n'),

  after('SIZE within the limit', 'MAIL FROM:<a@b.example> SIZE=1000\r\n'),
  after('SIZE over the limit', 'MAIL FROM:<a@b.example> SIZE=1001\r\n'),
  after('SIZE in words', 'MAIL FROM:<a@b.example> SIZE=big\r\n'),
  after('SIZE twice', 'MAIL FROM:<a@b.example> SIZE=1 SIZE=1\r\n'),
  after('BODY=8BITMIME', 'MAIL FROM:<a@b.example> BODY=8BITMIME\r\n'),
  after('BODY=BINARYMIME', 'MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n'),
  after('unknown MAIL parameter', 'MAIL FROM:<a@b.example> FOO=bar\r\n'),
  after('RET and ENVID', 'MAIL FROM:<a@b.example> RET=HDRS ENVID=x\r\n'),
  after('AUTH', 'MAIL FROM:<a@b.example> AUTH=<>\r\n'),
  after('NOTIFY and ORCPT', mail, 'RCPT TO:<c@d.example> NOTIFY=NEVER ORCPT=rfc822;c@d.example\r\n'),
  after('unknown RCPT parameter', mail, 'RCPT TO:<c@d.example> FOO=bar\r\n'),
  after('non-ASCII with SMTPUTF8', 'MAIL FROM:<ä@b.example> SMTPUTF8\r\n'),
  after('non-ASCII without SMTPUTF8', 'MAIL FROM:<ä@b.example>\r\n'),
  { name: 'parameter after HELO', steps: ['HELO c.example\r\n', 'MAIL FROM:<a@b.example> SIZE=1\r\n'] },

  body('empty body', '.\r\n'),
  body('dot-stuffing', '..\r\n..x\r\n...\r\n\r\n.\r\n'),
  body('8-bit and NUL in the body', '\xff\0\x80\r\n.\r\n'),
  body('LF . LF', 'a\n.\nb\r\n.\r\n'),
  body('LF . CRLF', 'a\n.\r\nb\r\n.\r\n'),
  body('CRLF . LF', 'a\r\n.\nb\r\n.\r\n'),
  body('CR . CR', 'a\r.\rb\r\n.\r\n'),
  body('CR . CRLF', 'a\r.\r\nb\r\n.\r\n'),
  body('dots behind a bare LF', 'a\n..b\r\n.\r\n'),
  body('bare CR and LF', 'a\rb\nc\r\r\n.\r\n'),
  body('a body too large', `${`${'x'.repeat(98)}\r\n`.repeat(11)}.\r\n`),
  body('a line beyond 1,000 octets', `${'x'.repeat(1_200)}\r\n.\r\n`),
  after('a body behind a refused DATA', mail, {
    send: `DATA\r\nMAIL FROM:<evil@x.example>\r\n${rcpt}${data}bad\r\n.\r\n`,
    replies: 5,
  }),
];

/** What the client saw, reply codes and the end of the connection, and what was stored. */
export interface Outcome {
  readonly replies: string;
  readonly mails: readonly string[];
}

export async function holdDialogue(peer: Peer, dialogue: PeerDialogue): Promise<Outcome> {
  const client = await connectWireClient({ port: peer.port, deadlineMs: 1_500 });
  const seen: string[] = [];
  const see = async (): Promise<boolean> => {
    try {
      seen.push((await client.reply()).slice(0, 3));
      return true;
    } catch (error) {
      seen.push(/closed by the server/.test(String(error)) ? 'closed' : 'silence');
      return false;
    }
  };
  let alive = await see();
  for (const step of dialogue.steps) {
    if (!alive) break;
    const { send, replies } = typeof step === 'string' ? { send: step, replies: 1 } : step;
    client.send(Buffer.from(send, /[^\0-\xff]/.test(send) || send.includes('ä') ? 'utf8' : 'latin1'));
    for (let count = 0; count < replies && alive; count++) alive = await see();
  }
  client.destroy();
  return { replies: seen.join(' '), mails: await peer.takeMails() };
}
