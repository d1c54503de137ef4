import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asciiDomain } from './domain-name.ts';

test('labels of any script become A-labels, however they are written', () => {
  for (const [written, expected] of [
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.Example', 'xn--bcher-kva.example'],
    ['bu\u0308cher.example', 'xn--bcher-kva.example'],
    ['mail.bücher.example', 'mail.xn--bcher-kva.example'],
    ['xn--bcher-kva.bücher.example', 'xn--bcher-kva.xn--bcher-kva.example'],
    ['straße.example', 'xn--strae-oqa.example'],
    ['日本語.jp', 'xn--wgv71a119e.jp'],
    ['مثال.إختبار', 'xn--mgbh0fb.xn--kgbechtv'],
  ] as const)
    assert.equal(asciiDomain(written), expected, written);
});

test('a domain of ASCII characters is neither converted nor judged', () => {
  for (const domain of ['Example.COM', 'orderflow%2eexample.com', 'a/b.de', 'srv_01.example', '[192.0.2.1]', ''])
    assert.equal(asciiDomain(domain), domain);
});

test('what the conversion would make of something else has no form', () => {
  for (const domain of [
    // Percent-encoding, and the characters that end a host in a URL.
    'bü%63her.example',
    'bücher%2eexample.com',
    'bü/x.example',
    'bü?x.example',
    'bü#x.example',
    'bü\\x.example',
    'bü:25.example',
    'ü@example.com',
    'bü cher.example',
    'bü\ncher.example',
    // Dots that are none.
    'orderflow．example．com',
    'orderflow。example.com',
    'orderflow｡example.com',
    'bücher．example',
    // Characters that become ASCII, or vanish.
    'ｏｒｄｅｒｆｌｏｗ.example.com',
    'order\u00adflow.example.com',
    'order\u200bflow.example.com',
    'ª.example',
    '①.bücher.example',
    '\u212aite.example',
    // IP addresses and what looks like one.
    '１２７.0.0.1',
    '１２７．０．０．１',
    'ü.127',
    'ü.0x7f',
    '[ü::1]',
    // No LDH labels.
    'srv_01.bücher.example',
    'bü_cher.example',
    '-ü-.-x.example',
    '.ü',
    'ü..example',
    'ü.example.',
    `${'ü'.repeat(60)}.example`,
    Array(30).fill('büchereien').join('.'),
    // No label at all.
    'xn--a.bücher.example',
    'xn--ü.example',
    'ü\u200dx.example',
    '℀.example',
    '\u0080.example',
    '\ud800.example',
  ])
    assert.equal(asciiDomain(domain), null, JSON.stringify(domain));
});

test('whatever comes, the form is one, has ASCII labels, and is its own form', () => {
  const labels = fc.array(fc.string({ unit: 'grapheme', maxLength: 6 }), { maxLength: 4 });
  fc.assert(
    fc.property(labels, (parts) => {
      const written = parts.join('.');
      const form = asciiDomain(written);
      if (form === null || form === written) return;
      assert.equal(asciiDomain(form), form);
      assert.equal(form.split('.').length, written.split('.').length);
      for (const label of form.split('.')) assert.match(label, /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    }),
    { numRuns: 3_000 },
  );
});
