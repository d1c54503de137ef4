/** Bytes to text by the charset a mail names, read as mail software reads it. Never throws, never gives lone surrogates. */
import { isUtf8 } from 'node:buffer';
import iconv from 'iconv-lite';
import type { DefectCollector } from './defects.ts';
import { decodeIso2022Jp, decodeValidIso2022Jp } from './iso-2022-jp.ts';
import { decodeHz, decodeIso2022Kr } from './seven-bit-charsets.ts';

/**
 * What a label means in practice: the wider charset whose characters are really sent under the narrower name. Labels
 * are compared without their punctuation, as senders vary it.
 */
const practicalCharset: ReadonlyMap<string, string> = new Map(
  Object.entries({
    cp1252: 'usascii ascii ansix341968 iso88591 latin1 xansi windows1252 cp1252 ansi',
    gb18030: 'gb2312 gbk gb18030 gb180302000 xgbk gb231280 cp936 eucgb2312cn xmacsimpchinese',
    cp932: 'shiftjis sjis xsjis windows31j cp932 mskanji xmacjapanese',
    cp949: 'ksc56011987 ksc5601 ksx1001 euckr korean cp949 uhc xmackorean',
    cp950: 'cp950 big5tw',
    // The index of the Encoding Standard, as browsers and mail programs read it.
    big5hkscs: 'big5 xxbig5 csbig5 cnbig5 xmactradchinese big5hkscs hkscs',
    eucjp: 'eucjp xeucjp ujis',
    cp874: 'windows874 tis620 iso885911',
    cp1254: 'iso88599 windows1254',
    utf8: 'utf8 unicode11utf8',
    utf7: 'utf7 unicode11utf7',
    iso88598: 'iso88598 iso88598i iso88598e',
    cp850: 'cp850',
    macintosh: 'xmacroman macintosh macroman',
    xmaccyrillic: 'xmaccyrillic maccyrillic',
    iso2022jp: 'iso2022jp csiso2022jp iso2022jpms iso2022jp1 iso2022jp2 iso2022jp3 iso2022jpext',
    iso2022kr: 'iso2022kr csiso2022kr',
    hz: 'hz hzgb hzgb2312',
    '': 'unknown8bit default unknown xunknown',
  }).flatMap(([charset, labels]) => labels.split(' ').map((label) => [label, charset] as const)),
);

/** Charsets that Node reads better than iconv-lite (the euro sign), by Node's names. */
const nodeCharset: ReadonlyMap<string, string> = new Map([
  ['macintosh', 'macintosh'],
  ['xmaccyrillic', 'x-mac-cyrillic'],
]);

/** Names iconv-lite knows that are no charsets. */
const notCharsets = new Set(['base64', 'hex', 'binary']);

const replacement = '\ufffd';

/** Reads the tables now, up to 20 ms for each, that the first text in such a charset would wait for. */
export function loadCharsets(): void {
  const letter = Buffer.from('a');
  for (const charset of new Set([...practicalCharset.values(), 'koi8r'])) decodeAs(letter, charset);
}

export function decodeText(bytes: Buffer, charset: string | null, defects: DefectCollector): string {
  const practical = practicalName(charset);
  if (practical === '') return decodeUndeclared(bytes, defects);
  const text = decodeAs(bytes, practical);
  if (text === null) {
    defects.add('charset-unknown');
    return decodeUndeclared(bytes, new Set());
  }
  if (!text.includes(replacement) || (practical === 'utf8' && isUtf8(bytes))) return text;
  defects.add('charset-bytes-invalid');
  return mendInvalid(bytes, text, practical);
}

/**
 * Bytes whose charset nobody named: UTF-8 when they are, or were before damage; else `fallback`, the charset of the
 * mail's text, when they are valid in it; else windows-1252.
 */
export function decodeUndeclared(bytes: Buffer, defects: DefectCollector, fallback: string | null = null): string {
  const text = bytes.toString('utf8');
  if (isUtf8(bytes)) return text;
  const { valid, replaced } = countNonAscii(text);
  if (valid > replaced) {
    defects.add('charset-bytes-invalid');
    return text;
  }
  defects.add('charset-undeclared');
  const practical = practicalName(fallback);
  const guess = practical === '' || practical === 'utf8' ? null : decodeAs(bytes, practical);
  return guess === null || guess.includes(replacement) ? decodeCp1252(bytes) : guess;
}

/** Text that carries bytes as Latin-1 code points, as header fields do until their charset is known. */
export function decodeUndeclaredLatin1(text: string, defects: DefectCollector, fallback: string | null = null): string {
  return isAscii(text) ? text : decodeUndeclared(Buffer.from(text, 'latin1'), defects, fallback);
}

/**
 * Raw ISO-2022-JP or ISO-2022-KR in a field, both in Latin-1 code points, as raw UTF-8. Two-byte text holds quotes,
 * semicolons and `=?` by chance, so this comes before anything looks for those.
 */
export function rawIso2022ToUtf8(text: string, defects: DefectCollector): string {
  if (!text.includes('\x1b') || !isAscii(text)) return text;
  const bytes = Buffer.from(text, 'latin1');
  const decoded = text.includes('\x1b$)C') ? decodeIso2022Kr(bytes) : decodeValidIso2022Jp(bytes);
  if (decoded === null || decoded.includes(replacement)) return text;
  defects.add('charset-undeclared');
  return Buffer.from(decoded, 'utf8').toString('latin1');
}

/** One name for all labels of a charset, to compare them; the label itself when it is unknown. */
export function practicalName(label: string | null): string {
  if (label === null) return '';
  const stripped = stripQuotes(label).toLowerCase();
  // A label that is there and empty: such senders write UTF-8.
  if (stripped === '') return 'utf8';
  return practicalCharset.get(stripped.replace(/[^a-z0-9]/g, '')) ?? stripped;
}

export function isKnownCharset(label: string): boolean {
  return label !== '' && decodeAs(Buffer.alloc(0), practicalName(label)) !== null;
}

const twoByteCharsets = new Set(['cp932', 'big5hkscs', 'cp950', 'gb18030', 'cp949']);

/** Whether a backslash may be the second byte of a character. */
export function hasBackslashTrails(charset: string | null): boolean {
  return twoByteCharsets.has(practicalName(charset));
}

/** Whether a byte begins a two-byte character, in any of those charsets. */
export function isLeadByte(code: number, charset: string | null): boolean {
  if (code < 0x81 || code > 0xfe) return false;
  // In Shift_JIS these are half-width katakana.
  return practicalName(charset) !== 'cp932' || code < 0xa1 || code > 0xdf;
}

/** How much of `bytes` makes no sense in the charset: invalid ones, and control characters, which no header shows. */
export function countNonsense(bytes: Buffer, charset: string): number {
  const practical = practicalName(charset);
  const text = decodeAs(practical === 'utf8' ? withoutCutCharacters(bytes) : bytes, practical);
  let count = 0;
  const read = text ?? bytes.toString('latin1');
  for (let i = 0; i < read.length; i++) {
    const code = read.charCodeAt(i);
    if (code === 0xfffd || code < 32 || (code >= 127 && code < 160)) count++;
  }
  return count;
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

/** Null for a charset that nobody knows; U+FFFD for what is invalid in it. */
function decodeAs(bytes: Buffer, practical: string): string | null {
  if (practical === 'utf8') return bytes.toString('utf8');
  if (practical === 'iso2022jp') return decodeIso2022Jp(bytes);
  if (practical === 'iso2022kr') return decodeIso2022Kr(bytes);
  if (practical === 'hz') return decodeHz(bytes);
  const known = nodeCharset.get(practical);
  return known === undefined ? decodeByTable(bytes, practical) : new TextDecoder(known).decode(bytes);
}

/** Charsets of which every byte sequence looks alike: their invalid bytes are damage, not another charset. */
const unmistakable = /^(?:utf[-_]?(?:7|16|32)|ucs|iso2022kr|hz)/;

/**
 * Text that is invalid in the charset it claims. When most of its characters are valid, a few are damaged and the rest
 * is worth more than a guess; else another charset was written under this name: UTF-8, or windows-1252.
 */
function mendInvalid(bytes: Buffer, text: string, practical: string): string {
  if (unmistakable.test(practical) || (practical === 'iso2022jp' && bytes.includes(0x1b))) return text;
  if (isUtf8(bytes)) return bytes.toString('utf8');
  const { valid, replaced } = countNonAscii(text);
  return valid > 0 && valid >= replaced ? text : decodeCp1252(bytes);
}

const cp1252 = iconv.decode(Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), 'cp1252');

/** Of a list of addresses each name comes by here, and iconv-lite takes long to begin. */
const shortTextBytes = 256;

function decodeCp1252(bytes: Buffer): string {
  if (bytes.length > shortTextBytes) return iconv.decode(bytes, 'cp1252');
  let text = '';
  for (const byte of bytes) text += cp1252[byte];
  return text;
}

function countNonAscii(text: string): { valid: number; replaced: number } {
  let valid = 0;
  let replaced = 0;
  for (const character of text) {
    if (character === replacement) replaced++;
    else if (character > '\x7f') valid++;
  }
  return { valid, replaced };
}

/** Without the rest of a UTF-8 character at the start, and the beginning of one at the end. */
function withoutCutCharacters(bytes: Buffer): Buffer {
  let start = 0;
  while (start < Math.min(3, bytes.length) && isContinuation(bytes[start] as number)) start++;
  let end = bytes.length;
  while (end > Math.max(start, bytes.length - 3) && isContinuation(bytes[end - 1] as number)) end--;
  const lead = end > start ? (bytes[end - 1] as number) : 0;
  const wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return bytes.subarray(start, lead >= 0xc0 && bytes.length - end + 1 < wanted ? end - 1 : bytes.length);
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

function decodeByTable(bytes: Buffer, charset: string): string | null {
  try {
    if (!notCharsets.has(charset) && iconv.encodingExists(charset)) {
      return iconv.decode(bytes, charset, { stripBOM: /^utf[-_]?(16|32)$/.test(charset) }).toWellFormed();
    }
  } catch {
    // A name such as "constructor" gets through encodingExists and fails in decode: an unknown charset like others.
  }
  return null;
}

function stripQuotes(label: string): string {
  // The longest registered name has 45 characters; the bound also keeps the expression from running long.
  if (label.length > 64) return 'too-long';
  return label.trim().replace(/^["']+|["']+$/g, '');
}
