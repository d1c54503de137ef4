/** Addresses as mail programs write and break them, and controls that a more eager reader would break. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { firstAddress, parseAddresses } from './addresses.ts';
import type { DefectCollector } from './defects.ts';

type Pair = readonly [name: string | null, address: string];

const utf8 = (text: string): string => Buffer.from(text).toString('latin1');
const b64 = (text: string): string => `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;

function read(text: string): { readonly pairs: readonly Pair[]; readonly defects: readonly string[] } {
  const defects: DefectCollector = new Set();
  const pairs = parseAddresses(text, defects).map(({ name, address }) => [name, address] as const);
  return { pairs, defects: [...defects] };
}

function cases(title: string, list: readonly (readonly [text: string, want: readonly Pair[]])[]): void {
  describe(title, () => {
    for (const [text, want] of list) {
      test(JSON.stringify(text), () => assert.deepEqual(read(text).pairs, want));
    }
  });
}

const erika: Pair = ['Erika', 'erika@buyer.example.com'];
const nameless: Pair = [null, 'erika@buyer.example.com'];

cases('angle brackets count before the text in front of them', [
  ['sales@other.example.com <erika@buyer.example.com>', [['sales@other.example.com', 'erika@buyer.example.com']]],
  ['erika@buyer.example.com<erika@buyer.example.com>', [['erika@buyer.example.com', 'erika@buyer.example.com']]],
  ['a@b@c.example <erika@buyer.example.com>', [['a@b@c.example', 'erika@buyer.example.com']]],
  ['Erika @ Buyer <erika@buyer.example.com>', [['Erika @ Buyer', 'erika@buyer.example.com']]],
  ["'erika@buyer.example.com' <erika@buyer.example.com>", [["'erika@buyer.example.com'", 'erika@buyer.example.com']]],
  ['"a@x.example" <erika@buyer.example.com>', [['a@x.example', 'erika@buyer.example.com']]],
  ['Erika [Buyer] <erika@buyer.example.com>', [['Erika [Buyer]', 'erika@buyer.example.com']]],
  ['[EXT] Erika <erika@buyer.example.com>', [['[EXT] Erika', 'erika@buyer.example.com']]],
  ['Erika [a@x.example] <erika@buyer.example.com>', [['Erika [a@x.example]', 'erika@buyer.example.com']]],
  ['=?utf-8?Q?a=40x.example?= <erika@buyer.example.com>', [['a@x.example', 'erika@buyer.example.com']]],
  ['=?utf-8?Q?Boss_<a@x.example>?= <erika@buyer.example.com>', [['Boss <a@x.example>', 'erika@buyer.example.com']]],
  ['Erika <erika@buyer.example.com> (a@x.example)', [erika]],
  ['Erika <erika@buyer.example.com> "a@x.example"', [['Erika a@x.example', 'erika@buyer.example.com']]],
  ['Erika (a@x.example) <erika@buyer.example.com>', [['Erika (a@x.example)', 'erika@buyer.example.com']]],
]);

cases('brackets, quotes and links around the address', [
  ['Erika <<erika@buyer.example.com>>', [erika]],
  ['Erika < < erika@buyer.example.com > >', [erika]],
  ['<Erika <erika@buyer.example.com>>', [erika]],
  ['Erika <erika@buyer.example.com', [erika]],
  ['Erika <erika@buyer.example.com, Max <max@x.example>', [erika, ['Max', 'max@x.example']]],
  ['Erika erika@buyer.example.com>', [erika]],
  ['Erika <mailto:erika@buyer.example.com>', [erika]],
  ['Erika <MAILTO: erika@buyer.example.com>', [erika]],
  ['Erika <mailto:erika@buyer.example.com?subject=Order>', [erika]],
  ['mailto:erika@buyer.example.com', [nameless]],
  ['Erika [mailto:erika@buyer.example.com]', [erika]],
  ['Erika [SMTP:erika@buyer.example.com]', [erika]],
  ['Erika [erika@buyer.example.com]', [erika]],
  ['Erika (erika@buyer.example.com)', [erika]],
  ["Erika <'erika@buyer.example.com'>", [erika]],
  ['Erika <"erika@buyer.example.com">', [erika]],
  ["'erika@buyer.example.com'", [nameless]],
  ['"erika@buyer.example.com"', [nameless]],
  ['"Erika <erika@buyer.example.com>"', [erika]],
  ['"Erika <erika@buyer.example.com>', [erika]],
  ['Erika (Buyer <erika@buyer.example.com>', [['Erika Buyer', 'erika@buyer.example.com']]],
  ['[Buyer] erika@buyer.example.com', [['[Buyer]', 'erika@buyer.example.com']]],
  ['[Buyer]erika@buyer.example.com', [['[Buyer]', 'erika@buyer.example.com']]],
  ['Erika erika@buyer.example.com', [erika]],
  ['"Erika" erika@buyer.example.com', [erika]],
  ['Buyer: erika@buyer.example.com', [['Buyer', 'erika@buyer.example.com']]],
  ['erika@buyer.example.com.', [nameless]],
  ['Erika <erika@buyer.example.com.>', [erika]],
  ['Erika <erika @ buyer.example.com>', [erika]],
  ['erika @buyer . example . com', [nameless]],
  ['Erika <erika@buyer. example.com>', [erika]],
  ['Erika <first. last@x.example>', [['Erika', 'first.last@x.example']]],
  ['Erika first .last@x.example', [['Erika', 'first.last@x.example']]],
  [utf8('Erika <\u200berika@buyer.example.com\u00a0>'), [erika]],
  ['<erika@buyer.example.com> (Erika)', [erika]],
  ['<erika@buyer.example.com> Erika', [erika]],
  ['Erika <erika@buyer.example.com> via Portal', [['Erika via Portal', 'erika@buyer.example.com']]],
]);

cases('encoded words around name and address', [
  ['=?UTF-8?Q?"Erika=5FM=C3=BCller"_<erika@x.example>?=', [['Erika_Müller', 'erika@x.example']]],
  ['=?UTF-8?Q?Erika_M=C3=BCller_=3Cerika=40x.example=3E?=', [['Erika Müller', 'erika@x.example']]],
  [b64('Łucja Müller <erika@x.example>'), [['Łucja Müller', 'erika@x.example']]],
  [b64('Müller, Erika <erika@x.example>'), [['Müller, Erika', 'erika@x.example']]],
  [b64('"Müller, Erika" <erika@x.example>'), [['Müller, Erika', 'erika@x.example']]],
  [b64('"Erika <erika@x.example>"'), [['Erika', 'erika@x.example']]],
  [b64('erika@x.example'), [[null, 'erika@x.example']]],
  [b64('<erika@x.example>'), [[null, 'erika@x.example']]],
  [`"${b64('Erika <erika@x.example>')}"`, [['Erika', 'erika@x.example']]],
  [`${b64('Erika ')} ${b64('<erika@x.example>')}`, [['Erika', 'erika@x.example']]],
  ['=?UTF-8?Q?"Erika_Muster?= =?UTF-8?Q?mann"_<erika@x.example>?=', [['Erika Mustermann', 'erika@x.example']]],
  ['=?ISO-8859-15?Q?Atenci=F3n al cliente <erika@x.example>?=', [['Atención al cliente', 'erika@x.example']]],
  ['Erika <=?utf-8?Q?erika=40x.example?=>', [['Erika', 'erika@x.example']]],
  [`Erika <${b64('erika@x.example')}>`, [['Erika', 'erika@x.example']]],
  ['Erika <=?utf-8?Q?erika?=@x.example>', [['Erika', 'erika@x.example']]],
  [
    `${b64('Erika <erika@x.example>')}, Max <max@x.example>`,
    [
      ['Erika', 'erika@x.example'],
      ['Max', 'max@x.example'],
    ],
  ],
  ['=?windows-1252?Q?Erika_M=FCller_?=<erika@x.example>', [['Erika Müller', 'erika@x.example']]],
  [`${b64('Łódź')} <erika@x.example>`, [['Łódź', 'erika@x.example']]],
]);

cases('commas and semicolons', [
  [utf8('Müller, Erika <erika@x.example>'), [['Müller, Erika', 'erika@x.example']]],
  ['Doe , Jane , Dr. <jane@x.example>', [['Doe, Jane, Dr.', 'jane@x.example']]],
  ['"Doe", Jane <jane@x.example>', [['Doe, Jane', 'jane@x.example']]],
  ['=?utf-8?Q?M=C3=BCller?=, =?utf-8?Q?Erika?= <erika@x.example>', [['Müller, Erika', 'erika@x.example']]],
  ['=?utf-8?Q?M=C3=BCller=2C_Erika?= <erika@x.example>', [['Müller, Erika', 'erika@x.example']]],
  ['"=?utf-8?Q?M=C3=BCller=2C_Erika?=" <erika@x.example>', [['Müller, Erika', 'erika@x.example']]],
  ['=?utf-8?Q?M=C3=BCller,_Erika?= <erika@x.example>', [['Müller, Erika', 'erika@x.example']]],
  [
    'Doe, Jane <jane@x.example>, Roe, Max <max@x.example>',
    [
      ['Doe, Jane', 'jane@x.example'],
      ['Roe, Max', 'max@x.example'],
    ],
  ],
  [
    'Doe, Jane <jane@x.example>; Roe, Max <max@x.example>',
    [
      ['Doe, Jane', 'jane@x.example'],
      ['Roe, Max', 'max@x.example'],
    ],
  ],
  [
    'a@x.example, Erika <b@x.example>',
    [
      [null, 'a@x.example'],
      ['Erika', 'b@x.example'],
    ],
  ],
  [
    'a@x.example;b@x.example',
    [
      [null, 'a@x.example'],
      [null, 'b@x.example'],
    ],
  ],
  [
    'a@x.example b@x.example',
    [
      [null, 'a@x.example'],
      [null, 'b@x.example'],
    ],
  ],
  [
    '<a@x.example, b@x.example>',
    [
      [null, 'a@x.example'],
      [null, 'b@x.example'],
    ],
  ],
  [
    'Ann <a@x.example>, b@x.example,',
    [
      ['Ann', 'a@x.example'],
      [null, 'b@x.example'],
    ],
  ],
  [
    'root, b@x.example',
    [
      [null, 'root'],
      [null, 'b@x.example'],
    ],
  ],
]);

cases('groups and colons', [
  ['Buyer: Erika <erika@x.example>', [['Buyer: Erika', 'erika@x.example']]],
  ['Buyer: Erika <erika@x.example>;', [['Erika', 'erika@x.example']]],
  [
    'Team: Doe, Jane <jane@x.example>, b@x.example; c@x.example',
    [
      ['Doe, Jane', 'jane@x.example'],
      [null, 'b@x.example'],
      [null, 'c@x.example'],
    ],
  ],
  [
    'Erika <a@x.example>; Buyer: Max <b@x.example>',
    [
      ['Erika', 'a@x.example'],
      ['Buyer: Max', 'b@x.example'],
    ],
  ],
  ['Undisclosed recipients:', []],
  ['undisclosed-recipients: ;', []],
]);

cases('names without an address', [
  ['=?utf-8?Q?Erika_M=C3=BCller?=', [['Erika Müller', '']]],
  ['Erika Muster', [['Erika Muster', '']]],
  ['"Erika"', [['Erika', '']]],
  ['Erika <>', [['Erika', '']]],
  ['Erika <', [['Erika', '']]],
  ['Dr. Who', [['Dr. Who', '']]],
  ['John . Doe', [['John . Doe', '']]],
  ['[Buyer]', [['[Buyer]', '']]],
  ['root', [[null, 'root']]],
  ['Ann <moderator>', [['Ann', 'moderator']]],
  ['Ann <a@x.exam ple>', [['Ann', 'a@x.exam ple']]],
  ['Ann <an n@x.example>', [['Ann', 'an n@x.example']]],
]);

cases('what stays as it is', [
  ['"odd local"@x.example', [[null, '"odd local"@x.example']]],
  ['"a@b"@x.example', [[null, '"a@b"@x.example']]],
  ['a@[192.0.2.1]', [[null, 'a@[192.0.2.1]']]],
  ["o'neil@x.example", [[null, "o'neil@x.example"]]],
  ['first..last.@x.example', [[null, 'first..last.@x.example']]],
  ['user=x.example@list.example', [[null, 'user=x.example@list.example']]],
  [utf8('jürgen@exämple.com'), [[null, 'jürgen@exämple.com']]],
  ['Erika <erika@xn--exmple-cua.com>', [['Erika', 'erika@xn--exmple-cua.com']]],
  ['John Q. Public <j@x.example>', [['John Q. Public', 'j@x.example']]],
  ['Dr. Who j@x.example', [['Dr. Who', 'j@x.example']]],
  ['Who? <one@x.example>', [['Who?', 'one@x.example']]],
  ['Ann "the first" Lee <a@x.example>', [['Ann the first Lee', 'a@x.example']]],
  ['Pete <(work) pete@x.example (his host)>', [['Pete (work his host)', 'pete@x.example']]],
  ['pete(his account)@x.example(his host)', [['his account his host', 'pete@x.example']]],
]);

cases('an address with two "@" is none', [
  ['a@evil.example@good.example', []],
  ['Ann <a@evil.example@good.example>', [['Ann', '']]],
  ['=?utf-8?Q?a=40evil.example?=@good.example', [['a@evil.example@good.example', '']]],
  ['<a@evil.example b@good.example>', []],
  [b64('a@evil.example, b@good.example'), [['a@evil.example, b@good.example', '']]],
  ['Ann <=?utf-8?Q?a=40evil.example=3E,_=3Cb?=@good.example>', [['Ann', '']]],
]);

describe('defects', () => {
  for (const [text, want] of [
    ['Erika <erika@x.example>', []],
    ['Erika <<mailto:erika@x.example>>', []],
    ['Erika Muster', ['address-malformed']],
    ['a@evil.example@good.example', ['address-malformed']],
    ['a@x.example, root', ['address-malformed']],
  ] as const) {
    test(JSON.stringify(text), () => assert.deepEqual(read(text).defects, want));
  }
});

describe('the first address', () => {
  for (const [text, want] of [
    ['Erika Muster', null],
    ['Jan', null],
    ['Erika <>', null],
    ['Ann <a@evil.example@good.example>', null],
    ['Ann <=?utf-8?Q?a=40evil.example=3E,_=3Cb?=@good.example>', null],
    ['Erika <a@exa\u202emple>', null],
    ['"a@evil.example"@good.example', null],
    ['mailto', null],
    ['', null],
    ['root, Sales;b@x.example', 'b@x.example'],
    ['"odd local"@x.example', '"odd local"@x.example'],
    ['a@[IPv6:2001:db8::1]', 'a@[IPv6:2001:db8::1]'],
    [utf8('jürgen@exämple.com'), 'jürgen@exämple.com'],
    ['receipent@receipent_domain.tld', 'receipent@receipent_domain.tld'],
  ] as const) {
    test(JSON.stringify(text), () => {
      const raw = text.includes('\u202e') ? utf8(text) : text;
      assert.equal(firstAddress(parseAddresses(raw, new Set())), want);
    });
  }
});

describe('hostile fields of 256 KB take time in proportion to their length', () => {
  const pieces = ['"', '(', '[', '<', '<a', 'a:', 'a@', '@', '. ', '=?', '=?a?q?', '(a', '"a@b",', 'a,', '<a@b,'];
  const more = ['\\"', 'mailto:', '[@]', '(@) ', 'a@b ', '>', ';', 'a ', 'a@:', 'x:;', 'a <'];
  for (const piece of [...pieces, ...more]) {
    test(JSON.stringify(piece), () => {
      const text = `${piece.repeat(Math.floor(262_144 / piece.length))};`;
      const started = performance.now();
      assert.ok(parseAddresses(text, new Set()).length <= 5_000);
      const took = performance.now() - started;
      // Quadratic time would be minutes; the rest is room for a slow machine.
      assert.ok(took < 10_000, `${Math.round(took)} ms`);
    });
  }
  test('an address behind 100,000 words is not taken for the name of a group', () => {
    const [address] = parseAddresses(`a@x.example${' b'.repeat(100_000)}: c;`, new Set());
    assert.equal(address?.address, 'a@x.example');
  });
});
