import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { defaultMimeLimits } from './limits.ts';
import { readPartHeader } from './part-header.ts';
import type { DefectCode, PartHeader } from './types.ts';

/** `Name: value` each. */
function read(...lines: readonly string[]): PartHeader & { readonly notes: string } {
  const defects = new Set<DefectCode>();
  const fields = lines.map((line) => {
    const colon = line.indexOf(':');
    return { name: line.slice(0, colon).toLowerCase(), value: line.slice(colon + 1).trim() };
  });
  const { header } = readPartHeader(fields, 'text/plain', defaultMimeLimits, defects);
  return { ...header, notes: [...defects].sort().join() };
}

describe('fields that count once, given twice', () => {
  for (const [title, lines, field, want, notes] of [
    [
      'the first encoding',
      ['Content-Transfer-Encoding: base64', 'Content-Transfer-Encoding: 7bit'],
      'transferEncoding',
      'base64',
      'field-repeated',
    ],
    [
      'an empty one first',
      ['Content-Transfer-Encoding:', 'Content-Transfer-Encoding: base64'],
      'transferEncoding',
      'base64',
      'field-repeated',
    ],
    [
      'the same twice',
      ['Content-Transfer-Encoding: base64', 'Content-Transfer-Encoding:  BASE64 '],
      'transferEncoding',
      'base64',
      '',
    ],
    ['the first Content-ID', ['Content-ID: <a@x>', 'Content-ID: <b@x>'], 'contentId', 'a@x', 'field-repeated'],
    ['an empty Content-ID first', ['Content-ID: ', 'Content-ID: <b@x>'], 'contentId', 'b@x', 'field-repeated'],
    [
      'the first Content-Location',
      ['Content-Location: ', 'Content-Location: b'],
      'contentLocation',
      'b',
      'field-repeated',
    ],
    [
      'the first type without names',
      ['Content-Type: application/pdf', 'Content-Type: text/csv'],
      'mediaType',
      'application/pdf',
      'field-repeated',
    ],
    [
      'the type with a name',
      ['Content-Type: text/plain; charset=utf-8', 'Content-Type: application/pdf; name=a.pdf'],
      'mediaType',
      'application/pdf',
      'field-repeated',
    ],
    [
      'the type with a name first',
      ['Content-Type: application/pdf; name=a.pdf', 'Content-Type: text/plain'],
      'mediaType',
      'application/pdf',
      'field-repeated',
    ],
    [
      'the multipart with a boundary',
      ['Content-Type: application/pdf; name=a.pdf', 'Content-Type: multipart/mixed; boundary=b'],
      'mediaType',
      'multipart/mixed',
      'field-repeated',
    ],
    [
      'a multipart without a boundary is none',
      ['Content-Type: multipart/mixed', 'Content-Type: application/pdf; name=a.pdf'],
      'mediaType',
      'application/pdf',
      'field-repeated',
    ],
    [
      'an empty name is none',
      ['Content-Type: application/pdf; name=""', 'Content-Type: text/csv; name=a.csv'],
      'mediaType',
      'text/csv',
      'field-repeated',
    ],
    [
      'an empty type first',
      ['Content-Type:', 'Content-Type: application/pdf'],
      'mediaType',
      'application/pdf',
      'field-repeated',
    ],
    [
      'the same type twice',
      ['Content-Type: application/pdf', 'Content-Type: application/PDF'],
      'mediaType',
      'application/pdf',
      '',
    ],
    [
      'the disposition with a name',
      ['Content-Disposition: inline', 'Content-Disposition: attachment; filename=a.pdf'],
      'disposition',
      'attachment',
      'field-repeated',
    ],
    [
      'its name',
      ['Content-Disposition: inline', "Content-Disposition: attachment; filename*=utf-8''a.pdf"],
      'fileName',
      'a.pdf',
      'field-repeated',
    ],
    [
      'the first disposition',
      ['Content-Disposition: inline', 'Content-Disposition: attachment'],
      'disposition',
      'inline',
      'field-repeated',
    ],
    ['once', ['Content-Disposition: inline'], 'disposition', 'inline', ''],
  ] as const) {
    test(title, () => {
      const header = read(...lines);
      assert.deepEqual([header[field], header.notes], [want, notes]);
    });
  }
});

describe('places of a name, in their order', () => {
  const disposition = 'Content-Disposition: attachment';
  for (const [title, lines, want] of [
    ['filename', [`${disposition}; name=b.pdf; filename=a.pdf`, 'Content-Type: a/b; name=c.pdf'], 'a.pdf'],
    ['name of the disposition', [`${disposition}; name=b.pdf`, 'Content-Type: a/b; name=c.pdf'], 'b.pdf'],
    ['name of the type', [disposition, 'Content-Type: a/b; filename=d.pdf; name=c.pdf'], 'c.pdf'],
    ['filename of the type', [disposition, 'Content-Type: a/b; file=e.pdf; filename=d.pdf'], 'd.pdf'],
    ['file', [disposition, 'Content-Type: a/b; file=e.pdf', 'Content-Description: f.pdf'], 'e.pdf'],
    ['the description', [disposition, 'Content-Type: a/b', 'Content-Description: Order 4711.pdf'], 'Order 4711.pdf'],
    [
      'an encoded description',
      [disposition, 'Content-Description: =?utf-8?Q?Bestellung_f=C3=BCr_uns.xlsx?='],
      'Bestellung für uns.xlsx',
    ],
    ['a quoted description', [disposition, 'Content-Description: "Order 4711.pdf"'], 'Order 4711.pdf'],
    ['empty ones are none', [`${disposition}; filename=""`, 'Content-Type: a/b; name=" "; file=e.pdf'], 'e.pdf'],
    ['prose', [disposition, 'Content-Description: Please find the order attached. See order.pdf'], null],
    ['prose with a number', [disposition, 'Content-Description: Version 1.25'], null],
    ['a colon', [disposition, 'Content-Description: attached: order.pdf'], null],
    ['a long line', [disposition, `Content-Description: ${'order '.repeat(12)}order.pdf`], null],
    ['a domain', [disposition, 'Content-Description: mail of example.com'], null],
    ['an address', [disposition, 'Content-Description: a@example.de'], null],
    ['no ending', [disposition, 'Content-Description: Order 4711'], null],
    ['of the text of the mail', ['Content-Type: text/plain', 'Content-Description: Order 4711.pdf'], null],
    ['of a file without disposition', ['Content-Type: a/b', 'Content-Description: Order 4711.pdf'], 'Order 4711.pdf'],
  ] as const) {
    test(title, () => assert.equal(read(...lines).fileName, want));
  }
});

describe('names whose characters were lost', () => {
  const sent = (fileName: string): string => `Content-Disposition: attachment; filename="${fileName}"`;
  const type = (fileName: string): string => `Content-Type: application/pdf; name="${fileName}"`;
  const cyrillic = '=?windows-1251?B?x+Dq4OcgNDcxMS5wZGY=?=';
  for (const [title, lines, want, notes] of [
    ['question marks', [sent('????? 4711.pdf'), type(cyrillic)], 'Заказ 4711.pdf', 'file-name-damaged'],
    ['a plain name for them', [sent('????? 4711.pdf'), type('order.pdf')], 'order.pdf', 'file-name-damaged'],
    ['U+FFFD', [sent('=?utf-8?Q?=EF=BF=BD_4711.pdf?='), type('order.pdf')], 'order.pdf', 'file-name-damaged'],
    ['one question mark', [sent('M?ller.pdf'), type('=?utf-8?Q?M=C3=BCller.pdf?=')], 'Müller.pdf', 'file-name-damaged'],
    ['a description', [sent('??.pdf'), 'Content-Description: Order.pdf'], 'Order.pdf', 'file-name-damaged'],
    ['nothing better', [sent('????? 4711.pdf'), type('????? 4711.pdf')], '????? 4711.pdf', ''],
    ['alone', [sent('????? 4711.pdf')], '????? 4711.pdf', ''],
    ['a question', [sent('Ready?.pdf'), type('Ready_.pdf')], 'Ready?.pdf', ''],
    ['a question, and another name', [sent('Ready?.pdf'), type('=?utf-8?Q?f=C3=BCr.pdf?=')], 'Ready?.pdf', ''],
    [
      'a question in its own charset',
      ["Content-Disposition: attachment; filename*=utf-8''a%3F%3Fb.pdf", type('c.pdf')],
      'a??b.pdf',
      '',
    ],
    ['whole', [sent('order.pdf'), type(cyrillic)], 'order.pdf', ''],
  ] as const) {
    test(title, () => {
      const header = read(...lines);
      assert.deepEqual([header.fileName, header.notes], [want, notes]);
    });
  }
});

describe('types', () => {
  for (const [sent, mediaType, declared, notes] of [
    ['application/pdf', 'application/pdf', 'application/pdf', ''],
    ['Application/PDF (a (nested) comment)', 'application/pdf', 'application/pdf', ''],
    ['application/application/pdf', 'application/pdf', 'application/pdf', 'content-type-malformed'],
    ['application / pdf', 'application/pdf', 'application/pdf', 'content-type-malformed'],
    ['application\\pdf', 'application/pdf', 'application/pdf', 'content-type-malformed'],
    ['application//pdf', 'application/pdf', 'application/pdf', 'content-type-malformed'],
    ['"application/pdf"; name=x', 'application/pdf', 'application/pdf', 'parameter-malformed'],
    ['application/pdf, name=x', 'application/pdf', 'application/pdf', 'parameter-malformed'],
    ['application/application', 'application/application', 'application/application', ''],
    ['document/pdf', 'document/pdf', 'document/pdf', ''],
    ['*/*', 'application/octet-stream', null, 'content-type-malformed'],
    ['image/*', 'image/*', 'image/*', ''],
    ['pdf', 'text/plain', null, 'content-type-malformed'],
    ['; boundary=b', 'text/plain', null, 'content-type-malformed'],
  ] as const) {
    test(sent, () => {
      const header = read(`Content-Type: ${sent}`);
      assert.deepEqual([header.mediaType, header.declaredMediaType, header.notes], [mediaType, declared, notes]);
    });
  }
});

describe('dispositions', () => {
  for (const [sent, want] of [
    ['attachment', 'attachment'],
    ['Attachments; filename=x', 'attachment'],
    ['"attachment"; filename=x', 'attachment'],
    ["'inline'; filename=x", 'inline'],
    ['inline (shown)', 'inline'],
    ['*;filename=x', '*'],
    ['form-data; name=x', 'form-data'],
    ['inlined', 'inlined'],
    ['; filename=x', null],
    ['filename=x', null],
  ] as const) {
    test(sent, () => assert.equal(read(`Content-Disposition: ${sent}`).disposition, want));
  }
});
