import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type PathKind, parsePath } from './path.ts';

const parsed = (path: string, kind: PathKind = 'forward-path') => parsePath(path, 0, kind)?.mailbox;

test('mailboxes are taken apart, and kept as they were sent', () => {
  const cases: [string, string, string, string][] = [
    ['<a@b>', 'a', 'b', 'a@b'],
    ['<orders+acme@Example.COM>', 'orders+acme', 'Example.COM', 'orders+acme@Example.COM'],
    ["<!#$%&'*+-/=?^_`{|}~@b>", "!#$%&'*+-/=?^_`{|}~", 'b', "!#$%&'*+-/=?^_`{|}~@b"],
    ['<"a b"@c>', 'a b', 'c', '"a b"@c'],
    ['<"a\\"\\\\ @>"@c>', 'a"\\ @>', 'c', '"a\\"\\\\ @>"@c'],
    ['<""@c>', '', 'c', '""@c'],
    ['<@one.example,@two.example:a@b>', 'a', 'b', 'a@b'],
    ['<a@[192.0.2.1]>', 'a', '[192.0.2.1]', 'a@[192.0.2.1]'],
    ['<a@[IPv6:2001:db8::1]>', 'a', '[IPv6:2001:db8::1]', 'a@[IPv6:2001:db8::1]'],
    ['<a@srv_01.example>', 'a', 'srv_01.example', 'a@srv_01.example'],
    ['<jürgen@bücher.example>', 'jürgen', 'xn--bcher-kva.example', 'jürgen@bücher.example'],
    ['<a@b.example.>', 'a', 'b.example', 'a@b.example.'],
    ['<a@bücher.example.>', 'a', 'xn--bcher-kva.example', 'a@bücher.example.'],
    ['<@one.example.:a@b>', 'a', 'b', 'a@b'],
    [`<${'l'.repeat(200)}@b>`, 'l'.repeat(200), 'b', `${'l'.repeat(200)}@b`],
    ['<POSTmaster>', 'POSTmaster', '', 'POSTmaster'],
  ];
  for (const [path, localPart, domain, address] of cases)
    assert.deepEqual(parsed(path), { localPart, domain, address }, path);
  assert.deepEqual(parsePath('<>', 0, 'forward-path'), { mailbox: null, next: 2, nonAscii: false });
});

test('what RFC 5321 §4.1.2 does not allow is malformed', () => {
  const label = 'l'.repeat(64);
  const longDomain = Array(65).fill('lll').join('.');
  const wrong =
    `<a@b a> <a> <@b> <a@> <a@b@c> <.a@b> <a.@b> <a..b@c> <a@.b> <a@.> <a@b..> <a@b..c> <a@[192.0.2.1].> <a@b.-> <@.:a@b> <@b..:a@c> <a@-b> <a@b-> <a@b-.c>
    <a@${label}> <a@${longDomain}> <${'l'.repeat(256)}@b> <"a@b> <"a"b@c> <a"b"@c> <"a\\"@b> <a\\@b@c> <a,b@c> <a:b@c> <a;b@c> <(a)b@c>
    <a@[]> <a@[192.0.2]> <a@[192.0.2.1> <a@[IPv6:1.2.3.4]> <a@[fe80::1]> <a@[IPv6:fe80::1%eth0]> <a@[x:y]> <@b> <@b:> <@b,:a@c> <@b;a@c> <@:a@b>
    <<a@b>> <a@b a@b> <postmasters> <postmaster,a@b> <postmaster@> <postmaster.>`
      .split(/\s+/)
      .filter((word) => word !== '');
  for (const path of [...wrong, '<a b@c>', '< a@b>', '<a@b >', '<a@b c>', '< >', ''])
    assert.equal(parsed(path), undefined, path);
});

test('without angle brackets an address passes when it is the rest, or parameters follow', () => {
  for (const [written, localPart, domain] of [
    ['a@b.example', 'a', 'b.example'],
    ['a@b.example.', 'a', 'b.example'],
    ['a@b.example SIZE=1', 'a', 'b.example'],
    ['a@b.example\tSIZE=1', 'a', 'b.example'],
    ['"a b>"@c', 'a b>', 'c'],
    ['a@[192.0.2.1]', 'a', '[192.0.2.1]'],
    ['PostMaster', 'PostMaster', ''],
  ] as const) {
    const path = parsePath(written, 0, 'forward-path');
    assert.deepEqual([path?.mailbox?.localPart, path?.mailbox?.domain], [localPart, domain], written);
    assert.ok([undefined, ' ', '\t'].includes(written[path?.next ?? 0]), written);
  }
  for (const written of [
    '',
    'a',
    'a@b>',
    'a@b,c@d',
    'a@b;',
    'a@b<',
    'a@b<c@d>',
    'A <a@b>',
    '"A" <a@b>',
    '@x:a@b',
    '>',
    '@',
  ])
    assert.equal(parsed(written), undefined, written);
});

test('dots in a row or at the end of the local part pass in a reverse-path, and nowhere else', () => {
  for (const address of ['a..b@docomo.example', 'a.@docomo.example', 'a...@docomo.example', 'a..b.@docomo.example']) {
    assert.equal(parsed(`<${address}>`, 'reverse-path')?.address, address);
    assert.equal(parsed(address, 'reverse-path')?.address, address);
    assert.equal(parsed(`<${address}>`, 'forward-path'), undefined, address);
  }
  for (const path of ['<.a@b>', '<.@b>', '<..@b>', '<a@b..c>', '<a@.b>', '.a@b', '<a..>', '<"a"..@b>'])
    assert.equal(parsed(path, 'reverse-path'), undefined, path);
});

test('a domain that has no A-label form is malformed, and one of ASCII characters is never converted', () => {
  const traps = `orderflow%2eexample.com a/b.de orderflow．example．com orderflow。example.com ｏｒｄｅｒ.example １２７.0.0.1
    srv_01.bücher.example bü_cher.example bü%63her.example bü/x.example bü?x bü#x bü:25 ü.127 ª.example xn--a.bücher.example
    ü-.example -ü.example ü..example order\u00adflow.example.com`;
  for (const domain of traps.split(/\s+/))
    for (const kind of ['forward-path', 'reverse-path'] as const) {
      assert.equal(parsed(`<orders+acme@${domain}>`, kind), undefined, domain);
      assert.equal(parsed(`orders+acme@${domain}`, kind), undefined, domain);
    }
  assert.equal(parsed('<a@XN--BCHER-KVA.example>')?.domain, 'XN--BCHER-KVA.example');
});

test('no control character gets into an address', () => {
  for (let code = 0; code < 0xa0; code++) {
    if (code >= 0x20 && code < 0x7f) continue;
    const control = String.fromCharCode(code);
    for (const path of [
      `<a${control}@b>`,
      `<"a${control}"@b>`,
      `<"a\\${control}"@b>`,
      `<a@b${control}>`,
      `<a@[192.0.2.1${control}]>`,
      `<@x${control}:a@b>`,
    ])
      assert.equal(parsed(path), undefined, JSON.stringify(path));
  }
});

test('non-ASCII is told, wherever it stands', () => {
  assert.equal(parsePath('<ä@b>', 0, 'forward-path')?.nonAscii, true);
  assert.equal(parsePath('<"ä"@b>', 0, 'forward-path')?.nonAscii, true);
  assert.equal(parsePath('<a@ä>', 0, 'forward-path')?.nonAscii, true);
  assert.equal(parsePath('<a@b>', 0, 'forward-path')?.nonAscii, false);
});

test('any text is answered, and what is taken can be taken again', () => {
  const words = fc.constantFrom(
    '<',
    '>',
    '@',
    '"',
    '\\',
    '.',
    ',',
    ':',
    '[',
    ']',
    'a',
    'é',
    ' ',
    '-',
    '\0',
    'IPv6:',
    '::1',
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 30, size: 'max' }), fc.boolean(), (parts, reverse) => {
      const kind = reverse ? 'reverse-path' : 'forward-path';
      for (const text of [`<${parts.join('')}`, parts.join('')]) {
        const mailbox = parsePath(text, 0, kind)?.mailbox;
        if (mailbox == null) continue;
        assert.deepEqual(parsed(`<${mailbox.address}>`, kind), mailbox);
        assert.deepEqual(parsed(mailbox.address, kind), mailbox);
      }
    }),
    { numRuns: 5_000 },
  );
});
