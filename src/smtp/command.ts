/**
 * One command line, taken apart and judged by its syntax alone; whether it is welcome now is the engine's business.
 * Spec: RFC 5321 §4.1.1, RFC 1870 §4, RFC 3030 §2, RFC 3207 §4, RFC 6152 §3, RFC 6531 §3.4
 */
import { isUtf8 } from 'node:buffer';
import { parsePath } from './path.ts';
import type { Mailbox, MailCommand } from './receiver.ts';
import type { ReplyName } from './replies.ts';

export type Command =
  | { readonly verb: 'EHLO' | 'HELO'; readonly heloName: string }
  | { readonly verb: 'MAIL'; readonly mail: MailCommand }
  | { readonly verb: 'RCPT'; readonly recipient: Mailbox; readonly nonAscii: boolean }
  | { readonly verb: 'DATA' | 'STARTTLS' | 'RSET' | 'NOOP' | 'VRFY' | 'HELP' | 'QUIT' }
  /** `sizeBytes` octets follow unasked. */
  | { readonly verb: 'BDAT'; readonly sizeBytes: number; readonly last: boolean }
  | { readonly verb: 'other-protocol' };

export type Verb = Command['verb'];

/** `verb` is null when there is no such command. */
export interface Malformed {
  readonly verb: Verb | null;
  readonly malformed: ReplyName;
}

const malformed = (verb: Verb | null, name: ReplyName): Malformed => ({ verb, malformed: name });

/** What a browser, or a server made to speak to us by somebody else's web page, would begin with. */
const otherProtocolVerbs = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'PRI',
]);

/**
 * `line` is without its CRLF. `extended` says that the client greeted with EHLO: HELO has no parameters.
 */
export function parseCommand(line: Buffer, extended: boolean): Command | Malformed {
  // RFC 5321 §4.1.1: trailing white space is tolerated.
  const text = decode(line).replace(/[ \t]+$/, '');
  const space = text.indexOf(' ');
  const verb = (space === -1 ? text : text.slice(0, space)).toUpperCase();
  const rest = space === -1 ? '' : text.slice(space + 1);
  switch (verb) {
    case 'EHLO':
    case 'HELO':
      return parseHello(verb, rest.trim());
    case 'MAIL':
      return parseMail(rest, extended);
    case 'RCPT':
      return parseRcpt(rest);
    case 'DATA':
    case 'STARTTLS':
    case 'RSET':
    case 'QUIT':
      return rest === '' ? { verb } : malformed(verb, 'syntax-error');
    case 'NOOP':
    case 'HELP':
      return isPrintable(rest) ? { verb } : malformed(verb, 'syntax-error');
    case 'VRFY':
      return rest !== '' && isPrintable(rest) ? { verb } : malformed(verb, 'syntax-error');
    case 'BDAT':
      return parseBdat(rest);
    default:
      if (looksLikeBdat(text)) return malformed('BDAT', 'malformed-chunk');
      return otherProtocolVerbs.has(verb) ? { verb: 'other-protocol' } : malformed(null, 'unknown-command');
  }
}

/** Bytes that are no UTF-8 become C1 controls or letters that no grammar here takes without SMTPUTF8. */
function decode(line: Buffer): string {
  const text = line.toString('latin1');
  if (!/[\x80-\xff]/.test(text)) return text;
  return isUtf8(line) ? line.toString('utf8') : text.replace(/[\x80-\xff]/g, '\x80');
}

const isPrintable = (text: string): boolean => !/[\x00-\x1f\x7f-\x9f]/.test(text);

/** QUIRK: any name without specials passes (RFC 5321 §4.1.4 lets us not refuse for it): office machines send theirs. */
function parseHello(verb: 'EHLO' | 'HELO', name: string): Command | Malformed {
  const valid = name.length > 0 && name.length <= 255 && /^[!#-'*+\-./0-9:=?A-Z[\]^_`a-z{|}~]+$/.test(name);
  return valid ? { verb, heloName: name } : malformed(verb, 'syntax-error');
}

/**
 * The index where the path begins, or -1.
 * QUIRK: spaces after the colon pass. RFC 5321 §3.3 forbids them and calls them a common error; Postfix and aiosmtpd
 * take them, devices and old ERP systems send them, and nothing else could be meant.
 */
function pathStart(rest: string, keyword: 'FROM:' | 'TO:'): number {
  if (rest.slice(0, keyword.length).toUpperCase() !== keyword) return -1;
  let index = keyword.length;
  while (rest[index] === ' ') index++;
  return index;
}

function parseMail(rest: string, extended: boolean): Command | Malformed {
  const start = pathStart(rest, 'FROM:');
  if (start === -1) return malformed('MAIL', 'syntax-error');
  const path = parsePath(rest, start);
  if (path === null || path.mailbox?.domain === '') return malformed('MAIL', 'malformed-sender');
  const parameters = parseParameters(rest, path.next);
  if (parameters === null) return malformed('MAIL', 'syntax-error');
  if (!extended && parameters.size > 0) return malformed('MAIL', 'unknown-parameter');

  let declaredSizeBytes: number | null = null;
  let body: MailCommand['body'] = '7BIT';
  let smtputf8 = false;
  for (const [keyword, value] of parameters) {
    if (keyword === 'SIZE') {
      // RFC 1870 §4: 1*20DIGIT. A value beyond 2^53 loses its last digits and is still far over any limit.
      if (value === null || !/^\d{1,20}$/.test(value)) return malformed('MAIL', 'syntax-error');
      declaredSizeBytes = Number(value);
    } else if (keyword === 'BODY') {
      if (value === null) return malformed('MAIL', 'syntax-error');
      const upper = value.toUpperCase();
      // BINARYMIME (RFC 3030 §3) is not offered: see docs/decisions.md.
      if (upper !== '7BIT' && upper !== '8BITMIME') return malformed('MAIL', 'unknown-parameter');
      body = upper;
    } else if (keyword === 'SMTPUTF8') {
      if (value !== null) return malformed('MAIL', 'syntax-error');
      smtputf8 = true;
    } else return malformed('MAIL', 'unknown-parameter');
  }
  if (path.nonAscii && !smtputf8) return malformed('MAIL', 'non-ascii-address');
  return { verb: 'MAIL', mail: { reversePath: path.mailbox, declaredSizeBytes, body, smtputf8 } };
}

function parseRcpt(rest: string): Command | Malformed {
  const start = pathStart(rest, 'TO:');
  if (start === -1) return malformed('RCPT', 'syntax-error');
  const path = parsePath(rest, start);
  if (path === null || path.mailbox === null) return malformed('RCPT', 'malformed-recipient');
  const parameters = parseParameters(rest, path.next);
  if (parameters === null) return malformed('RCPT', 'syntax-error');
  if (parameters.size > 0) return malformed('RCPT', 'unknown-parameter');
  return { verb: 'RCPT', recipient: path.mailbox, nonAscii: path.nonAscii };
}

/** Spec: RFC 3030 §2 (1*DIGIT; a size that a double cannot count is malformed) */
function parseBdat(rest: string): Command | Malformed {
  const found = /^ *(\d{1,16})( +LAST)?$/i.exec(rest);
  const sizeBytes = Number(found?.[1] ?? Number.NaN);
  if (found === null || !Number.isSafeInteger(sizeBytes)) return malformed('BDAT', 'malformed-chunk');
  return { verb: 'BDAT', sizeBytes, last: found[2] !== undefined };
}

/** A line that may have been meant as BDAT has unasked bytes behind it, of which nobody can say where they end. */
export function looksLikeBdat(text: string): boolean {
  return /^\W*BDAT/i.test(text);
}

/** Keyword in upper case to value. Errors: null on bad syntax or a keyword given twice. Spec: RFC 5321 §4.1.2 */
function parseParameters(rest: string, start: number): ReadonlyMap<string, string | null> | null {
  const found = new Map<string, string | null>();
  if (start >= rest.length) return found;
  if (rest[start] !== ' ') return null;
  for (const word of rest.slice(start + 1).split(' ')) {
    if (word === '') continue;
    const equals = word.indexOf('=');
    const keyword = (equals === -1 ? word : word.slice(0, equals)).toUpperCase();
    const value = equals === -1 ? null : word.slice(equals + 1);
    if (!/^[A-Z0-9][A-Z0-9-]*$/.test(keyword)) return null;
    if (value !== null && !/^[\x21-\x3c\x3e-\x7e]+$/.test(value)) return null;
    if (found.has(keyword)) return null;
    found.set(keyword, value);
  }
  return found;
}
