/**
 * Mails made to cost their reader more than their bytes: what `hostile.test.ts` holds to linear time, what the bounds of a
 * mail are tried with, and what `npm run stall` sends through the product.
 */

export const lines = (...text: string[]): string => text.join('\r\n');

const good = lines('--b', 'Content-Type: application/pdf; name="good.pdf"', '', 'good', '');
/** A mail with a good document before `rest`. */
export const mixed = (rest: string): string =>
  lines('Subject: s', 'Content-Type: multipart/mixed; boundary="b"', '', `${good}${rest}`);

/** What costs more than its bytes in some parser. `size` is about the number of bytes. */
export const costlyBodies: Readonly<Record<string, (size: number) => string>> = {
  'lines of two dashes': (size) => mixed(`--b\r\n\r\n${'--\r\n'.repeat(size / 4)}`),
  'one line of dashes': (size) => mixed(`--b\r\n\r\n${'-'.repeat(size)}`),
  'lines as long as a delimiter': (size) => mixed(`--b\r\n\r\n${'--c\r\n'.repeat(size / 5)}`),
  'a delimiter with endless white space': (size) => mixed(`--b${' '.repeat(size)}`),
  'a delimiter that does not end': (size) => mixed(`--b${'b'.repeat(size)}`),
  'one line without an end': (size) => mixed(`--b\r\n\r\n${'x'.repeat(size)}`),
  'bare returns only': (size) => mixed(`--b\r\n\r\n${'\r'.repeat(size)}`),
  'empty lines only': (size) => mixed(`--b\r\n\r\n${'\r\n'.repeat(size / 2)}`),
  'broken header lines': (size) => mixed('--b\r\nX: y\r\nno field\r\n'.repeat(size / 24)),
  'quoted-printable of "="': (size) => mixed(qp('='.repeat(size))),
  'quoted-printable of "=" and blanks': (size) => mixed(qp('=        '.repeat(size / 9))),
  'quoted-printable of blanks': (size) => mixed(qp(' '.repeat(size))),
  'quoted-printable of blank lines': (size) => mixed(qp(`${' '.repeat(99)}\n`.repeat(size / 100))),
  'base64 of junk': (size) => mixed(`--b\r\nContent-Transfer-Encoding: base64\r\n\r\n${'a*'.repeat(size / 2)}`),
  'base64 of blanks': (size) => mixed(`--b\r\nContent-Transfer-Encoding: base64\r\n\r\na${' '.repeat(size)}`),
  'base64 of padding': (size) => mixed(`--b\r\nContent-Transfer-Encoding: base64\r\n\r\n${'='.repeat(size)}`),
  'uuencode without an end': (size) =>
    mixed(`--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\n${'M'.repeat(size)}`),
  'base64 of dashes in one line': (size) => mixed(base64('-'.repeat(size))),
  'base64 of dashes behind letters': (size) => mixed(base64('QUJD--'.repeat(size / 6))),
  'base64 of delimiters that are none': (size) => mixed(base64('--b-\r\n'.repeat(size / 6))),
  'base64 in small pieces in one line': (size) => mixed(base64('QQ=='.repeat(size / 4))),
  'base64 in small pieces': (size) => mixed(base64('QQ==\r\n'.repeat(size / 6))),
  'base64 of the URL alphabet': (size) => mixed(base64(`A${'-_'.repeat(size / 2)}`)),
  'parts of empty lines': (size) => mixed('--b\r\n\r\n\r\n\r\n'.repeat(size / 11)),
  'parts without a header': (size) => mixed('--b\r\nx\r\ny\r\n'.repeat(size / 11)),
  'lines that an open quote may go on in': (size) =>
    mixed(`--b\r\nContent-Type: a/b; name="x\r\n${'y\r\n'.repeat(size / 3)}`),
  'lines behind a Subject': (size) => `Subject: x\r\n${'y\r\n'.repeat(size / 3)}To: a@b.example\r\n\r\n`,
  'multiparts without a boundary': (size) =>
    mixed('--b\r\nContent-Type: multipart/mixed\r\n\r\n--x\r\n'.repeat(size / 44)),
  'delimiters before no header': (size) =>
    `Content-Type: multipart/mixed; boundary=z\r\n\r\n${'--x\r\nA: b\r\n'.repeat(size / 11)}`,
  'indented delimiters before no header': (size) =>
    `Content-Type: multipart/mixed; boundary=z\r\n\r\n${'  --x\r\n y\r\n'.repeat(size / 11)}`,
  'indented lines among indented delimiters': (size) =>
    `Content-Type: multipart/mixed\r\n\r\n --x\r\nContent-Type: a/b\r\n\r\n${'       --y\r\n'.repeat(size / 12)}`,
  'HTML of cid:': (size) =>
    mixed(
      `--b\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\n${'cid:'.repeat(size / 4)}`,
    ),
};

function base64(body: string): string {
  return `--b\r\nContent-Transfer-Encoding: base64\r\n\r\n${body}`;
}

function qp(body: string): string {
  return `--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${body}`;
}

/** Values of one header field, of which the engine reads up to 256 KB. */
export const costlyFields: Readonly<Record<string, (size: number) => string>> = {
  'encoded words that do not end': (size) => `Subject: ${'=?utf-8?q?'.repeat(size / 10)}`,
  'half encoded words': (size) => `Subject: ${'=?'.repeat(size / 2)}`,
  'encoded words of changing charsets': (size) => `Subject: ${'=?big5?q?a?= =?gbk?q?a?= '.repeat(size / 25)}`,
  'addresses of colons': (size) => `To: ${'a:'.repeat(size / 2)}`,
  'addresses of open brackets': (size) => `To: ${'<'.repeat(size)}`,
  'addresses of open comments': (size) => `To: ${'('.repeat(size)}`,
  'addresses of open quotes': (size) => `To: ${'"'.repeat(size)}`,
  'addresses of phrases': (size) => `To: ${'a b '.repeat(size / 4)}@`,
  'addresses of half encoded words': (size) => `To: ${'=?x?'.repeat(size / 4)}`,
  'addresses of names': (size) => `From: ${'a, '.repeat(size / 3)}<b@c.example>`,
  'addresses of at signs': (size) => `From: ${'a@b <'.repeat(size / 5)}`,
  'addresses in encoded words': (size) => `From: ${'=?utf-8?q?a_<b@c>?= '.repeat(size / 20)}`,
  'cut encoded words': (size) => `Subject: ${'=?utf-8?b?QmV?= '.repeat(size / 16)}`,
  'raw bytes': (size) => `Subject: ${'\xfc'.repeat(size)}`,
  'raw shifts': (size) => `Subject: ${'\x1b$B'.repeat(size / 3)}`,
  'a date of words': (size) => `Date: ${'Mon 1 '.repeat(size / 6)}`,
  'parameters without semicolons': (size) => `Content-Type: a/b; ${'name="a" '.repeat(size / 9)}`,
  'quotes in a name': (size) => `Content-Disposition: attachment; filename="${'a" '.repeat(size / 3)}"`,
  'sections of a name': (size) => `Content-Disposition: attachment; ${"filename*9*='a; ".repeat(size / 16)}`,
  'a name of question marks': (size) => `Content-Type: a/b; name="${'?a'.repeat(size / 2)}"; filename=x`,
  'a date of brackets': (size) => `Date: ${'('.repeat(size)}`,
  'a type of blanks': (size) => `Content-Type: a${' '.repeat(size)}b`,
  'a type without an end': (size) => `Content-Type: ${'a'.repeat(size)}!`,
  'a type of comments': (size) => `Content-Type: ${'(a'.repeat(size / 2)}`,
  'parameters of quotes': (size) => `Content-Type: a/b; x="${'\\"'.repeat(size / 2)}`,
  'parameters of semicolons': (size) => `Content-Type: a/b${';'.repeat(size)}`,
  'a charset of quotes': (size) => `Content-Type: a/b; name*=${'"'.repeat(size)}x''y`,
  'a Content-ID of brackets': (size) => `Content-ID: ${'>'.repeat(size)}x`,
  'a Message-ID of brackets': (size) => `Message-ID: ${'<'.repeat(size)}`,
};

/** Units: bytes; just below what one field may have. */
const fieldBytes = 250_000;
/** The same as the longest text that base64 or percent escapes make a field of. */
const inBase64 = Math.floor((fieldBytes * 3) / 4);

/** U+0301 and U+0316, which have different combining classes and are sorted when they are normalised. */
const marks = (bytes: number): string => '\u0301\u0316'.repeat(bytes / 4);
const encodedWord = (charset: string, bytes: Buffer): string => `=?${charset}?B?${bytes.toString('base64')}?=`;
const raw = (text: string): string => Buffer.from(text).toString('latin1');
const percent = (text: string): string => Buffer.from(text).toString('hex').replace(/../g, '%$&');

/**
 * The dearest values of a parameter, each as long as a field may be. Shape: what stands behind `filename`, quotes and
 * all.
 */
const dearValues: Readonly<Record<string, string>> = {
  'combining marks, raw': `="a${raw(marks(fieldBytes))}.pdf"`,
  'combining marks, percent-encoded': `*=utf-8''${percent(marks(fieldBytes / 3))}.pdf`,
  'combining marks, in base64': `="${encodedWord('utf-8', Buffer.from(marks(inBase64)))}"`,
  'ISO-2022-JP in base64': `="${encodedWord('iso-2022-jp', Buffer.from(`\x1b$B${'$"'.repeat(inBase64 / 2 - 4)}`))}"`,
  'ISO-2022-JP of shifts': `="${encodedWord('iso-2022-jp', Buffer.from('\x1b$B$"\x1b(B'.repeat(inBase64 / 8)))}"`,
  'ISO-2022-JP of what is none': `="${encodedWord('iso-2022-jp', Buffer.from('\x1bX'.repeat(inBase64 / 2)))}"`,
  'ISO-2022-JP, raw': `="${'\x1b$B$"\x1b(B'.repeat(fieldBytes / 8)}.pdf"`,
  'GB18030 of four bytes': `="${encodedWord('gb18030', Buffer.alloc(inBase64, Buffer.from('8139ef30', 'hex')))}"`,
  'GB18030 of invalid bytes': `="${encodedWord('gb18030', Buffer.alloc(inBase64, 0xff))}"`,
  'Big5 in base64': `="${encodedWord('big5', Buffer.alloc(inBase64, Buffer.from('a440', 'hex')))}"`,
  'UTF-7 in base64': `="${encodedWord('utf-7', Buffer.from('+AME-'.repeat(inBase64 / 5)))}"`,
  'HZ in base64': `="${encodedWord('hz-gb-2312', Buffer.from('~{VP~}'.repeat(inBase64 / 6)))}"`,
  'short words of changing charsets': `="${'=?big5?q?a?= =?gbk?q?a?= '.repeat(fieldBytes / 25)}"`,
  'short words of one charset': `="${'=?big5?b?pA?= '.repeat(fieldBytes / 14)}"`,
  'words that are cut': `="${'=?utf-8?b?QmV?= '.repeat(fieldBytes / 16)}"`,
  'question marks': `="${'?a'.repeat(fieldBytes / 2)}"; filename*=utf-8''x`,
  'emoji with joiners': `="${raw('\u{1f468}\u200d'.repeat(fieldBytes / 7))}.pdf"`,
  'paths of parents': `="${'../'.repeat(fieldBytes / 3)}x.pdf"`,
  'dots and blanks': `="a${'. '.repeat(fieldBytes / 2)}"`,
  controls: `="${'\x01\t'.repeat(fieldBytes / 2)}x.pdf"`,
  'sections out of order': Array.from(
    { length: 990 },
    (_, i) => `*${989 - i}*=${i === 989 ? "utf-8''" : ''}${percent(marks(72))}`,
  ).join('; filename'),
};

/** The same for the fields of a part beside its name, and for those of the mail. */
const dearFields: Readonly<Record<string, string>> = {
  'a media type of 240 KB': `Content-Type: application/${'a'.repeat(fieldBytes)}`,
  'a disposition of 240 KB': `Content-Disposition: ${'a'.repeat(fieldBytes)}`,
  'an encoding of 240 KB': `Content-Transfer-Encoding: ${'a'.repeat(fieldBytes)}`,
  'a charset of 240 KB': `Content-Type: application/pdf; charset="${'=?utf-8?q?a?= '.repeat(fieldBytes / 14)}"`,
  'a Content-ID of raw bytes': `Content-ID: ${'\xb1\x40'.repeat(fieldBytes / 2)}`,
  'a Content-Location of raw bytes': `Content-Location: ${'\xb1\x40'.repeat(fieldBytes / 2)}`,
  'a description in ISO-2022-JP': `Content-Description: ${encodedWord('iso-2022-jp', Buffer.from('\x1b$B$"\x1b(B'.repeat(inBase64 / 8)))}`,
  '1,000 parameters of a media type': `Content-Type: application/pdf${Array.from({ length: 990 }, (_, i) => `; p${i}="${'é'.repeat(100)}"`).join('')}`,
};

/** One part with this header, as a document. */
const partWith = (header: string): string => mixed(`--b\r\n${header}\r\n\r\nx\r\n--b--\r\n`);

const dearMailHeader = (charset: string, bytes: Buffer): string =>
  `${['From', 'To', 'Cc', 'Subject'].map((field) => `${field}: ${encodedWord(charset, bytes)} <a@b.example>`).join('\r\n')}\r\n\r\nx\r\n`;

const related = (html: string, type = 'text/html'): string =>
  lines(
    'Content-Type: multipart/related; boundary=r',
    '',
    '--r',
    `Content-Type: ${type}`,
    '',
    html,
    '--r',
    'Content-Type: image/png; name=a.png',
    'Content-ID: <a@b>',
    '',
    'x',
    '--r--',
    '',
  );

export const tinyAttachments = (count: number, name: (i: number) => string): string =>
  mixed(
    `${Array.from(
      { length: count },
      (_, i) => `--b\r\nContent-Disposition: attachment; filename="${name(i)}"\r\n\r\nx\r\n`,
    ).join('')}--b--\r\n`,
  );

export const nestedMessages = (depth: number, body: string): string =>
  `${'Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n'.repeat(depth)}Content-Type: application/pdf\r\n\r\n${body}`;

const dearBodies: Readonly<Record<string, () => string>> = {
  '40,000 tiny attachments': () => tinyAttachments(40_000, () => 'a'),
  '9,900 attachments of one name': () => tinyAttachments(9_900, () => 'a.pdf'),
  '9,900 names of 1,000 characters': () => tinyAttachments(9_900, (i) => `${i}${'\xe9'.repeat(1_000)}.pdf`),
  '9,900 names of escaped characters': () => tinyAttachments(9_900, (i) => `${i}${raw('\u{1f468}').repeat(250)}.pdf`),
  '9,900 inline images with long names': () =>
    mixed(
      Array.from(
        { length: 9_900 },
        (_, i) =>
          `--b\r\nContent-Type: image/png; name="${i}${'\xe9'.repeat(1_000)}"\r\nContent-Disposition: inline\r\n\r\nx\r\n`,
      ).join(''),
    ),
  '9,900 parts of text': () => mixed('--b\r\n\r\nx\r\n'.repeat(9_900)),
  '9,900 parts of text with defects': () =>
    mixed('--b\r\nContent-Type: x\r\nContent-Transfer-Encoding: y\r\nno field\r\nA: b\r\n\r\nx\r\n'.repeat(9_900)),
  '20 nested messages of 1 MB': () => nestedMessages(20, 'x'.repeat(1_000_000)),
  'lines of dashes under 99 boundaries': () =>
    `${Array.from({ length: 99 }, (_, i) => `Content-Type: multipart/mixed; boundary="b${i}"\r\n\r\n--b${i}\r\n`).join('')}\r\n${'--b\r\n'.repeat(400_000)}`,
  'HTML of style sheets': () => related(`<style>${'url(a)'.repeat(40_000)}</style>`.repeat(8)),
  'HTML of style sheets in ISO-2022-JP': () =>
    related(`<style>${'url(\x1b$B$"\x1b(B)'.repeat(18_000)}</style>`.repeat(4), 'text/html; charset=iso-2022-jp'),
  'HTML of style sheets in GB18030': () =>
    related(`<style>url(${'\x81\x39\xef\x30'.repeat(60_000)})</style>`.repeat(8), 'text/html; charset=gb18030'),
  'HTML of attributes': () => related(`<a ${'b=c '.repeat(500_000)}>`),
  'HTML of sources': () => related(Array.from({ length: 60_000 }, (_, i) => `<img src=cid:${i}@b>`).join('')),
  'HTML of long sources': () =>
    related(Array.from({ length: 2_000 }, (_, i) => `<img src="${i}${'%C3%A9'.repeat(150)}">`).join('')),
  'HTML of long sources under a base': () =>
    related(
      `<base href="http://a.example/${'b/'.repeat(400)}">${Array.from({ length: 2_000 }, (_, i) => `<img src="${i}${'../'.repeat(300)}">`).join('')}`,
    ),
  'HTML of source sets': () => related(`<img srcset="${'a 1x, '.repeat(43_000)}">`.repeat(8)),
  'HTML of character references': () => related(`<img src="${'&#64;'.repeat(50_000)}">`.repeat(8)),
  'HTML of blanks in tags': () => related(`<a${' '.repeat(1_000_000)}`),
  'HTML of tags that do not end': () => related('<a b='.repeat(400_000)),
  'HTML of comments': () => related('<!--[if'.repeat(300_000)),
  'HTML of UTF-7': () => related('+AME-'.repeat(220_000), 'text/html; charset=utf-7'),
  'HTML of UTF-16': () => related('<\0a\0 \0b\0=\0c\0>\0'.repeat(100_000), 'text/html; charset=utf-16'),
  'HTML of HZ': () => related('~{VP~}'.repeat(180_000), 'text/html; charset=hz-gb-2312'),
  'HTML of ISO-2022-JP': () => related('\x1b$B$"\x1b(B'.repeat(140_000), 'text/html; charset=iso-2022-jp'),
  'files that begin as ZIP': () =>
    mixed(`--b\r\nContent-Type: application/pdf\r\n\r\n${'PK\x03\x04\x14\0\0\0\0\0'.repeat(400)}\r\n`.repeat(400)),
  'files that begin as XML': () =>
    mixed(`--b\r\nContent-Type: application/pdf\r\n\r\n<?xml ${' '.repeat(4_000)}\r\n`.repeat(400)),
  'files that begin as ID3': () =>
    mixed(
      `--b\r\nContent-Type: application/pdf\r\n\r\nID3\x04\0\0\0\0\0\x01${'\xff\xfb'.repeat(2_000)}\r\n`.repeat(400),
    ),
};

export interface HostileMail {
  readonly name: string;
  /** Shape: bytes as Latin-1 code points. */
  mail(): string;
}

const named = (name: string, mail: () => string): HostileMail => ({ name, mail });

/** One part, with one of its fields or parameters as long and as dear as can be. */
export function dearParts(): readonly HostileMail[] {
  return [
    ...Object.entries(dearValues).flatMap(([name, value]) => [
      named(`file name: ${name}`, () => partWith(`Content-Disposition: attachment; filename${value}`)),
      named(`name of a type: ${name}`, () => partWith(`Content-Type: application/pdf; name${value}`)),
    ]),
    ...Object.entries(dearFields).map(([name, header]) => named(name, () => partWith(header))),
    named('four of each field', () =>
      partWith(
        Object.values(dearValues)
          .slice(0, 4)
          .map((value) => `Content-Disposition: attachment; filename${value.slice(0, 120_000)}`)
          .join('\r\n'),
      ),
    ),
  ];
}

/** Every one of them, each made when it is asked for. */
export function hostileGallery(): readonly HostileMail[] {
  const words: readonly (readonly [string, string, Buffer])[] = [
    ['ISO-2022-JP', 'iso-2022-jp', Buffer.from('\x1b$B$"\x1b(B'.repeat(inBase64 / 8))],
    ['GB18030', 'gb18030', Buffer.alloc(inBase64, Buffer.from('8139ef30', 'hex'))],
    ['UTF-7', 'utf-7', Buffer.from('+AME-'.repeat(inBase64 / 5))],
    ['Big5', 'big5', Buffer.alloc(inBase64, Buffer.from('a440', 'hex'))],
    ['HZ', 'hz-gb-2312', Buffer.from('~{VP~}'.repeat(inBase64 / 6))],
    ['UTF-8 marks', 'utf-8', Buffer.from(marks(inBase64))],
  ];
  return [
    ...Object.entries(costlyBodies).map(([name, make]) => named(name, () => make(2_000_000))),
    ...Object.entries(costlyFields).map(([name, make]) => named(name, () => `${make(fieldBytes)}\r\n\r\n`)),
    ...words.map(([name, charset, bytes]) => named(`header in ${name}`, () => dearMailHeader(charset, bytes))),
    ...dearParts(),
    ...Object.entries(dearBodies).map(([name, make]) => named(name, make)),
  ];
}
