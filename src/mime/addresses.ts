/**
 * Address lists: mailboxes, groups (shown as their members), comments, quoted names, the obsolete routes. Read the way
 * long-lived mail software does, so that a list without commas still falls into its addresses.
 * Time: linear, whatever the text. Spec: RFC 5322 §3.4, §4.4.
 */
import type { DefectCollector } from './defects.ts';
import { decodeEncodedWords } from './encoded-words.ts';
import type { MailAddress } from './types.ts';

/** A field of 256 KB could hold 128,000 addresses of one letter; what is shown of a mail needs no more than this. */
const maxAddresses = 5_000;

/** RFC 2047 §2 allows 75; some senders put a whole name into one. The bound keeps the time linear. */
const maxEncodedWordLength = 1_000;

const blanks = ' \t\r\n';
const specials = '()<>@,:;."[]';
const atomEnds = blanks + specials;
const phraseEnds = atomEnds.replace('.', '');

interface Cursor {
  readonly text: string;
  at: number;
  comments: string[];
}

interface Mailbox {
  readonly name: string;
  readonly address: string;
}

/** `text` carries bytes as Latin-1 code points. */
export function parseAddresses(text: string, defects: DefectCollector): readonly MailAddress[] {
  const cursor: Cursor = { text, at: 0, comments: [] };
  const addresses: MailAddress[] = [];
  while (cursor.at < text.length && addresses.length < maxAddresses) {
    const mailbox = readMailbox(cursor);
    const address = mailbox === null ? null : decodeMailbox(mailbox, defects);
    if (address !== null) addresses.push(address);
  }
  return addresses;
}

/** Reads on to the end of one mailbox, or past something that is none; always moves forward. */
function readMailbox(cursor: Cursor): Mailbox | null {
  cursor.comments = [];
  skipBlanks(cursor);
  const leading = cursor.comments.length;
  const start = cursor.at;
  const phrase = readPhrase(cursor);
  const next = cursor.text[cursor.at];
  let mailbox: Mailbox | null = null;
  if (next === '.' || next === '@') {
    cursor.at = start;
    cursor.comments.length = leading;
    const address = readAddrSpec(cursor);
    if (address !== '') mailbox = { name: cursor.comments.join(' '), address };
    else skipToComma(cursor);
  } else if (next === '<') {
    const address = readAngleAddress(cursor);
    const comments = cursor.comments.length === 0 ? '' : ` (${cursor.comments.join(' ')})`;
    mailbox = { name: phrase.join(' ') + comments, address };
  } else if (next === ':') {
    // The name of a group: its members follow like others, and the semicolon after them is passed over.
    cursor.at++;
  } else if (phrase.length > 0) {
    mailbox = { name: cursor.comments.join(' '), address: phrase[0] as string };
  } else cursor.at++;
  skipBlanks(cursor);
  if (cursor.text[cursor.at] === ',') cursor.at++;
  return mailbox;
}

/** What cannot be read must not be taken for an address from its middle on. */
function skipToComma(cursor: Cursor): void {
  while (cursor.at < cursor.text.length && cursor.text[cursor.at] !== ',') cursor.at++;
}

function decodeMailbox(mailbox: Mailbox, defects: DefectCollector): MailAddress | null {
  const name = decodeEncodedWords(mailbox.name, defects).trim();
  const address = decodeEncodedWords(mailbox.address, defects);
  if (name === '' && address === '') return null;
  if (!/^[^@\s]+@[^@\s]+$/.test(address)) defects.add('address-malformed');
  return { name: name === '' ? null : name, address };
}

function readPhrase(cursor: Cursor): string[] {
  const words: string[] = [];
  for (;;) {
    skipBlanks(cursor);
    const character = cursor.text[cursor.at];
    if (character === undefined) return words;
    if (character === '"') words.push(readDelimited(cursor, '"'));
    else if (phraseEnds.includes(character)) return words;
    else words.push(readAtom(cursor, phraseEnds));
  }
}

function readAngleAddress(cursor: Cursor): string {
  cursor.at++;
  for (;;) {
    skipBlanks(cursor);
    const character = cursor.text[cursor.at];
    if (character === undefined) return '';
    if (character === '@') {
      // `<@relay,@relay:local@domain>`, the obsolete route: passed over up to its colon.
      cursor.at++;
      readDomain(cursor);
    } else if (character === ':' || character === ',') cursor.at++;
    else if (character === '>') {
      cursor.at++;
      return '';
    } else {
      const address = readAddrSpec(cursor);
      cursor.at++;
      return address;
    }
  }
}

function readAddrSpec(cursor: Cursor): string {
  let localPart = '';
  let gap = '';
  skipBlanks(cursor);
  for (;;) {
    const character = cursor.text[cursor.at];
    if (character === undefined) return localPart;
    if (character !== '"' && character !== '.' && atomEnds.includes(character)) break;
    if (character === '.') {
      cursor.at++;
      localPart += '.';
      skipBlanks(cursor);
      gap = '';
    } else {
      const word = character === '"' ? quote(readDelimited(cursor, '"')) : readAtom(cursor, atomEnds);
      localPart += gap + word;
      gap = skipBlanks(cursor);
    }
  }
  if (cursor.text[cursor.at] !== '@') return localPart;
  cursor.at++;
  const domain = readDomain(cursor);
  return domain === '' ? '' : `${localPart}@${domain}`;
}

/** Empty when it is none, as with two "@": `a@evil.example@good.example` must not pass for either. */
function readDomain(cursor: Cursor): string {
  let domain = '';
  for (;;) {
    skipBlanks(cursor);
    const character = cursor.text[cursor.at];
    if (character === undefined) return domain;
    if (character === '@') return '';
    if (character === '[') domain += `[${readDelimited(cursor, ']')}]`;
    else if (character === '.') {
      domain += '.';
      cursor.at++;
    } else if (atomEnds.includes(character)) return domain;
    else domain += readAtom(cursor, atomEnds);
  }
}

function readAtom(cursor: Cursor, ends: string): string {
  const { text, at: start } = cursor;
  let i = start;
  while (i < text.length) {
    // An encoded word may hold any special, though it must not.
    if (text[i] === '=' && text[i + 1] === '?') i = skipEncodedWord(text, i);
    if (i >= text.length || ends.includes(text[i] as string)) break;
    i++;
  }
  cursor.at = i;
  return text.slice(start, i);
}

/** Behind the encoded word at `open`, or `open` when there is none. */
function skipEncodedWord(text: string, open: number): number {
  const end = Math.min(text.length, open + maxEncodedWordLength);
  let marks = 0;
  for (let i = open + 2; i < end; i++) {
    // Some senders leave blanks in the text itself.
    if (marks < 2 && blanks.includes(text[i] as string)) return open;
    if (text[i] !== '?') continue;
    marks++;
    if (marks > 2) return text[i + 1] === '=' ? i + 2 : open;
  }
  return open;
}

/** Text up to `close`, without the backslashes; the cursor stands on its opening mark. */
function readDelimited(cursor: Cursor, close: string): string {
  const { text } = cursor;
  let out = '';
  let i = cursor.at + 1;
  while (i < text.length && text[i] !== close) {
    if (text[i] === '\\' && i + 1 < text.length) i++;
    out += text[i++];
  }
  cursor.at = i + 1;
  return out;
}

/** White space and comments; gives the white space, and keeps the comments. Comments nest. */
function skipBlanks(cursor: Cursor): string {
  const { text } = cursor;
  let gap = '';
  for (;;) {
    const character = text[cursor.at];
    if (character === '(') cursor.comments.push(readComment(cursor));
    else if (character !== undefined && blanks.includes(character)) {
      if (character !== '\r' && character !== '\n') gap += character;
      cursor.at++;
    } else return gap;
  }
}

function readComment(cursor: Cursor): string {
  const { text } = cursor;
  let out = '';
  let depth = 1;
  let i = cursor.at + 1;
  for (; i < text.length; i++) {
    if (text[i] === '\\' && i + 1 < text.length) i++;
    else if (text[i] === '(') {
      depth++;
      continue;
    } else if (text[i] === ')') {
      if (--depth === 0) break;
      continue;
    }
    out += text[i];
  }
  cursor.at = i + 1;
  return out;
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
