/**
 * Address lists: mailboxes, groups (shown as their members), comments, quoted names, the obsolete routes.
 * Time: linear, whatever the text. Spec: RFC 5322 §3.4, §4.4.
 */
import type { DefectCollector } from './defects.ts';
import { decodeEncodedWords } from './encoded-words.ts';
import type { MailAddress } from './types.ts';

/** A field of 256 KB could hold 128,000 addresses of one letter; what is shown of a mail needs no more than this. */
const maxAddresses = 5_000;

/** What has been read of one mailbox. */
interface Mailbox {
  words: string[];
  comments: string[];
  /** Between angle brackets; null when there were none. */
  angle: string | null;
}

/** `text` carries bytes as Latin-1 code points. */
export function parseAddresses(text: string, defects: DefectCollector): readonly MailAddress[] {
  const addresses: MailAddress[] = [];
  let box: Mailbox = { words: [], comments: [], angle: null };
  const close = () => {
    const address = toAddress(box, defects);
    if (address !== null && addresses.length < maxAddresses) addresses.push(address);
    box = { words: [], comments: [], angle: null };
  };
  for (let i = 0; i < text.length; ) {
    const character = text[i] as string;
    if (character === ',' || character === ';') {
      close();
      i++;
    } else if (character === ':') {
      // The name of a group; QUIRK: also what stands before a stray colon.
      box = { words: [], comments: [], angle: null };
      i++;
    } else if (character === '"') {
      const end = skipQuoted(text, i);
      box.words.push(unquote(text.slice(i + 1, end - 1)));
      i = end;
    } else if (character === '(') {
      const end = skipComment(text, i);
      box.comments.push(unquote(text.slice(i + 1, end - 1)));
      i = end;
    } else if (character === '<') {
      const end = skipAngle(text, i);
      box.angle ??= text.slice(i + 1, end - 1);
      i = end;
    } else if (isBlank(character)) {
      i++;
    } else {
      const end = skipAtom(text, i);
      addWord(box, text, i, end);
      i = end;
    }
  }
  close();
  return addresses;
}

/** Joins what no white space parts, so that `a . b @ c` and `"a"@b` stay one address. */
function addWord(box: Mailbox, text: string, start: number, end: number): void {
  const word = text.slice(start, end);
  const last = box.words.at(-1);
  const glued = start > 0 && !isBlank(text[start - 1] as string) && text[start - 1] !== ',' && text[start - 1] !== ')';
  if (last !== undefined && box.angle === null && (glued || /^[@.]/.test(word) || /[@.]$/.test(last.slice(-1)))) {
    const spaced = !glued && !word.includes('@') && !last.includes('@');
    box.words[box.words.length - 1] = spaced ? `${last} ${word}` : last + word;
  } else box.words.push(word);
}

function toAddress(box: Mailbox, defects: DefectCollector): MailAddress | null {
  const display = box.words.join(' ');
  if (box.angle === null) {
    if (display === '') return null;
    const name = box.comments.join(' ');
    return finish(name, display, defects);
  }
  const comments = box.comments.length === 0 ? '' : ` (${box.comments.join(' ')})`;
  return finish(display + comments, withoutRoute(box.angle), defects);
}

function finish(name: string, address: string, defects: DefectCollector): MailAddress | null {
  const decodedName = decodeEncodedWords(name, defects).trim();
  const decodedAddress = decodeEncodedWords(address, defects).trim();
  if (decodedName === '' && decodedAddress === '') return null;
  const at = decodedAddress.lastIndexOf('@');
  if (at < 1 || at === decodedAddress.length - 1 || /\s/.test(decodedAddress)) defects.add('address-malformed');
  return { name: decodedName === '' ? null : decodedName, address: decodedAddress };
}

/** `@relay,@relay:local@domain`, the obsolete source route, to what counts. */
function withoutRoute(angle: string): string {
  const compact = angle.trim();
  if (!compact.startsWith('@')) return compact;
  const colon = compact.indexOf(':');
  return colon < 0 ? compact : compact.slice(colon + 1).trim();
}

function skipQuoted(text: string, open: number): number {
  let i = open + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
  return i < text.length ? i + 1 : text.length + 1;
}

function skipComment(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '(') depth++;
    else if (text[i] === ')' && --depth === 0) return i + 1;
  }
  return text.length + 1;
}

function skipAngle(text: string, open: number): number {
  for (let i = open + 1; i < text.length; i++) {
    if (text[i] === '"') i = skipQuoted(text, i) - 1;
    else if (text[i] === '>') return i + 1;
  }
  return text.length + 1;
}

function skipAtom(text: string, from: number): number {
  let i = from;
  while (i < text.length) {
    // An encoded word may hold any of the marks below, though it must not.
    if (text[i] === '=' && text[i + 1] === '?') i = skipEncodedWord(text, i);
    if (i >= text.length || ' \t\r\n,;:"(<'.includes(text[i] as string)) break;
    i++;
  }
  return Math.max(i, from + 1);
}

function skipEncodedWord(text: string, open: number): number {
  let i = open + 2;
  for (let marks = 0; i < text.length && i - open < maxEncodedWordLength; i++) {
    if (text[i] === '?' && ++marks === 3) return text[i + 1] === '=' ? i + 2 : open;
    if (marks < 2 && ' \t\r\n'.includes(text[i] as string)) return open;
  }
  return open;
}

/** RFC 2047 §2 allows 75; some senders put a whole name into one. The bound keeps the time linear. */
const maxEncodedWordLength = 1_000;

function unquote(text: string): string {
  return text.includes('\\') ? text.replace(/\\(.)/gs, '$1') : text;
}

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t' || character === '\r' || character === '\n';
}
