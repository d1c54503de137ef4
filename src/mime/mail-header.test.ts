import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import iconv from 'iconv-lite';
import { createHeaderScan, type MailHeader, readMailHeader } from './index.ts';

const read = (...lines: string[]) => readMailHeader(Buffer.from(lines.join('\r\n'), 'latin1'));
const codes = (header: MailHeader): readonly string[] => header.defects.map(({ code }) => code);
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

describe('dates, also the obsolete ones', () => {
  for (const [text, want] of [
    ['Fri, 21 Nov 1997 09:55:06 -0600', '1997-11-21T15:55:06.000Z'],
    ['21 Nov 97 09:55:06 GMT', '1997-11-21T09:55:06.000Z'],
    ['Fri, 21 Nov 1997 09(comment):   55  :  06 -0600', null],
    ['Thu, 13 Feb 1969 23:32:54 -0330 (Newfoundland Time)', '1969-02-14T03:02:54.000Z'],
    ['Mon, 1 Jan 2024 00:00 EST', '2024-01-01T05:00:00.000Z'],
    ['Wed,21 Sep 2022 14:30:00 +0530', '2022-09-21T09:00:00.000Z'],
    ['Wednesday, 21-Sep-22 14:30:00 GMT', '2022-09-21T14:30:00.000Z'],
    ['Sep 21 2022 14:30:00 +0000', '2022-09-21T14:30:00.000Z'],
    ['21 September 2022 14.30.00 Z', '2022-09-21T14:30:00.000Z'],
    ['21 Sep 102 14:30:00', '2002-09-21T14:30:00.000Z'],
    ['31 Feb 2022 14:30:00 +0000', null],
    ['21 Sep 2022 25:30:00 +0000', null],
    ['=?utf-8?Q?Fri,_21_Nov_1997_09:55:06_-0600?=', '1997-11-21T15:55:06.000Z'],
    [utf8('Fr, 1. M\u00e4rz 2024 10:11:12 +0100'), '2024-03-01T09:11:12.000Z'],
    ['yesterday', null],
    ['', null],
  ] as const) {
    test(JSON.stringify(text), () => assert.equal(read(`Date: ${text}`).date?.toISOString() ?? null, want));
  }
});

describe('addresses', () => {
  for (const [text, want] of [
    ['a@example.com', [[null, 'a@example.com']]],
    ['Ann <a@example.com>', [['Ann', 'a@example.com']]],
    ['"Doe, \\"J\\"" <a@example.com>', [['Doe, "J"', 'a@example.com']]],
    ['a@example.com (Ann (the first))', [['Ann the first', 'a@example.com']]],
    [
      'Team: a@example.com, Bob <b@example.com>;, c@example.com',
      [
        [null, 'a@example.com'],
        ['Bob', 'b@example.com'],
        [null, 'c@example.com'],
      ],
    ],
    ['undisclosed-recipients:;', []],
    ['<@relay.example,@other.example:a@example.com>', [[null, 'a@example.com']]],
    ['John Q. Public <j@example.com>', [['John Q. Public', 'j@example.com']]],
    ['"odd local"@example.com', [[null, '"odd local"@example.com']]],
    ['a@[192.0.2.1]', [[null, 'a@[192.0.2.1]']]],
    ['=?utf-8?Q?Doe=2C_J=C3=BCrgen?= <a@example.com>', [['Doe, Jürgen', 'a@example.com']]],
    ['=?utf-8?Q?Doe, J?= <a@example.com>', [['Doe, J', 'a@example.com']]],
    [utf8('Jürgen <jürgen@exämple.com>'), [['Jürgen', 'jürgen@exämple.com']]],
    ['a@evil.example@good.example', []],
    [
      'Ann <a@example.com> Bob <b@example.com>',
      [
        ['Ann', 'a@example.com'],
        ['Bob', 'b@example.com'],
      ],
    ],
    ['(Ann) a@example.com', [['Ann', 'a@example.com']]],
    ['<>', []],
    ['', []],
  ] as const) {
    test(JSON.stringify(text), () => {
      const got = read(`From: ${text}`).from.map(({ name, address }) => [name, address]);
      assert.deepEqual(got, want);
    });
  }
});

describe('Message-ID, by one rule', () => {
  for (const [title, lines, want] of [
    ['the first field counts', ['Message-ID: <a@x>', 'Message-ID: <b@x>'], '<a@x>'],
    ['an empty field does not', ['Message-ID:  ', 'Message-ID: <b@x>'], '<b@x>'],
    ['text around the brackets is left out', ['Message-Id: id <a@x> (relay)'], '<a@x>'],
    ['blanks inside stay', ['Message-ID: <a b@x>'], '<a b@x>'],
    ['folding is undone', ['Message-ID:', ' <a@x>'], '<a@x>'],
    ['no brackets: the whole text', ['Message-ID: a@x '], 'a@x'],
    ['an open bracket before the pair', ['Message-ID: <<a@x>'], '<a@x>'],
    ['none', ['Subject: x'], null],
  ] as const) {
    test(title, () => assert.equal(read(...lines).messageId, want));
  }
  test('one of 10 KB is given whole', () => {
    const id = `<${'a'.repeat(10_000)}@x>`;
    assert.equal(read(`Message-ID: ${id}`).messageId, id);
  });
});

describe('fields given twice: the first that is not empty counts, and it is noted', () => {
  const address = (list: readonly { readonly address: string }[]): string => list.map((each) => each.address).join();
  const cases: readonly (readonly [name: string, first: string, second: string, get: (h: MailHeader) => unknown])[] = [
    ['Subject', 'one', 'two', (header) => header.subject],
    ['Subject', 'one', 'two', (header) => header.raw.subject],
    ['From', 'one@x.example', 'two@x.example', (header) => address(header.from)],
    ['From', 'one@x.example', 'two@x.example', (header) => header.raw.from],
    ['To', 'one@x.example', 'two@x.example', (header) => address(header.to)],
    ['Cc', 'one@x.example', 'two@x.example', (header) => address(header.cc)],
    ['Message-ID', '<one@x.example>', '<two@x.example>', (header) => header.messageId],
    ['Date', '3 Nov 2026 10:11:12 Z', '4 Nov 2026 10:11:12 Z', (header) => header.date?.getUTCDate()],
    ['Date', '3 Nov 2026 10:11:12 Z', '4 Nov 2026 10:11:12 Z', (header) => header.raw.date],
  ];
  for (const [name, first, second, get] of cases) {
    const alone = get(read(`${name}: ${first}`));
    const other = get(read(`${name}: ${second}`));
    test(`${name} ${first}`, () => {
      assert.notEqual(alone, other);
      assert.equal(get(read(`${name}: ${first}`, `${name}: ${second}`)), alone);
      assert.equal(get(read(`${name}:`, `${name}: ${second}`)), other);
      assert.equal(get(read(`${name}: \t`, ' ', 'X-Other: x', `${name.toUpperCase()}: ${second}`)), other);
      assert.equal(get(read(`${name}: ${first}`, `${name}:`)), alone);
      assert.deepEqual(codes(read(`${name}:`, `${name}: ${second}`)), ['field-repeated']);
      assert.deepEqual(codes(read(`${name}: ${first}`)), []);
    });
  }
  test('all of them empty', () => assert.equal(read('Subject:', 'Subject: ').subject, ''));
  test('a first date that cannot be read is not replaced', () => {
    assert.equal(read('Date: yesterday', 'Date: 3 Nov 2026 10:11:12 Z').date, null);
  });
  test('fields that may stand more than once are no repetition', () => {
    assert.deepEqual(codes(read('Received: a', 'Received: b', 'X-Subject: a', 'X-Subject: b', 'Subject: c')), []);
  });
});

describe('subjects', () => {
  for (const [title, text, want] of [
    ['two words of one character', '=?utf-8?B?w7w=?= =?utf-8?Q?=C3?= =?utf-8?Q?=BC?=', 'üü'],
    ['a language after the charset', '=?utf-8*de?Q?f=C3=BCr?=', 'für'],
    ['words and text', 'Re: =?iso-8859-1?Q?f=FCr_?= you', 'Re: für  you'],
    ['words that are none', 'a =?utf-8?X?b?= =?utf-8?Q?', 'a =?utf-8?X?b?= =?utf-8?Q?'],
    ['raw UTF-8', utf8('für'), 'für'],
    ['raw Latin-1', 'f\xfcr', 'für'],
    ['an unknown charset that is UTF-8', '=?x-none?Q?f=C3=BCr?=', 'für'],
    ['names that are no charsets', '=?hex?Q?a?==?constructor?Q?b?==?__proto__?Q?c?=', 'abc'],
    ['lone surrogates', '=?utf-16le?B?ANg=?=', '\ufffd'],
    ['empty', '', ''],
  ] as const) {
    test(title, () => assert.equal(read(`Subject: ${text}`).subject, want));
  }
});

test('absent fields are null or empty', () => {
  const { defects, ...header } = readMailHeader(new Uint8Array(0));
  assert.deepEqual(header, {
    messageId: null,
    subject: null,
    from: [],
    to: [],
    cc: [],
    date: null,
    raw: { from: null, to: null, subject: null, date: null },
  });
  assert.deepEqual(defects, []);
});

test('raw fields are unfolded and not decoded', () => {
  assert.equal(read('Subject: =?utf-8?Q?a?=', ' b').raw.subject, '=?utf-8?Q?a?= b');
});

test('no more fields are read than the engine allows', () => {
  const header = read(...Array.from({ length: 6_000 }, (_, i) => `X-${i}: y`), 'Subject: late');
  assert.equal(header.subject, null);
});

test('what follows the empty line is not looked at', () => {
  assert.equal(read('Subject: a', '', 'From: b@example.com').from.length, 0);
});

describe('the work before the 250 is bounded, whatever the fields hold', () => {
  const charsets = [
    'utf-8',
    'iso-2022-jp',
    'iso-2022-kr',
    'hz-gb-2312',
    'gb18030',
    'big5',
    'euc-jp',
    'shift_jis',
    'euc-kr',
  ];
  const others = ['utf-7', 'utf-16', 'utf-32', 'macintosh', 'iso-8859-8', 'koi8-r', 'x-none'];
  const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
  const forms: Readonly<Record<string, (charset: string) => string>> = {
    'words of one character': (charset) => `=?${charset}?q?=E4?= `,
    'words of charsets in turn': (charset) => `=?${charset}?q?=E4=B8?= =?cp949?q?=E5=B9?= `,
    'one word': (charset) => `=?${charset}?q?${'=E4=B8=AD'.repeat(30_000)}?= `,
    'one word of base64': (charset) => `=?${charset}?b?${base64('\xe4\xb8'.repeat(90_000))}?= `,
    'words cut anywhere': (charset) => `=?${charset}?b?QmV?= `,
    'base64 in pieces': (charset) => `=?${charset}?b?${'Q=W'.repeat(80_000)}?= `,
    'escapes that are none': (charset) => `=?${charset}?b?${base64('a\x1bX'.repeat(50_000))}?= `,
    'names of one character': (charset) => `=?${charset}?q?=E4?= <a@b>,`,
    'words between commas': (charset) => `=?${charset}?q?=E4?=,`,
    'words in angle brackets': (charset) => `<=?${charset}?q?=E4?=>`,
    'words in comments': (charset) => `(=?${charset}?q?=E4?=)`,
    'addresses in words': (charset) => `=?${charset}?q?a_<b@c>?= `,
  };
  const raw: Readonly<Record<string, () => string>> = {
    'raw bytes': () => '\xe4\xb8',
    'raw bytes between commas': () => '\xe4,',
    'raw escapes': () => '\x1b$B',
    'raw escapes that are none': () => 'a\x1b',
  };

  /** How often and how many bytes iconv-lite is given for a header whose fields are all of that form. */
  function conversions(t: TestContext, piece: string): { readonly calls: number; readonly bytes: number } {
    const value = piece.repeat(Math.ceil(250_000 / piece.length)).slice(0, 250_000);
    const scan = createHeaderScan();
    scan.push(Buffer.from(['Subject', 'From', 'To', 'Date'].map((name) => `${name}: ${value}\r\n`).join(''), 'latin1'));
    const { headerBlock } = scan.finish();
    const decode = t.mock.method(iconv, 'decode');
    readMailHeader(headerBlock);
    const { calls } = decode.mock;
    decode.mock.restore();
    return { calls: calls.length, bytes: calls.reduce((sum, call) => sum + call.arguments[0].length, 0) };
  }

  for (const [title, form] of [...Object.entries(forms), ...Object.entries(raw)]) {
    test(title, (t) => {
      for (const charset of title in raw ? [''] : [...charsets, ...others]) {
        const { calls, bytes } = conversions(t, form(charset));
        assert.ok(calls <= 7_000, `${charset}: ${calls} conversions`);
        assert.ok(bytes <= 160 * 1024, `${charset}: ${bytes} bytes converted`);
      }
    });
  }

  test('an honest long field is shown whole', () => {
    const names = Array.from({ length: 400 }, (_, i) => `Person ${i} <p${i}@example.com>`).join(', ');
    assert.equal(read(`To: ${names}`).to.length, 400);
    const subject = `${'\u6ce8\u6587'.repeat(150)}`;
    const words = subject.match(/.{1,10}/g)?.map((part) => `=?utf-8?b?${Buffer.from(part).toString('base64')}?=`);
    assert.equal(read(`Subject: ${words?.join('\r\n ')}`).subject, subject);
  });
});
