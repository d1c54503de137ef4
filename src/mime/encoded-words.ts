/**
 * RFC 2047 encoded words, as mail software reads them: anywhere, also inside quotes and inside other text.
 * Neighbours of one charset are joined as bytes first, since many senders cut inside a character.
 */
import { decodeText, decodeUndeclaredLatin1 } from './charset.ts';
import type { DefectCollector } from './defects.ts';
import { decodeBase64 } from './transfer/base64.ts';

interface Word {
  readonly charset: string;
  readonly bytes: Buffer;
  readonly end: number;
}

/** `text` carries bytes as Latin-1 code points. Time: linear. */
export function decodeEncodedWords(text: string, defects: DefectCollector): string {
  let open = text.indexOf('=?');
  if (open < 0) return decodeUndeclaredLatin1(text, defects);
  const out: string[] = [];
  let run: Buffer[] = [];
  let runCharset: string | null = null;
  let plainFrom = 0;
  const flush = () => {
    if (runCharset !== null)
      out.push(decodeText(run.length === 1 ? (run[0] as Buffer) : Buffer.concat(run), runCharset, defects));
    run = [];
    runCharset = null;
  };
  while (open >= 0) {
    const word = readWord(text, open, defects);
    if (word === 'none-follows') break;
    if (word === null) {
      open = text.indexOf('=?', open + 1);
      continue;
    }
    const between = text.slice(plainFrom, open);
    // White space between two encoded words is not shown (RFC 2047 §6.2).
    const plain = between !== '' && !(runCharset !== null && isBlank(between));
    if (plain || runCharset !== word.charset) flush();
    if (plain) out.push(decodeUndeclaredLatin1(between, defects));
    run.push(word.bytes);
    runCharset = word.charset;
    plainFrom = word.end;
    open = text.indexOf('=?', word.end);
  }
  flush();
  if (plainFrom < text.length) out.push(decodeUndeclaredLatin1(text.slice(plainFrom), defects));
  return out.join('');
}

/** The encoded word at `open`; null when there is none, `none-follows` when there cannot be any further on either. */
function readWord(text: string, open: number, defects: DefectCollector): Word | null | 'none-follows' {
  const charsetEnd = text.indexOf('?', open + 2);
  if (charsetEnd < 0) return 'none-follows';
  const charset = text.slice(open + 2, charsetEnd);
  const kind = text[charsetEnd + 1]?.toUpperCase();
  if (charset === '' || (kind !== 'B' && kind !== 'Q') || text[charsetEnd + 2] !== '?' || /\s/.test(charset))
    return null;
  const end = text.indexOf('?=', charsetEnd + 3);
  if (end < 0) {
    defects.add('encoded-word-malformed');
    return 'none-follows';
  }
  const content = text.slice(charsetEnd + 3, end);
  const bytes = kind === 'B' ? decodeBase64(content, defects) : decodeQ(content, defects);
  // RFC 2231 §5 lets a language follow the charset.
  return { charset: (charset.split('*')[0] ?? '').toLowerCase(), bytes, end: end + 2 };
}

function decodeQ(content: string, defects: DefectCollector): Buffer {
  const spaced = content.replaceAll('_', ' ');
  if (!spaced.includes('=')) return Buffer.from(spaced, 'latin1');
  return Buffer.from(
    unescapeHex(spaced, '=', () => defects.add('encoded-word-malformed')),
    'latin1',
  );
}

/** Turns `=41` or `%41` into the character of that byte; an escape that is none stays. */
export function unescapeHex(text: string, mark: '=' | '%', onMalformed: () => void): string {
  return text.replace(
    mark === '=' ? /=([0-9A-Fa-f]{2})?/g : /%([0-9A-Fa-f]{2})?/g,
    (whole, hex: string | undefined) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      onMalformed();
      return whole;
    },
  );
}

function isBlank(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c !== 32 && c !== 9 && c !== 13 && c !== 10) return false;
  }
  return true;
}
