/**
 * Every reply of the protocol, in one table; those of the application are `Refusal`s. `docs/replies.md` has both for readers,
 * and a test holds them together. The class digit of the enhanced code is computed, so it can never disagree with the reply
 * code. Texts are generic: they never name configuration, a library or an exception.
 * Spec: RFC 5321 §4.2, RFC 2034 §4, RFC 3463, RFC 6531 §3.5
 */
export interface Reply {
  /** What it answers, as logs and metrics name it. */
  readonly condition: string;
  readonly code: number;
  /** Second and third digit of the enhanced code; null where RFC 2034 wants none (220, EHLO, HELO, 354). */
  readonly subject: number | null;
  readonly detail: number | null;
  /** May hold `{hostName}`, `{heloName}`, `{acknowledgement}` or `{sessionId}`. */
  readonly text: string;
}

type Unnamed = Omit<Reply, 'condition'>;

const plain = (code: number, text: string): Unnamed => ({ code, subject: null, detail: null, text });
const reply = (code: number, subject: number, detail: number, text: string): Unnamed => ({
  code,
  subject,
  detail,
  text,
});

const table = {
  greeting: plain(220, '{hostName} ESMTP'),
  'helo-ok': plain(250, '{hostName}'),
  'ehlo-ok': plain(250, '{hostName} greets {heloName}'),
  'sender-ok': reply(250, 1, 0, 'Sender ok'),
  'recipient-ok': reply(250, 1, 5, 'Recipient ok'),
  'tls-ready': reply(220, 0, 0, 'Ready to start TLS'),
  'start-mail': plain(354, 'Start mail input; end with <CRLF>.<CRLF>'),
  accepted: reply(250, 0, 0, '{acknowledgement}'),
  'chunk-ok': reply(250, 0, 0, 'Chunk received'),
  'reset-ok': reply(250, 0, 0, 'Reset'),
  'noop-ok': reply(250, 0, 0, 'OK'),
  'cannot-verify': reply(252, 5, 0, 'Cannot verify; send mail and see'),
  help: reply(214, 0, 0, 'Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT'),
  goodbye: reply(221, 0, 0, 'Goodbye'),

  fault: reply(451, 3, 0, 'Temporary failure, try again later ({sessionId})'),

  'malformed-sender': reply(501, 1, 7, 'Malformed sender address'),
  'malformed-recipient': reply(501, 1, 3, 'Malformed recipient address'),
  'non-ascii-address': reply(553, 6, 7, 'Non-ASCII address without SMTPUTF8'),
  'unknown-parameter': reply(555, 5, 4, 'Parameter not recognized or not implemented'),
  'too-many-recipients': reply(452, 5, 3, 'Too many recipients'),
  'declared-too-large': reply(552, 3, 4, 'Message too large'),
  'too-large': reply(552, 3, 4, 'Message too large'),
  'tls-required': reply(530, 7, 0, 'Must issue a STARTTLS command first'),
  'no-valid-recipient': reply(554, 5, 1, 'No valid recipients'),
  'bad-sequence': reply(503, 5, 1, 'Bad sequence of commands'),
  'syntax-error': reply(501, 5, 4, 'Syntax error in parameters'),
  'malformed-chunk': reply(501, 5, 4, 'Malformed chunk size, closing connection'),
  'unknown-command': reply(500, 5, 2, 'Command not recognized'),
  'bare-line-feed': reply(500, 5, 2, 'Lines must end with CR LF'),
  'line-too-long': reply(500, 5, 2, 'Line too long'),
  'too-many-errors': reply(421, 7, 0, 'Too many errors, closing connection'),
  'mail-after-refused-data': reply(421, 7, 0, 'Mail sent after a refused DATA, closing connection'),
  'too-many-connections-from-address': reply(421, 7, 0, 'Too many connections from your address, try again later'),
  'too-many-connections': reply(421, 3, 2, 'Too many connections in all, try again later'),
  'early-talker': reply(554, 5, 1, 'Client spoke before the greeting'),
  'other-protocol': reply(554, 5, 1, 'This is an SMTP server'),
  'idle-timeout': reply(421, 4, 2, 'Timeout, closing connection'),
  'shutting-down': reply(421, 3, 2, 'Service shutting down, try again later'),
} as const satisfies Record<string, Unnamed>;

export type ReplyName = keyof typeof table;

export const replies = Object.fromEntries(
  Object.entries(table).map(([condition, unnamed]) => [condition, { condition, ...unnamed }]),
) as Readonly<Record<ReplyName, Reply>>;

/** How an application refuses a sender, a recipient or a mail. Made by `createRefusal`. */
export interface Refusal extends Reply {
  readonly subject: number;
  readonly detail: number;
  /** May hold `{sessionId}`. */
  readonly text: string;
}

/**
 * Errors: `RangeError` for what is no refusal or cannot be sent: a code other than 4xx and 5xx, a text that is not one short
 * line of printable ASCII, a condition that is the protocol's own or could not be a label.
 */
export function createRefusal(refusal: Refusal): Refusal {
  const { condition, code, subject, detail, text } = refusal;
  const isDigits = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 999;
  if (!/^[a-z]+(-[a-z]+)*$/.test(condition) || condition in table) wrong(`a condition of ${JSON.stringify(condition)}`);
  if (!Number.isInteger(code) || code < 400 || code > 599) wrong(`${condition}: a code of ${code}`);
  if (!isDigits(subject) || !isDigits(detail)) wrong(`${condition}: an enhanced code of ${subject}.${detail}`);
  if (text === '' || safeReplyText(text) !== text) wrong(`${condition}: a text of ${JSON.stringify(text)}`);
  return Object.freeze({ ...refusal });
}

function wrong(what: string): never {
  throw new RangeError(`not a refusal: ${what}`);
}

/** `5.1.1`, or null where there is none. Spec: RFC 2034 §4 (same class as the reply code) */
export function enhancedCode(of: Reply): string | null {
  return of.subject === null ? null : `${Math.floor(of.code / 100)}.${of.subject}.${of.detail}`;
}

/** The reply without its line end: `550 5.1.1 Unknown recipient`. */
export function replyLine(of: Reply, text: string = of.text): string {
  const enhanced = enhancedCode(of);
  return enhanced === null ? `${of.code} ${text}` : `${of.code} ${enhanced} ${text}`;
}

const fixedLines: ReadonlyMap<Reply, string> = new Map(
  Object.values(replies)
    .filter(({ text }) => !text.includes('{'))
    .map((fixed) => [fixed, replyLine(fixed)]),
);

/** The line of a reply of the protocol that is always the same; undefined for the others. */
export function fixedReplyLine(of: Reply): string | undefined {
  return fixedLines.get(of);
}

/** RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets; room is left for code, enhanced code and CRLF. */
const maxReplyTextLength = 512 - '250 2.0.000 \r\n'.length;

/** One line of printable ASCII, whatever the application gave: a CR LF in here would be a second reply. */
export function safeReplyText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, maxReplyTextLength);
}
