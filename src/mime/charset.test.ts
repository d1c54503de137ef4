import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeText } from './charset.ts';
import type { DefectCode } from './types.ts';

function decode(charset: string | null, hex: string): readonly [string, string] {
  const defects = new Set<DefectCode>();
  return [decodeText(Buffer.from(hex.replaceAll(' ', ''), 'hex'), charset, defects), [...defects].join()];
}

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
    [null, 'c3bc', 'ü', ''],
    ['unknown-8bit', 'c3bc c3bc c3bc fc', 'üüü\ufffd', 'charset-bytes-invalid'],
  ] as const) {
    test(`${charset?.slice(0, 20)} ${hex}`, () => assert.deepEqual(decode(charset, hex), [text, defects]));
  }
});
