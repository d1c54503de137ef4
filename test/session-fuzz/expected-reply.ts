/**
 * What RFC 5321 lets a server answer to one command line. Knows nothing of the code under test: its grammar is that of the
 * RFCs, and where a server may be more lenient than they are, both answers are right.
 * Spec: RFC 5321 §4.1.1, §4.1.4, §4.5.3.1, RFC 3030 §2, RFC 3207 §4
 */

/** What a client can know of a session from what it said and what it was told. */
export interface SessionView {
  readonly hello: 'EHLO' | 'HELO' | null;
  readonly encrypted: boolean;
  readonly tls: 'off' | 'offered' | 'required';
  /** A transaction is open. */
  readonly mail: boolean;
  readonly recipients: number;
  /** BDAT has begun in this transaction. */
  readonly chunking: boolean;
}

export interface Bounds {
  readonly maxMessageBytes: number;
  readonly maxRecipients: number;
}

/** `yes`: it has to succeed; `no`: it must not; `either`: the RFC leaves it open. */
export type Outcome = 'yes' | 'no' | 'either';

export interface CommandLine {
  /** Upper case; empty where the line does not begin with letters. */
  readonly verb: string;
  /** Without the line end and blanks before it. */
  readonly text: string;
  readonly outcome: Outcome;
  /** Codes of success. */
  readonly success: readonly number[];
  /** With CRLF. */
  readonly ended: boolean;
  /** Longer than RFC 5321 §4.5.3.1.4 has it, and refused for that. */
  readonly overlong: boolean;
  /** A BDAT of which nobody can say where its octets end: the session has to end. */
  readonly mustClose: boolean;
  /** The session may end behind a refusal: the client speaks no SMTP, or its line has no end. */
  readonly mayClose: boolean;
}

const maxLineBytes = 512;
/** With every extension's parameters and addresses; in between a server may take MAIL and RCPT. */
const maxExtendedLineBytes = 2_048;
/** Sure to be more than a server reads through. */
export const endlessBytes = 32 * 1024;

const successOf: Readonly<Record<string, readonly number[]>> = {
  EHLO: [250],
  HELO: [250],
  MAIL: [250],
  RCPT: [250, 251],
  DATA: [354],
  RSET: [250],
  NOOP: [250],
  VRFY: [250, 251, 252],
  HELP: [211, 214],
  QUIT: [221],
  STARTTLS: [220],
};

const otherProtocols = /^(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI)\b/i;
const chunk = /^BDAT +(\d{1,16})( +LAST)?$/i;
const simpleAddress = '[a-z0-9]+(?:\\.[a-z0-9]+)*@[a-z0-9]+(?:\\.[a-z0-9]+)+';
const simpleMail = new RegExp(
  `^MAIL FROM:<(?:${simpleAddress})?>(?: SIZE=(\\d{1,9}))?(?: BODY=(?:7BIT|8BITMIME))?$`,
  'i',
);
const simpleRcpt = new RegExp(`^RCPT TO:<${simpleAddress}>$`, 'i');

/** Octets that follow the command unasked; null when the line is no BDAT, or one that is malformed. */
export function chunkOf(line: string): { readonly sizeBytes: number; readonly last: boolean } | null {
  const found = line.endsWith('\r\n') && line.length <= maxLineBytes ? chunk.exec(textOf(line)) : null;
  if (found === null || !Number.isSafeInteger(Number(found[1]))) return null;
  return { sizeBytes: Number(found[1]), last: found[2] !== undefined };
}

const textOf = (line: string): string => line.replace(/\r?\n$/, '').replace(/[ \t]+$/, '');

/** `line` with its line end, one character for each octet. */
export function readCommand(line: string, view: SessionView, bounds: Bounds): CommandLine {
  const text = textOf(line);
  const verb = /^[a-z]+(?=[ \t]|$)/i.exec(text)?.[0].toUpperCase() ?? '';
  const overlong = line.length > (verb === 'MAIL' || verb === 'RCPT' ? maxExtendedLineBytes : maxLineBytes);
  const mustClose = /^[^a-z0-9_]*BDAT/i.test(line) && chunkOf(line) === null;
  const mayClose = otherProtocols.test(text) || line.length > endlessBytes;
  const ended = line.endsWith('\r\n');
  const command = { verb, text, success: successOf[verb] ?? [], ended, overlong, mustClose, mayClose };
  // RFC 5321 §2.3.8: only CRLF ends a line. No control character stands in any command.
  const broken = !ended || overlong || mustClose || /[\x00-\x08\x0a-\x1f\x7f]/.test(text);
  if (broken || command.success.length === 0) return { ...command, outcome: 'no' };
  const welcome = isWelcome(verb, view, bounds);
  return { ...command, outcome: welcome ? syntaxOutcome(verb, text, line.length, bounds) : 'no' };
}

/** RFC 5321 §4.1.4 */
function isWelcome(verb: string, view: SessionView, bounds: Bounds): boolean {
  const secret = view.tls !== 'required' || view.encrypted;
  switch (verb) {
    case 'STARTTLS':
      return view.tls !== 'off' && !view.encrypted && !view.mail;
    case 'MAIL':
      return secret && view.hello !== null && !view.mail;
    case 'RCPT':
      return secret && view.mail && !view.chunking && view.recipients < bounds.maxRecipients;
    case 'DATA':
      return secret && view.mail && !view.chunking && view.recipients > 0;
    default:
      return true;
  }
}

function syntaxOutcome(verb: string, text: string, lineBytes: number, bounds: Bounds): Outcome {
  const plain = /^[\x20-\x7e]*$/.test(text);
  switch (verb) {
    case 'EHLO':
      if (text.length === verb.length) return 'no';
      return /^EHLO [a-z0-9.-]+$/i.test(text) ? 'yes' : 'either';
    case 'HELO':
      return /^HELO [a-z0-9.-]+$/i.test(text) ? 'yes' : 'either';
    case 'MAIL': {
      const found = lineBytes <= maxLineBytes ? simpleMail.exec(text) : null;
      if (found === null) return /^MAIL[ \t]+FROM:/i.test(text) ? 'either' : 'no';
      if (/<(blocked|broken)@/i.test(text)) return 'no';
      return Number(found[1] ?? 0) > bounds.maxMessageBytes ? 'no' : 'yes';
    }
    case 'RCPT':
      if (/<(no|broken)@/i.test(text)) return 'no';
      if (lineBytes <= maxLineBytes && simpleRcpt.test(text)) return 'yes';
      return /^RCPT[ \t]+TO:/i.test(text) ? 'either' : 'no';
    case 'NOOP':
    case 'HELP':
      return plain ? 'yes' : 'either';
    case 'VRFY':
      if (text.length === verb.length) return 'no';
      return plain ? 'yes' : 'either';
    default:
      return text.length === verb.length ? 'yes' : 'no';
  }
}
