import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeText, decodeUndeclared } from './charset.ts';
import type { DefectCode } from './types.ts';

function decode(charset: string | null, hex: string): readonly [string, string] {
  const defects = new Set<DefectCode>();
  return [decodeText(Buffer.from(hex.replaceAll(' ', ''), 'hex'), charset, defects), [...defects].join()];
}

describe('bytes whose charset nobody named', () => {
  for (const [fallback, hex, text, defects] of [
    [null, 'c3bc', 'ü', ''],
    ['windows-1251', 'c3bc', 'ü', ''],
    [null, 'fc', 'ü', 'charset-undeclared'],
    ['windows-1251', 'c7e0eae0e7', 'Заказ', 'charset-undeclared'],
    ['gb2312', 'b6a9b5a5', '订单', 'charset-undeclared'],
    ['shift_jis', '92 8d 95 b6', '注文', 'charset-undeclared'],
    ['us-ascii', 'fc', 'ü', 'charset-undeclared'],
    ['utf-8', 'fc', 'ü', 'charset-undeclared'],
    ['euc-kr', 'fc', 'ü', 'charset-undeclared'],
    ['x-nobody', 'fc', 'ü', 'charset-undeclared'],
    ['windows-1251', 'c3bc c3bc c3bc fc', 'üüü\ufffd', 'charset-bytes-invalid'],
  ] as const) {
    test(`${fallback} ${hex}`, () => {
      const codes = new Set<DefectCode>();
      const got = decodeUndeclared(Buffer.from(hex.replaceAll(' ', ''), 'hex'), codes, fallback);
      assert.deepEqual([got, [...codes].join()], [text, defects]);
    });
  }
});

describe('charsets are read as mail software means them', () => {
  for (const [charset, hex, text, defects] of [
    ['utf-8', 'c3bc', 'ü', ''],
    ['UTF8', 'c3', 'Ã', 'charset-bytes-invalid'],
    ['us-ascii', '80', '€', ''],
    ['iso-8859-1', '93 94', '“”', ''],
    ['"ISO-8859-15"', 'a4', '€', ''],
    ['iso-8859-9', '80 fd', '€ı', ''],
    ['gb2312', '81308130', '\u0080', ''],
    ['shift_jis', '8740 878a', '①㈱', ''],
    ['ISO-2022-JP', '1b2442 2d6a 7c62 1b2842 2e', '㈱髙.', ''],
    ['iso-2022-jp', '1b2449 41', '\ufffd$IA', 'charset-bytes-invalid'],
    ['euc-kr', 'c7d1 b1db', '한글', ''],
    ['iso-2022-kr', '1b242943 0e 4751315b 0f 2e', '한글.', ''],
    ['hz-gb-2312', '7e7b 36293525 7e7d 7e7e', '订单~', ''],
    ['big5', 'a4a4', '中', ''],
    ['big5', 'f9fe 8740 c6e7', '￭䏰ぁ', ''],
    ['Big5-HKSCS', 'fa40', '𠕇', ''],
    ['cp950', 'f9fe', '▓', ''],
    ['koi8-r', 'd7', 'в', ''],
    ['windows-874', 'a1', 'ก', ''],
    ['macintosh', 'db', '€', ''],
    ['utf-16', 'fffe 6100', 'a', ''],
    ['utf-16le', '00d8', '\ufffd', 'charset-bytes-invalid'],
    ['x-nobody', 'c3bc', 'ü', 'charset-unknown'],
    ['x-nobody', 'fc', 'ü', 'charset-unknown'],
    ['base64', '51 51', 'QQ', 'charset-unknown'],
    ['constructor', '61', 'a', 'charset-unknown'],
    ['__proto__', '61', 'a', 'charset-unknown'],
    ['x'.repeat(100_000), '61', 'a', 'charset-unknown'],
    ['', 'fc', 'ü', 'charset-bytes-invalid'],
    ['', 'c3bc', 'ü', ''],
    ['utf-8', '66fc72', 'für', 'charset-bytes-invalid'],
    ['utf-8', 'c3bc c3bc fc c3', 'üü\ufffd\ufffd', 'charset-bytes-invalid'],
    ['utf-8', 'efbfbd', '\ufffd', ''],
    ['iso-2022-jp', 'c3bc', 'ü', 'charset-bytes-invalid'],
    ['iso-2022-jp', '1b2442 2d6a 7c', '㈱\ufffd', 'charset-bytes-invalid'],
    ['iso-2022-jp', '1b2442 2d6a 0a 2d6a', '㈱\n-j', ''],
    ['euc-kr', 'fc', 'ü', 'charset-bytes-invalid'],
    [null, 'fc', 'ü', 'charset-undeclared'],
    [null, 'c3bc', 'ü', ''],
    ['unknown-8bit', 'c3bc c3bc c3bc fc', 'üüü\ufffd', 'charset-bytes-invalid'],
  ] as const) {
    test(`${charset?.slice(0, 20)} ${hex}`, () => assert.deepEqual(decode(charset, hex), [text, defects]));
  }
});
