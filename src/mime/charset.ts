/** Bytes to text by the charset a mail names, read as mail software reads it. Never throws, never gives lone surrogates. */
import { isUtf8 } from 'node:buffer';
import iconv from 'iconv-lite';
import type { DefectCollector } from './defects.ts';
import { decodeIso2022Jp } from './iso-2022-jp.ts';
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
    cp950: 'big5 xxbig5 cp950 big5tw xmactradchinese',
    big5hkscs: 'big5hkscs hkscs',
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

export function decodeText(bytes: Buffer, charset: string | null, defects: DefectCollector): string {
  const label = stripQuotes(charset ?? '').toLowerCase();
  const practical = label === '' ? '' : (practicalCharset.get(label.replace(/[^a-z0-9]/g, '')) ?? label);
  if (practical === '') return decodeUndeclared(bytes, defects);
  if (practical === 'utf8') {
    if (!isUtf8(bytes)) defects.add('charset-bytes-invalid');
    return bytes.toString('utf8');
  }
  if (practical === 'iso2022jp') {
    const text = decodeIso2022Jp(bytes);
    if (text !== null) return text;
    defects.add('charset-bytes-invalid');
    return bytes.toString('latin1').replace(/[\x1b\x80-\xff]/g, '\ufffd');
  }
  if (practical === 'iso2022kr') return decodeIso2022Kr(bytes);
  if (practical === 'hz') return decodeHz(bytes);
  const known = nodeCharset.get(practical);
  return known === undefined ? decodeByTable(bytes, practical, defects) : new TextDecoder(known).decode(bytes);
}

/** Bytes whose charset nobody named: UTF-8 when they are, or were before damage, else windows-1252. */
export function decodeUndeclared(bytes: Buffer, defects: DefectCollector): string {
  const text = bytes.toString('utf8');
  if (isUtf8(bytes)) return text;
  defects.add('charset-bytes-invalid');
  let high = 0;
  let replaced = 0;
  for (const character of text) {
    if (character === '\ufffd') replaced++;
    if (character > '\x7f') high++;
  }
  return high > 2 * replaced ? text : iconv.decode(bytes, 'cp1252');
}

/** Text that carries bytes as Latin-1 code points, as header fields do until their charset is known. */
export function decodeUndeclaredLatin1(text: string, defects: DefectCollector): string {
  return isAscii(text) ? text : decodeUndeclared(Buffer.from(text, 'latin1'), defects);
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

function decodeByTable(bytes: Buffer, charset: string, defects: DefectCollector): string {
  try {
    if (!notCharsets.has(charset) && iconv.encodingExists(charset)) {
      const text = iconv.decode(bytes, charset, { stripBOM: /^utf[-_]?(16|32)$/.test(charset) }).toWellFormed();
      if (text.includes('\ufffd')) defects.add('charset-bytes-invalid');
      return text;
    }
  } catch {
    // A name such as "constructor" gets through encodingExists and fails in decode: an unknown charset like others.
  }
  defects.add('charset-unknown');
  return decodeUndeclared(bytes, new Set());
}

function stripQuotes(label: string): string {
  // The longest registered name has 45 characters; the bound also keeps the expression from running long.
  if (label.length > 64) return 'too-long';
  return label.trim().replace(/^["']+|["']+$/g, '');
}
