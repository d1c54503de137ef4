/**
 * Paths and mailboxes as MAIL and RCPT carry them. One pass, no backtracking, no regular expression over the input.
 * Spec: RFC 5321 §4.1.2 and §4.1.3, RFC 6531 §3.3
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { Mailbox } from './receiver.ts';

/** QUIRK: RFC 5321 §4.5.3.1.1 promises 64; bounce addresses of large senders are longer and lose orders at 64. */
export const maxLocalPartOctets = 255;
/** RFC 5321 §4.5.3.1.2 */
export const maxDomainOctets = 255;
const maxLabelLength = 63;

export interface ParsedPath {
  /** null for `<>`. */
  readonly mailbox: Mailbox | null;
  /** Index behind the closing `>`. */
  readonly next: number;
  /** Needs SMTPUTF8. */
  readonly nonAscii: boolean;
}

const atextMarks = "!#$%&'*+-/=?^_`{|}~";
const isAlphanumeric = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39);
/** RFC 6531 §3.3 adds all of UTF-8; C1 controls (U+0080–U+009F) are no text in any script. */
const isNonAscii = (code: number): boolean => code > 0x9f;
const atext = new Uint8Array(128).map((_, code) =>
  isAlphanumeric(code) || atextMarks.includes(String.fromCharCode(code)) ? 1 : 0,
);
const isAtext = (code: number): boolean => (code < 128 ? atext[code] === 1 : isNonAscii(code));

const quote = 0x22;
const backslash = 0x5c;
const dot = 0x2e;
const hyphen = 0x2d;
const at = 0x40;
const underscore = 0x5f;

/** Reads a path that begins at `start`. Errors: null when it is malformed; `<>` and `<Postmaster>` are the caller's. */
export function parsePath(text: string, start: number): ParsedPath | null {
  if (text[start] !== '<') return null;
  if (text[start + 1] === '>') return { mailbox: null, next: start + 2, nonAscii: false };
  const from = text.charCodeAt(start + 1) === at ? skipSourceRoute(text, start + 1) : start + 1;
  if (from === -1) return null;
  const localEnd = text.charCodeAt(from) === quote ? quotedStringEnd(text, from) : dotStringEnd(text, from);
  if (localEnd === -1) return null;
  const written = text.slice(from, localEnd);
  if (octets(written) > maxLocalPartOctets) return null;
  const localPart = written.startsWith('"') ? unquote(written) : written;

  if (text[localEnd] === '>') {
    // RFC 5321 §4.1.1.3: the one address that needs no domain.
    if (localPart.toLowerCase() !== 'postmaster') return null;
    return { mailbox: { localPart, domain: '', address: written }, next: localEnd + 1, nonAscii: false };
  }
  if (text.charCodeAt(localEnd) !== at) return null;
  const domainEnd = anyDomainEnd(text, localEnd + 1);
  if (domainEnd === -1 || text[domainEnd] !== '>') return null;
  const domain = text.slice(localEnd + 1, domainEnd);
  const address = text.slice(from, domainEnd);
  return { mailbox: { localPart, domain, address }, next: domainEnd + 1, nonAscii: hasNonAscii(address) };
}

/** `@one,@two:` is read and ignored, as RFC 5321 §3.6.1 and appendix C ask. Returns the index behind the colon. */
function skipSourceRoute(text: string, start: number): number {
  let index = start;
  for (;;) {
    if (text.charCodeAt(index) !== at) return -1;
    const end = domainEnd(text, index + 1);
    if (end === -1) return -1;
    if (text[end] === ':') return end + 1;
    if (text[end] !== ',') return -1;
    index = end + 1;
  }
}

function dotStringEnd(text: string, start: number): number {
  let index = start;
  let atomLength = 0;
  for (; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === dot) {
      if (atomLength === 0) return -1;
      atomLength = 0;
    } else if (isAtext(code)) atomLength++;
    else break;
  }
  return atomLength === 0 ? -1 : index;
}

function quotedStringEnd(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === quote) return index + 1;
    if (code === backslash) {
      index++;
      const escaped = text.charCodeAt(index);
      if (!(escaped >= 0x20 && escaped <= 0x7e)) return -1;
    } else if (code < 0x20 || (code > 0x7e && !isNonAscii(code))) return -1;
  }
  return -1;
}

const unquote = (written: string): string => written.slice(1, -1).replace(/\\(.)/g, '$1');

function anyDomainEnd(text: string, start: number): number {
  return text[start] === '[' ? addressLiteralEnd(text, start) : domainEnd(text, start);
}

/** QUIRK: underscores pass (RFC 5321 §4.1.2 has none): machine names like `srv_01.example` send real orders. */
function domainEnd(text: string, start: number): number {
  let index = start;
  let labelStart = start;
  let last = dot;
  for (; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === dot) {
      if (last === dot || last === hyphen || index - labelStart > maxLabelLength) return -1;
      labelStart = index + 1;
    } else if (code === hyphen) {
      if (last === dot) return -1;
    } else if (!(isAlphanumeric(code) || code === underscore || isNonAscii(code))) break;
    last = code;
  }
  if (last === dot || last === hyphen || index - labelStart > maxLabelLength) return -1;
  return octets(text.slice(start, index)) > maxDomainOctets ? -1 : index;
}

/** Only the two kinds that exist; a tag nobody registered is a mistake. Spec: RFC 5321 §4.1.3 */
function addressLiteralEnd(text: string, start: number): number {
  const end = text.indexOf(']', start);
  if (end === -1 || end - start > 64) return -1;
  const inside = text.slice(start + 1, end);
  const valid = /^ipv6:/i.test(inside) ? isIPv6(inside.slice(5)) && !inside.includes('%') : isIPv4(inside);
  return valid ? end + 1 : -1;
}

function octets(text: string): number {
  return hasNonAscii(text) ? Buffer.byteLength(text) : text.length;
}

function hasNonAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return true;
  return false;
}
