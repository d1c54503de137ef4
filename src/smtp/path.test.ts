import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parsePath } from './path.ts';

const parsed = (path: string) => parsePath(path, 0)?.mailbox;

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
    ['<jürgen@bücher.example>', 'jürgen', 'bücher.example', 'jürgen@bücher.example'],
    [`<${'l'.repeat(200)}@b>`, 'l'.repeat(200), 'b', `${'l'.repeat(200)}@b`],
    ['<POSTmaster>', 'POSTmaster', '', 'POSTmaster'],
  ];
  for (const [path, localPart, domain, address] of cases)
    assert.deepEqual(parsed(path), { localPart, domain, address }, path);
  assert.deepEqual(parsePath('<>', 0), { mailbox: null, next: 2, nonAscii: false });
});

test('what RFC 5321 §4.1.2 does not allow is malformed', () => {
  const label = 'l'.repeat(64);
  const longDomain = Array(65).fill('lll').join('.');
  const wrong = `a@b <a@b a> <a> <@b> <a@> <a@b@c> <.a@b> <a.@b> <a..b@c> <a@.b> <a@b.> <a@b..c> <a@-b> <a@b-> <a@b-.c>
    <a@${label}> <a@${longDomain}> <${'l'.repeat(256)}@b> <"a@b> <"a"b@c> <a"b"@c> <"a\\"@b> <a\\@b@c> <a,b@c> <a:b@c> <a;b@c> <(a)b@c>
    <a@[]> <a@[192.0.2]> <a@[192.0.2.1> <a@[IPv6:1.2.3.4]> <a@[fe80::1]> <a@[IPv6:fe80::1%eth0]> <a@[x:y]> <@b> <@b:> <@b,:a@c> <@b;a@c> <@:a@b>
    <<a@b>> <a@b <postmasters>`
    .split(/\s+/)
    .filter((word) => word !== '');
  for (const path of [...wrong, '<a b@c>', '< a@b>', '<a@b >', '<a@b c>', '< >', ''])
    assert.equal(parsed(path), undefined, path);
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
  assert.equal(parsePath('<ä@b>', 0)?.nonAscii, true);
  assert.equal(parsePath('<"ä"@b>', 0)?.nonAscii, true);
  assert.equal(parsePath('<a@ä>', 0)?.nonAscii, true);
  assert.equal(parsePath('<a@b>', 0)?.nonAscii, false);
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
    fc.property(fc.array(words, { maxLength: 30, size: 'max' }), (parts) => {
      const path = parsePath(`<${parts.join('')}`, 0);
      if (path?.mailbox == null) return;
      assert.deepEqual(parsePath(`<${path.mailbox.address}>`, 0)?.mailbox, path.mailbox);
    }),
    { numRuns: 5_000 },
  );
});
