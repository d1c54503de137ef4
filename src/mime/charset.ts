/** Bytes to text by the charset a mail names, read as mail software reads it. Never throws, never gives lone surrogates. */
import { isUtf8 } from 'node:buffer';
import iconv from 'iconv-lite';
import type { DefectCollector } from './defects.ts';
import { decodeIso2022Jp } from './iso-2022-jp.ts';

/** What a label means in practice: the wider charset whose characters are really sent under the narrower name. */
const practicalCharset: ReadonlyMap<string, string> = new Map(
  Object.entries({
    cp1252: 'us-ascii ascii ansi_x3.4-1968 iso-8859-1 iso8859-1 iso_8859-1 latin1 latin-1 x-ansi windows-1252 cp1252',
    gb18030: 'gb2312 gbk gb18030 x-gbk gb_2312-80 cp936',
    cp932: 'shift_jis shift-jis sjis x-sjis windows-31j cp932 ms_kanji',
    cp949: 'ks_c_5601-1987 ks_c_5601 euc-kr korean cp949',
    cp950: 'big5 x-x-big5 cp950',
    big5hkscs: 'big5-hkscs',
    cp874: 'windows-874 tis-620 iso-8859-11',
    cp1254: 'iso-8859-9 windows-1254',
    utf8: 'utf-8 utf8 unicode-1-1-utf-8',
    utf7: 'utf-7 unicode-1-1-utf-7',
    iso88598: 'iso-8859-8 iso-8859-8-i iso-8859-8-e',
    cp850: 'cp-850',
    macroman: 'x-mac-roman macintosh mac-roman',
    maccyrillic: 'x-mac-cyrillic mac-cyrillic',
    iso2022jp: 'iso-2022-jp csiso2022jp iso-2022-jp-ms',
    '': 'unknown-8bit default unknown x-unknown',
  }).flatMap(([charset, labels]) => labels.split(' ').map((label) => [label, charset] as const)),
);

/** Names iconv-lite knows that are no charsets. */
const notCharsets = new Set(['base64', 'hex', 'binary']);

export function decodeText(bytes: Buffer, charset: string | null, defects: DefectCollector): string {
  const label = stripQuotes(charset ?? '').toLowerCase();
  const practical = practicalCharset.get(label) ?? label;
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
  return decodeByTable(bytes, practical, defects);
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
      const text = iconv.decode(bytes, charset, { stripBOM: charset.startsWith('utf-16') }).toWellFormed();
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
