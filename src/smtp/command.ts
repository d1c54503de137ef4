/**
 * One command line, taken apart and judged by its syntax alone; whether it is welcome now is the engine's business.
 * Spec: RFC 5321 §4.1.1, RFC 1870 §4, RFC 3030 §2, RFC 3207 §4, RFC 3461 §4, RFC 4954 §5, RFC 6152 §3, RFC 6531 §3.4
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
 * `line` is without its CRLF. `extended` says that the client greeted with EHLO.
 * QUIRK: tabs, and more than one space, pass between verb and arguments (RFC 5321 §4.1.1 has one space).
 */
export function parseCommand(line: Buffer, extended: boolean): Command | Malformed {
  // RFC 5321 §4.1.1: trailing white space is tolerated.
  const text = withoutTrailingBlanks(decode(line));
  const verbEnd = skipWhile(text, 0, (character) => !isBlank(character));
  // Letters only: `toUpperCase` makes an S of a long s, and STARTTLS of what nobody on the way takes for it.
  const written = text.slice(0, verbEnd);
  const verb = /^[a-z]+$/i.test(written) ? written.toUpperCase() : '';
  const rest = text.slice(skipWhile(text, verbEnd, isBlank));
  switch (verb) {
    case 'EHLO':
    case 'HELO':
      return parseHello(verb, decodeName(line).slice(text.length - rest.length, text.length));
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
      return parseBdat(text.slice(verbEnd));
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

/** A machine without UTF-8 sends its name in a code page. Which one is not known: what windows-1252 lacks is replaced. */
function decodeName(line: Buffer): string {
  return isUtf8(line) ? line.toString('utf8') : windows1252.decode(line).replace(/[\x80-\x9f]/g, '\ufffd');
}

const windows1252 = new TextDecoder('windows-1252');

const isPrintable = (text: string): boolean => !/[\x00-\x1f\x7f-\x9f]/.test(text);

const isBlank = (character: string): boolean => character === ' ' || character === '\t';

/** The first index from `start` on whose character does not match. */
function skipWhile(text: string, start: number, matches: (character: string) => boolean): number {
  let index = start;
  while (index < text.length && matches(text.charAt(index))) index++;
  return index;
}

/** No regular expression: `/ +$/` begins anew at each blank of a run that is not the last. */
function withoutTrailingBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && isBlank(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/**
 * QUIRK: any printable name passes, and with HELO none at all: office machines send theirs (`my scanner`, `CORP\PC01`).
 * Nothing depends on it, and RFC 5321 §4.1.4 forbids to refuse mail because of it.
 */
function parseHello(verb: 'EHLO' | 'HELO', name: string): Command | Malformed {
  const isMissing = name === '' && verb === 'EHLO';
  return isMissing || !isPrintable(name) ? malformed(verb, 'syntax-error') : { verb, heloName: name };
}

/**
 * The index where the path begins, or -1.
 * QUIRK: white space behind the colon passes. RFC 5321 §3.3 forbids it and calls it a common error; Postfix and aiosmtpd
 * take it, devices and old ERP systems send it, and nothing else could be meant.
 */
function pathStart(rest: string, keyword: 'FROM:' | 'TO:'): number {
  if (rest.slice(0, keyword.length).toUpperCase() !== keyword) return -1;
  return skipWhile(rest, keyword.length, isBlank);
}

/**
 * QUIRK: clients send them without having been offered DSN or AUTH. They ask for reports, or tell who logged in
 * elsewhere: nothing that we do depends on them.
 */
const ignoredMailParameters = new Set(['RET', 'ENVID', 'AUTH']);
const ignoredRcptParameters = new Set(['NOTIFY', 'ORCPT']);

function parseMail(rest: string, extended: boolean): Command | Malformed {
  const start = pathStart(rest, 'FROM:');
  if (start === -1) return malformed('MAIL', 'syntax-error');
  const path = parsePath(rest, start, 'reverse-path');
  if (path === null || path.mailbox?.domain === '') return malformed('MAIL', 'malformed-sender');
  const parameters = parseParameters(rest, path.next, ignoredMailParameters);
  if (parameters === null) return malformed('MAIL', 'syntax-error');

  let declaredSizeBytes: number | null = null;
  let body: MailCommand['body'] = '7BIT';
  let smtputf8 = false;
  // QUIRK: those of widespread extensions pass behind HELO too (RFC 5321 §2.2.1: none does): old devices mix the two.
  for (const [keyword, value] of parameters) {
    if (keyword === 'SIZE') {
      // RFC 1870 §4: 1*20DIGIT. A value beyond 2^53 loses its last digits and is still far over any limit.
      if (value === null || !/^\d{1,20}$/.test(value)) return malformed('MAIL', 'syntax-error');
      declaredSizeBytes = Number(value);
    } else if (keyword === 'BODY') {
      if (value === null) return malformed('MAIL', 'syntax-error');
      const upper = value.toUpperCase();
      // BINARYMIME (RFC 3030 §3) is not offered: see docs/decisions/035-chunking-yes-binarymime-no.md.
      if (upper !== '7BIT' && upper !== '8BITMIME') return malformed('MAIL', 'unknown-parameter');
      body = upper;
    } else if (keyword === 'SMTPUTF8' && extended) {
      if (value !== null) return malformed('MAIL', 'syntax-error');
      smtputf8 = true;
    } else if (!ignoredMailParameters.has(keyword)) return malformed('MAIL', 'unknown-parameter');
  }
  if (path.nonAscii && !smtputf8) return malformed('MAIL', 'non-ascii-address');
  return { verb: 'MAIL', mail: { reversePath: path.mailbox, declaredSizeBytes, body, smtputf8 } };
}

function parseRcpt(rest: string): Command | Malformed {
  const start = pathStart(rest, 'TO:');
  if (start === -1) return malformed('RCPT', 'syntax-error');
  const path = parsePath(rest, start, 'forward-path');
  if (path === null || path.mailbox === null) return malformed('RCPT', 'malformed-recipient');
  const parameters = parseParameters(rest, path.next, ignoredRcptParameters);
  if (parameters === null) return malformed('RCPT', 'syntax-error');
  for (const keyword of parameters.keys())
    if (!ignoredRcptParameters.has(keyword)) return malformed('RCPT', 'unknown-parameter');
  return { verb: 'RCPT', recipient: path.mailbox, nonAscii: path.nonAscii };
}

/**
 * No tabs: who stands between and does not take them for blanks would read the octets as commands.
 * Spec: RFC 3030 §2 (1*DIGIT; a size that a double cannot count is malformed)
 */
function parseBdat(rest: string): Command | Malformed {
  const found = /^ +(\d{1,16})( +LAST)?$/i.exec(rest);
  const sizeBytes = Number(found?.[1] ?? Number.NaN);
  if (found === null || !Number.isSafeInteger(sizeBytes)) return malformed('BDAT', 'malformed-chunk');
  return { verb: 'BDAT', sizeBytes, last: found[2] !== undefined };
}

/** A line that may have been meant as BDAT has unasked bytes behind it, of which nobody can say where they end. */
export function looksLikeBdat(text: string): boolean {
  return /^\W*BDAT/i.test(text);
}

/**
 * Keyword in upper case to value. Errors: null on bad syntax or a keyword given twice. Spec: RFC 5321 §4.1.2
 * QUIRK: the value of one that is ignored may be any printable text (xtext has no `=`, and senders forget that).
 */
function parseParameters(
  rest: string,
  start: number,
  ignored: ReadonlySet<string>,
): ReadonlyMap<string, string | null> | null {
  const found = new Map<string, string | null>();
  if (start < rest.length && !isBlank(rest.charAt(start))) return null;
  for (const word of rest.slice(start).split(/[ \t]/)) {
    if (word === '') continue;
    const equals = word.indexOf('=');
    const written = equals === -1 ? word : word.slice(0, equals);
    const value = equals === -1 ? null : word.slice(equals + 1);
    if (!/^[a-z0-9][a-z0-9-]*$/i.test(written)) return null;
    const keyword = written.toUpperCase();
    if (value !== null && !(ignored.has(keyword) ? isPrintable(value) : isParameterValue(value))) return null;
    if (found.has(keyword)) return null;
    found.set(keyword, value);
  }
  return found;
}

const isParameterValue = (value: string): boolean => /^[\x21-\x3c\x3e-\x7e]+$/.test(value);
