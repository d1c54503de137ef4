import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HeaderField } from './header-block.ts';
import { defaultMimeLimits } from './limits.ts';
import { parseParameters } from './parameters.ts';
import { readPartHeader } from './part-header.ts';
import type { DefectCode } from './types.ts';

/** The name that a Content-Disposition gives, and what was odd. */
function name(disposition: string, textCharset: string | null = null): readonly [string | null, string] {
  const defects = new Set<DefectCode>();
  const fields: HeaderField[] = [{ name: 'content-disposition', value: disposition }];
  const { header } = readPartHeader(fields, 'text/plain', defaultMimeLimits, defects, textCharset);
  return [header.fileName, [...defects].sort().join()];
}

function parsed(value: string): Readonly<Record<string, string>> {
  const { main, parameters } = parseParameters(value, 100, new Set());
  return Object.fromEntries([['', main], ...parameters.map((parameter) => [parameter.name, parameter.value])]);
}

const bent = 'parameter-malformed';
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

describe('quotes inside a quoted name', () => {
  for (const [sent, want, defects] of [
    ['filename="Rack 19" order.pdf"', 'Rack 19" order.pdf', bent],
    ['filename="30" wide.jpg"', '30" wide.jpg', bent],
    ['filename="30" pipe, 20" pipe.pdf"', '30" pipe, 20" pipe.pdf', bent],
    ['filename="Angebot "Muster" 4711.pdf"; size=68', 'Angebot "Muster" 4711.pdf', bent],
    ['filename=""Order" 4711.pdf"', '"Order" 4711.pdf', bent],
    ['filename="Rack 19"; 2 pcs.pdf"', 'Rack 19"; 2 pcs.pdf', bent],
    ['filename="Rack 19"; 2" pcs.pdf"; size=1', 'Rack 19"; 2" pcs.pdf', bent],
    ['filename="Rack 19" (old).pdf"', 'Rack 19" (old).pdf', bent],
    ['filename="Rack 19"" order.pdf"', 'Rack 19" order.pdf', bent],
    ['filename="Rack 19""', 'Rack 19"', bent],
    ['filename="Rack=19" order.pdf"', 'Rack=19" order.pdf', bent],
    ['filename="19", 20", 21".pdf"; size=3', '19", 20", 21".pdf', bent],
    ['filename=""order.pdf""', 'order.pdf', bent],
    ['filename="=?utf-8?Q?Rack_19"_f=C3=BCr.pdf?="', 'Rack 19" für.pdf', bent],
    ['filename="Rack 19\\" order.pdf"', 'Rack 19" order.pdf', ''],
    ['filename="\\"order.pdf\\""', '"order.pdf"', ''],
    ['filename="C:\\new\\a.pdf"', 'C:\\new\\a.pdf', ''],
    ['filename="C:\\\\a.pdf"', 'C:\\a.pdf', ''],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, defects]));
  }
});

describe('a quote that ends a name', () => {
  for (const [sent, want, defects] of [
    ['filename="order 55.pdf" size=74', 'order 55.pdf', bent],
    ['filename="order 55.pdf"size=74', 'order 55.pdf', bent],
    ['filename="order 55.pdf" x-note=74', 'order 55.pdf', bent],
    ['filename="order 55.pdf" foo="bar"', 'order 55.pdf', bent],
    ['filename="order 55.pdf" foo=bar', 'order 55.pdf', bent],
    ['filename="order 55.pdf", size=74', 'order 55.pdf', bent],
    ['filename="order 55.pdf"; attachment', 'order 55.pdf', ''],
    ['filename="order 55.pdf"; inline; size="7"', 'order 55.pdf', ''],
    ['filename="order 55.pdf" ; ; size = "74" ;', 'order 55.pdf', ''],
    ['filename="order 55.pdf" junk', 'order 55.pdf', bent],
    ['filename="order 55.pdf" (the (last) "one"); size=3', 'order 55.pdf', ''],
    ['filename="a; size=3.pdf"', 'a; size=3.pdf', ''],
    ['filename="a (1).pdf"', 'a (1).pdf', ''],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, defects]));
  }
});

describe('a quoted name without its end', () => {
  for (const [sent, want] of [
    ['filename="order 4711.pdf', 'order 4711.pdf'],
    ['filename="order 4711.pdf; size=68', 'order 4711.pdf'],
    ['filename="order 4711.pdf; size="68"', 'order 4711.pdf'],
    ['filename="order 4711.pdf; name="other.pdf"', 'order 4711.pdf'],
    ['filename="order 4711.pdf;', 'order 4711.pdf'],
    ['filename="order; 4711.pdf', 'order; 4711.pdf'],
    ['filename="Rack 19" order.pdf', 'Rack 19" order.pdf'],
    ['filename="Rack 19" order.pdf; size=68', 'Rack 19" order.pdf'],
    ['filename=order 4711.pdf"', 'order 4711.pdf'],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, bent]));
  }
  test('the parameters behind it are read', () => {
    assert.deepEqual(parsed('a; filename="b.pdf; size="68"; x=y'), { '': 'a', filename: 'b.pdf', size: '68', x: 'y' });
  });
});

describe('several quoted strings', () => {
  for (const [sent, want] of [
    ['filename="=?utf-8?B?QmVzdGVsbHVuZyA=?=" "=?utf-8?B?NDcxMS5wZGY=?="', 'Bestellung 4711.pdf'],
    ['filename="=?utf-8?Q?f=C3=BCr_?="\t"=?utf-8?Q?uns?=" "=?utf-8?Q?.pdf?="; size=3', 'für uns.pdf'],
    ['filename="=?utf-8?Q?f=C3?=""=?utf-8?Q?=BCr.pdf?="', 'für.pdf'],
    ['filename="order " "4711.pdf"', 'order 4711.pdf'],
    ['filename="a "b" "c" d.pdf"', 'a "b" "c" d.pdf'],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, bent]));
  }
});

describe('names without quotes', () => {
  for (const [sent, want, defects] of [
    ['filename=order of monday.pdf; size=12', 'order of monday.pdf', ''],
    ['filename=order(1).pdf', 'order(1).pdf', ''],
    ['filename=order (1).pdf', 'order (1).pdf', ''],
    ['filename=order.pdf (the last)', 'order.pdf', ''],
    ['filename=order.pdf (the; last); size=3', 'order.pdf', ''],
    ['filename=(the last) "order.pdf"', 'order.pdf', ''],
    ['filename=Order (copy)', 'Order (copy)', ''],
    ['filename=order.pdf size=12', 'order.pdf', bent],
    ['filename=order 4711.pdf name="x.pdf"', 'order 4711.pdf', bent],
    ['filename=order a=b.pdf', 'order a=b.pdf', ''],
    ['filename=a, b, c.pdf', 'a, b, c.pdf', ''],
    ['filename=Order of the month \tNovember.pdf', 'Order of the month November.pdf', ''],
    ["filename='order 4711.pdf'", 'order 4711.pdf', bent],
    ["filename='order; 4711.pdf'; size=3", 'order; 4711.pdf', bent],
    ["filename='O'Brien's order.pdf'", "O'Brien's order.pdf", bent],
    ["filename='t Hart.pdf", "'t Hart.pdf", ''],
    ["filename='t Hart.pdf; size='3'", "'t Hart.pdf", ''],
    ["filename=O'Brien.pdf", "O'Brien.pdf", ''],
    ['filename = "order.pdf"', 'order.pdf', ''],
    ['filename\t=\torder.pdf', 'order.pdf', ''],
    ['file name="order.pdf"', 'order.pdf', bent],
    ['(a=b; c) filename (d) = "order.pdf"', 'order.pdf', ''],
    ['"filename"="order.pdf"', 'order.pdf', ''],
    ['filename=; filename="order.pdf"', 'order.pdf', ''],
    ['filename=""; filename="order.pdf"; filename="other.pdf"', 'order.pdf', ''],
    ['filename=""', null, ''],
    ['filename="  "', null, ''],
    ["filename=''", null, bent],
    ['filename="=?utf-8?Q??="', null, ''],
    ['FILENAME=Order.PDF', 'Order.PDF', ''],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, defects]));
  }
});

describe('control characters in names', () => {
  for (const [sent, want] of [
    ['filename="Order of the month\tNovember.pdf"', 'Order of the month November.pdf'],
    ['filename="Order of the month \tNovember.pdf"', 'Order of the month November.pdf'],
    ['filename="=?utf-8?Q?a=0D=0A_b=00c=09d.pdf?="', 'a b c d.pdf'],
    ["filename*=utf-8''a%0D%0Ab.pdf", 'a b.pdf'],
    ['filename="a  b.pdf"', 'a  b.pdf'],
  ] as const) {
    test(JSON.stringify(sent), () => assert.deepEqual(name(`attachment; ${sent}`), [want, '']));
  }
});

describe('the extended form', () => {
  for (const [sent, want, defects] of [
    ["filename*=utf-8''%C3%BC.pdf", 'ü.pdf', ''],
    ["filename*=utf-8'de-DE'%C3%BC.pdf", 'ü.pdf', ''],
    ["filename*=''%C3%BC.pdf", 'ü.pdf', ''],
    ["filename*=utf-8''O'Brien's.pdf", "O'Brien's.pdf", ''],
    ['filename*="utf-8\'\'%C3%BC.pdf"', 'ü.pdf', ''],
    ["filename*=utf-8'%C3%BC.pdf", 'ü.pdf', bent],
    ["filename*=utf-8'O'Brien.pdf", "O'Brien.pdf", bent],
    ['filename*=UTF-8"%C3%BC.pdf', 'ü.pdf', bent],
    ['filename*=utf-8""%C3%BC.pdf', 'ü.pdf', bent],
    ['filename*="utf-8""%C3%BC.pdf"', 'ü.pdf', bent],
    ['filename*=utf-8\'\'"%C3%BC.pdf"', 'ü.pdf', bent],
    ["filename*='utf-8''%C3%BC.pdf'", 'ü.pdf', bent],
    ["filename*=utf-8''=?utf-8?Q?=C3=BC.pdf?=", 'ü.pdf', bent],
    ['filename*="=?utf-8?B?w7w=?= =?utf-8?Q?.pdf?="', 'ü.pdf', bent],
    ["filename*=utf-8''%3D%3Futf-8%3FB%3Fw7w%3D%3F%3D", 'ü', bent],
    ["filename*=O'Brien's.pdf", "O'Brien's.pdf", bent],
    ["filename*=850'er Serie.pdf", "850'er Serie.pdf", bent],
    ["filename*=rock''n''roll.pdf", "rock''n''roll.pdf", bent],
    ["filename*=x-nobody''%C3%BC.pdf", 'ü.pdf', 'charset-unknown'],
    ['filename*=utf-8\'\'; filename="order.pdf"', 'order.pdf', ''],
    ['filename*=; filename="order.pdf"', 'order.pdf', ''],
    ['filename*=utf-8\'\'%FC.pdf; filename="order.pdf"', 'order.pdf', 'charset-bytes-invalid'],
    ["filename*=utf-8''%FC.pdf", 'ü.pdf', 'charset-bytes-invalid'],
    ['filename*=utf-8\'\'%FC.pdf; filename="?.pdf"', 'ü.pdf', 'charset-bytes-invalid'],
    ["filename*=utf-8''%C3%BC%C3%BC%FC.pdf", 'üü\ufffd.pdf', 'charset-bytes-invalid'],
    ["filename*=iso-8859-1''%FC.pdf", 'ü.pdf', ''],
    ["filename*=big5''%F9%FE.pdf", '￭.pdf', ''],
    ["filename*=utf-8''100%.pdf", '100%.pdf', bent],
    ['filename*=order%20one.pdf', 'order one.pdf', bent],
    ['filename="a.pdf"; filename*=order%20one.pdf', 'a.pdf', ''],
    ["filename=utf-8''%C3%BC.pdf", 'ü.pdf', bent],
    ['filename="hWoZ65%8Bw.pdf"', 'hWoZ65%8Bw.pdf', ''],
    ['filename="100%25 order%20one.pdf"', '100%25 order%20one.pdf', ''],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, defects]));
  }
});

describe('sections', () => {
  for (const [sent, want, defects] of [
    ["filename*0*=utf-8''%C3%BC; filename*1=b.pdf", 'üb.pdf', ''],
    ["filename*1*=%BC.pdf; filename*0*=utf-8''%C3", 'ü.pdf', ''],
    ["filename*0*=utf-8''%C; filename*1*=3%BC.pdf", 'ü.pdf', ''],
    ["filename*0*=utf-8''M; filename*1=%C3%BC.pdf", 'Mü.pdf', bent],
    ['filename*0*=utf-8\'\'M; filename*1="%C3%BC.pdf"', 'Mü.pdf', bent],
    ["filename*0*=utf-8''%C3; filename*1=%BC.pdf", 'ü.pdf', bent],
    ["filename*0*=utf-8''a; filename*1=%20b.pdf", 'a b.pdf', bent],
    ['filename*0*=utf-8\'\'a; filename*1="%20b.pdf"', 'a%20b.pdf', ''],
    ["filename*0*=utf-8''a; filename*1=%8Bw.pdf", 'a%8Bw.pdf', ''],
    ['filename*0*=utf-8\'\'a; filename*1="100%.pdf"', 'a100%.pdf', ''],
    ["filename*0=utf-8''%C3%BC; filename*1=%20b.pdf", 'ü b.pdf', bent],
    ["filename*0*=utf-8''a%20; filename*1*=utf-8''b.pdf", 'a b.pdf', ''],
    ['filename*0*="\'\'attached%2E"; filename*1*="%70"; filename*2=df', 'attached.pdf', ''],
    ['filename*0="Rack 19"; filename*1=" order.pdf"', 'Rack 19 order.pdf', ''],
    ['filename*0="Rack 19" "; filename*1="order.pdf"', 'Rack 19" order.pdf', bent],
    ['filename*0="=?utf-8?B?QmVzdGVsbH?="; filename*1="=?utf-8?B?VuZw==?="', 'Bestellung', 'encoded-word-cut'],
    ['filename*0=""; filename*0="a.pdf"', 'a.pdf', bent],
    ['filename*0="100%20"; filename*1="a.pdf"', '100%20a.pdf', ''],
    ['filename*0=""; filename="a.pdf"', 'a.pdf', ''],
  ] as const) {
    test(sent, () => assert.deepEqual(name(`attachment; ${sent}`), [want, defects]));
  }
});

describe('raw bytes', () => {
  for (const [sent, charset, want, defects] of [
    [utf8('filename="für.pdf"'), 'windows-1251', 'für.pdf', ''],
    ['filename="\xc7\xe0\xea\xe0\xe7.pdf"', 'windows-1251', 'Заказ.pdf', 'charset-undeclared'],
    ['filename="f\xfcr.pdf"', 'utf-8', 'für.pdf', 'charset-undeclared'],
    ['filename="f\xfcr.pdf"', null, 'für.pdf', 'charset-undeclared'],
    ['filename="\x95\x5c"; size=3', 'shift_jis', '表', 'charset-undeclared'],
    ['filename="\xb1\xb2\\"3.pdf"', 'shift_jis', 'ｱｲ"3.pdf', 'charset-undeclared'],
    ['filename="\xb3\x5c.pdf"', 'big5', '許.pdf', 'charset-undeclared'],
    ['filename="\x1b$B%"\x1b(B.pdf"; size=3', null, 'ア.pdf', 'charset-undeclared'],
    ['filename="\x1b$BCmJ8=q\x1b(B.pdf"', null, '注文書.pdf', 'charset-undeclared'],
    ['filename=\x1b$B%";;\x1b(B.pdf; size=3', null, 'ア算.pdf', 'charset-undeclared'],
  ] as const) {
    test(JSON.stringify(sent), () => {
      assert.deepEqual(name(`attachment; ${sent}`, charset), [want, defects]);
    });
  }
});

describe('what stands before the parameters', () => {
  for (const [sent, want] of [
    ['application/pdf; name=x', { '': 'application/pdf', name: 'x' }],
    ['application/pdf name="x"', { '': 'application/pdf', name: 'x' }],
    ['application/pdf (a; b="c"); name=x', { '': 'application/pdf', name: 'x' }],
    ['attachment, filename=x', { '': 'attachment', filename: 'x' }],
    ['attachment: filename = x', { '': 'attachment', filename: 'x' }],
    ['"attachment"; filename=x', { '': 'attachment', filename: 'x' }],
    ['filename="x"', { '': '', filename: 'x' }],
    ['; filename="x"', { '': '', filename: 'x' }],
    [
      'text/plain; charset=utf-8 name="x"; format=flowed',
      { '': 'text/plain', charset: 'utf-8', name: 'x', format: 'flowed' },
    ],
    ["multipart/mixed; boundary='b'", { '': 'multipart/mixed', boundary: "'b'" }],
    ['multipart/mixed; boundary=----=_Part (x=y).1', { '': 'multipart/mixed', boundary: '----=_Part (x=y).1' }],
    ['text/plain; charset=us-ascii (Plain text)', { '': 'text/plain', charset: 'us-ascii' }],
    ['', { '': '' }],
  ] as const) {
    test(sent, () => assert.deepEqual(parsed(sent), want));
  }
});

describe('time is linear', () => {
  for (const [title, unit] of [
    ['quotes', '"'],
    ['quotes and blanks', '" '],
    ['quotes and comments', '"(a) '],
    ['open comments', ' ('],
    ['comments', ' (a)'],
    ['semicolons and quotes', '";'],
    ['values without an end', 'x="y;'],
    ['apostrophes', "name='a "],
    ['words', 'a '],
    ['quoted words', '"a" '],
    ['commas', ','],
    ['lead bytes', '\x95\\'],
  ] as const) {
    for (const before of ['a; filename="', 'a; filename=', "a; filename='", 'a']) {
      test(`${title} after ${before}`, () => {
        const started = performance.now();
        name(before + unit.repeat(250_000 / unit.length), 'shift_jis');
        // Quadratic, this takes minutes.
        assert.ok(performance.now() - started < 3_000);
      });
    }
  }
});
