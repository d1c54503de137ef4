/**
 * Paths and mailboxes as MAIL and RCPT carry them. One pass, no backtracking, no regular expression over the input.
 * Spec: RFC 5321 §4.1.2 and §4.1.3, RFC 6531 §3.3
 */
import { isIPv4, isIPv6 } from 'node:net';
import { asciiDomain } from './domain-name.ts';
import type { Mailbox } from './receiver.ts';

/** QUIRK: RFC 5321 §4.5.3.1.1 promises 64; bounce addresses of large senders are longer and lose orders at 64. */
export const maxLocalPartOctets = 255;
/** RFC 5321 §4.5.3.1.2 */
export const maxDomainOctets = 255;
const maxLabelLength = 63;

/** Which of the two a path is; a reverse-path is read more leniently. */
export type PathKind = 'reverse-path' | 'forward-path';

export interface ParsedPath {
  /** null for `<>`. */
  readonly mailbox: Mailbox | null;
  /** Index behind the closing `>`, or behind the address where there are no angle brackets. */
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

/**
 * Reads a path that begins at `start`. Errors: null when it is malformed; `<>` and `<Postmaster>` are the caller's.
 * QUIRK: an address without angle brackets passes where nothing but parameters follows it. Scripts and devices write it.
 */
export function parsePath(text: string, start: number, kind: PathKind): ParsedPath | null {
  if (text[start] !== '<') {
    const path = parseMailbox(text, start, kind);
    return path !== null && isEndOfPath(text[path.next]) ? path : null;
  }
  if (text[start + 1] === '>') return { mailbox: null, next: start + 2, nonAscii: false };
  const from = text.charCodeAt(start + 1) === at ? skipSourceRoute(text, start + 1) : start + 1;
  const path = from === -1 ? null : parseMailbox(text, from, kind);
  return path !== null && text[path.next] === '>' ? { ...path, next: path.next + 1 } : null;
}

const isEndOfPath = (character: string | undefined): boolean =>
  character === undefined || character === ' ' || character === '\t';

/** Shape: `next` is the index behind the address. Whether it may end there is the caller's to say. */
function parseMailbox(text: string, start: number, kind: PathKind): ParsedPath | null {
  const localEnd =
    text.charCodeAt(start) === quote
      ? quotedStringEnd(text, start)
      : dotStringEnd(text, start, kind === 'reverse-path');
  if (localEnd === -1) return null;
  const written = text.slice(start, localEnd);
  if (octets(written) > maxLocalPartOctets) return null;
  const localPart = written.startsWith('"') ? unquote(written) : written;

  if (text.charCodeAt(localEnd) !== at) {
    // RFC 5321 §4.1.1.3: the one address that needs no domain.
    if (localPart.toLowerCase() !== 'postmaster') return null;
    return { mailbox: { localPart, domain: '', address: written }, next: localEnd, nonAscii: false };
  }
  const next = anyDomainEnd(text, localEnd + 1);
  if (next === -1) return null;
  const address = text.slice(start, next);
  const domain = asciiDomain(withoutRootDot(text.slice(localEnd + 1, next)));
  if (domain === null) return null;
  return { mailbox: { localPart, domain, address }, next, nonAscii: hasNonAscii(address) };
}

const withoutRootDot = (domain: string): string => (domain.endsWith('.') ? domain.slice(0, -1) : domain);

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

/**
 * QUIRK: with `emptyAtoms` dots may follow each other and may end it (RFC 5321 §4.1.2 allows neither): docomo gave such
 * addresses to telephones. None begins with a dot.
 */
function dotStringEnd(text: string, start: number, emptyAtoms: boolean): number {
  let index = start;
  let last = dot;
  for (; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === dot) {
      if (last === dot && (index === start || !emptyAtoms)) return -1;
    } else if (!isAtext(code)) break;
    last = code;
  }
  return index === start || (last === dot && !emptyAtoms) ? -1 : index;
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

/**
 * QUIRK: underscores pass (RFC 5321 §4.1.2 has none): machine names like `srv_01.example` send real orders. So does a dot
 * at the end, with which DNS tools write the root.
 */
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
  // `last` is the dot before the first label where there is none.
  if (index === start || last === hyphen || index - labelStart > maxLabelLength) return -1;
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
