import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { collapseControls, decodeEncodedWords } from './encoded-words.ts';
import type { DefectCode } from './types.ts';

function decode(text: string, fallback: string | null = null): readonly [string, string] {
  const defects = new Set<DefectCode>();
  return [decodeEncodedWords(text, defects, fallback), [...defects].sort().join()];
}

const b64 = (text: string, encoding: BufferEncoding = 'utf8'): string => Buffer.from(text, encoding).toString('base64');
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

function words(encoding: 'B' | 'Q', contents: readonly string[], gap = '\r\n '): string {
  return contents.map((content) => `=?utf-8?${encoding}?${content}?=`).join(gap);
}

function pieces(text: string, length: number): readonly string[] {
  return Array.from({ length: Math.ceil(text.length / length) }, (_, i) => text.slice(i * length, (i + 1) * length));
}

const sentence = 'Bestellung für Müller & Söhne, Łódź, 注文 4711 😀.pdf';

describe('base64 cut wherever a line is full', () => {
  for (let length = 1; length <= 30; length++) {
    test(`pieces of ${length}`, () => {
      const [text, defects] = decode(words('B', pieces(b64(sentence), length)));
      assert.equal(text, sentence);
      assert.equal(defects, length % 4 === 0 ? '' : 'encoded-word-cut');
    });
    test(`pieces of ${length} without blanks between, in lower case`, () => {
      const text = words('B', pieces(b64(sentence), length), '').replaceAll('?B?', '?b?');
      assert.equal(decode(text)[0], sentence);
    });
  }
  for (const length of [5, 6, 7, 10, 11, 13, 22, 23]) {
    test(`pieces of ${length}, each padded`, () => {
      const padded = pieces(b64(sentence), length).map((piece) => piece.padEnd(Math.ceil(piece.length / 4) * 4, '='));
      assert.deepEqual(decode(words('B', padded)), [sentence, 'encoded-word-cut']);
    });
  }
  test('padding alone in the last piece', () => {
    assert.equal(decode(words('B', ['QmVzdGVsbH', 'VuZyBNw7xs', 'bGVyLnBkZg', '==']))[0], 'Bestellung Müller.pdf');
  });
  test('in a charset of one byte', () => {
    const text = pieces(b64('Müller für Köln', 'latin1'), 7).map((piece) => `=?iso-8859-1?B?${piece}?=`);
    assert.deepEqual(decode(text.join(' ')), ['Müller für Köln', 'encoded-word-cut']);
  });
  test('under labels that mean one charset', () => {
    assert.equal(decode('=?utf-8?B?w7?= =?UTF8?B?w=?=')[0], 'ü');
  });
});

describe('words that stand alone are decoded alone', () => {
  for (const [title, contents, want] of [
    ['both padded', ['U3NzxZsgTGHFgmFsYQ==', 'bGFsYQ=='], 'Sssś Lałalalala'],
    ['one "=" each', ['w7w=', 'w7w=', 'w7w='], 'üüü'],
    ['padding left out', ['w7w', 'w7w', 'T3JkZXI'], 'üüOrder'],
    ['two bytes and padding', ['YQ==', 'Yg==', 'Yw=='], 'abc'],
    ['padding left out of one byte', ['YQ', 'Yg', 'Yw'], 'abc'],
  ] as const) {
    test(title, () => assert.deepEqual(decode(words('B', contents)), [want, '']));
  }
  test('cut between the bytes of a character', () => {
    assert.deepEqual(decode(words('B', ['ZyBmw7xyIE3D', 'vGxsZXI='])), ['g für Müller', '']);
  });
  test('padded pieces in one word', () => {
    assert.deepEqual(decode(words('B', ['w7w=w7w='])), ['üü', 'encoded-word-malformed']);
  });
  test('other charsets, other words', () => {
    assert.equal(decode('=?utf-8?B?w7w=?= =?iso-8859-1?B?/A==?= =?koi8-r?Q?=D7?=')[0], 'üüв');
  });
  test('base64 and quoted-printable of one character', () => {
    assert.deepEqual(decode('=?utf-8?B?ww==?= =?utf-8?Q?=BC?='), ['ü', '']);
  });
});

describe('quoted-printable cut anywhere', () => {
  const encoded = 'f=C3=BCr_M=C3=BCller,_=E6=B3=A8=E6=96=87_4711.pdf';
  for (let length = 1; length <= 20; length++) {
    test(`pieces of ${length}`, () => {
      assert.equal(decode(words('Q', pieces(encoded, length)))[0], 'für Müller, 注文 4711.pdf');
      assert.equal(decode(words('Q', pieces(encoded, length), ''))[0], 'für Müller, 注文 4711.pdf');
    });
  }
  for (const [title, text, want, defects] of [
    ['behind "="', '=?utf-8?Q?f=C3=?= =?utf-8?Q?BCr?=', 'für', 'encoded-word-cut'],
    ['behind a digit', '=?utf-8?Q?f=C3=B?= =?utf-8?Q?Cr?=', 'für', 'encoded-word-cut'],
    ['between escapes', '=?utf-8?Q?f=C3?= =?utf-8?Q?=BCr?=', 'für', ''],
    ['a soft line break', '=?utf-8?Q?Order=?= =?utf-8?Q?_4711?=', 'Order 4711', 'encoded-word-malformed'],
    ['an equals sign at the end', '=?utf-8?Q?a=?=', 'a=', 'encoded-word-malformed'],
    ['an equals sign that begins nothing', '=?utf-8?Q?a=zb?=', 'a=zb', 'encoded-word-malformed'],
    ['of another encoding', '=?utf-8?Q?a=?= =?utf-8?B?QkM=?=', 'a=BC', 'encoded-word-malformed'],
  ] as const) {
    test(title, () => assert.deepEqual(decode(text), [want, defects]));
  }
});

describe('words with a bent frame', () => {
  for (const [title, text, want, defects] of [
    ['no charset', '=??B?w7w=?= =??Q?=C3=BC?=', 'üü', 'encoded-word-malformed'],
    ['a language', '=?utf-8*de?Q?f=C3=BCr?= =?utf-8*en-us?B?w7w=?=', 'fürü', ''],
    ['no blank between', '=?utf-8?Q?a?==?utf-8?Q?b?=', 'ab', ''],
    ['no blank around', 'Re:=?utf-8?Q?=C3=BC?=(4711)', 'Re:ü(4711)', ''],
    ['blanks inside', '=?utf-8?Q?Order f=C3=BCr Monday?=', 'Order für Monday', ''],
    ['a fold inside', '=?utf-8?B?QmVzdGVs\r\n bHVuZw==?=', 'Bestellung', ''],
    ['no end', '=?utf-8?B?QmVzdGVsbHVuZw==', 'Bestellung', 'encoded-word-malformed'],
    ['no end, text behind', '=?utf-8?Q?f=C3=BCr_uns 47_11', 'für uns 47_11', 'encoded-word-malformed'],
    ['no end, blanks inside', '=?utf-8?Q?Order f=C3=BCr uns', 'Order für uns', 'encoded-word-malformed'],
    ['no end before another word', '=?utf-8?B?QmVzdGVs =?utf-8?B?bHVuZw==?=', 'Bestellung', 'encoded-word-malformed'],
    ['no equals sign at the end', '=?utf-8?Q?f=C3=BCr?', 'für', 'encoded-word-malformed'],
    ['no equals sign before another', '=?utf-8?Q?a? =?utf-8?Q?b?=', 'ab', 'encoded-word-malformed'],
    ['one equals sign for two', '=?utf-8?Q?a?=?utf-8?Q?b?=', 'ab', 'encoded-word-malformed'],
    ['an end split by folding', '=?utf-8?B?QmVzdGVsbHVuZw==?\r\n = 4711', 'Bestellung 4711', 'encoded-word-malformed'],
    ['a raw question mark', '=?utf-8?Q?Was?_=C3=BC?=', 'Was? ü', ''],
    ['a raw question mark before an escape', '=?utf-8?Q?Was?=20nun=3F?=', 'Was? nun?', ''],
    ['text behind that looks like an escape', '=?utf-8?Q?Was?=20 order', 'Was20 order', ''],
    ['junk in base64', '=?utf-8?B?w7*w=?=', 'ü', 'encoded-word-malformed'],
    ['an unknown encoding', '=?utf-8?X?a?=', '=?utf-8?X?a?=', ''],
    ['a blank in the charset', '=?utf 8?Q?a?=', '=?utf 8?Q?a?=', ''],
    ['a beginning and nothing else', 'a =?utf-8?Q?', 'a =?utf-8?Q?', ''],
    ['text with marks', 'why=?really?=yes', 'why=?really?=yes', ''],
    ['bytes invalid in the charset', '=?utf-8?Q?f=FCr?=', 'für', 'charset-bytes-invalid'],
    ['one damaged character of many', '=?utf-8?Q?=C3=BC=C3=BC=C3=BC=FC?=', 'üüü\ufffd', 'charset-bytes-invalid'],
    ['UTF-7', '=?utf-7?Q?Bestellung_f+APw-r?=', 'Bestellung für', ''],
  ] as const) {
    test(title, () => assert.deepEqual(decode(text), [want, defects]));
  }
  test('the alphabet of URLs', () => {
    const encoded = Buffer.from('ÿþ~?>').toString('base64url');
    assert.match(encoded, /[-_]/);
    assert.equal(decode(`=?utf-8?B?${encoded}?=`)[0], 'ÿþ~?>');
  });
});

describe('raw text', () => {
  const jis = '\x1b$BCmJ8=q\x1b(B.pdf';
  for (const [title, text, fallback, want, defects] of [
    ['UTF-8', utf8('für'), null, 'für', ''],
    ['the charset of the text', '\xc7\xe0\xea\xe0\xe7', 'windows-1251', 'Заказ', 'charset-undeclared'],
    ['windows-1252', 'f\xfcr', null, 'für', 'charset-undeclared'],
    ['ISO-2022-JP', jis, null, '注文書.pdf', 'charset-undeclared'],
    ['ISO-2022-JP that holds the mark of a word', '\x1b$B=?=?\x1b(B', null, '戎戎', 'charset-undeclared'],
    ['ISO-2022-JP before a word', `${jis} =?utf-8?Q?=C3=BC?=`, null, '注文書.pdf ü', 'charset-undeclared'],
    ['ISO-2022-KR', '\x1b$)C\x0eGQ1[\x0f.', null, '한글.', 'charset-undeclared'],
    ['an escape that is none', 'a\x1b[0mb', null, 'a\x1b[0mb', ''],
  ] as const) {
    test(title, () => assert.deepEqual(decode(text, fallback), [want, defects]));
  }
});

test('control characters collapse to one blank, blanks stay', () => {
  assert.equal(collapseControls('a\r\n b\t\tc\0d  e'), 'a b c d  e');
});

describe('time is linear', () => {
  for (const [title, unit] of [
    ['words without an end', '=?utf-8?Q?a b '],
    ['question marks', '?=20'],
    ['quanta of one character', '=?utf-8?B?A?= '],
    ['padding', '=?utf-8?B?AA=AA=AA=?='],
    ['half words', '=??B?'],
    ['split ends', '=?u?B?a? ='],
  ] as const) {
    test(title, () => {
      const started = performance.now();
      decode(`=?u?Q?${unit.repeat(400_000 / unit.length)}`);
      // Quadratic, this takes minutes.
      assert.ok(performance.now() - started < 4_000);
    });
  }
});

test('padded words that begin inside a character are text as they stand', () => {
  // Bytes of GB2312 cut between two bytes of a character, each word padded as it should be.
  const bytes = Buffer.from('b6a9b5a5b8bdbcfec7ebb2e9caD5d0bbd0bb', 'hex');
  for (let first = 1; first < bytes.length - 1; first++) {
    for (let second = first + 1; second < bytes.length; second++) {
      const cuts = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
      const text = cuts.map((cut) => `=?gb2312?B?${cut.toString('base64')}?=`).join('\r\n ');
      assert.equal(decode(text)[0], '订单附件请查收谢谢', `${first}, ${second}`);
    }
  }
});
