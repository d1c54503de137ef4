import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressKey, plainAddress } from './address-key.ts';
import { defaultLimits, resolveLimits, type SmtpLimits } from './limits.ts';

test('limits not given are the defaults', () => {
  assert.deepEqual(resolveLimits(), defaultLimits);
  assert.deepEqual(resolveLimits({ maxErrors: 3 }), { ...defaultLimits, maxErrors: 3 });
});

test('0, NaN, fractions, strings and unknown names are refused, all at once and by name', () => {
  for (const wrong of [0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, '10', null, true])
    assert.throws(() => resolveLimits({ maxErrors: wrong } as unknown as Partial<SmtpLimits>), /maxErrors/);
  assert.throws(
    () => resolveLimits({ maxErrors: 0, maxRecipents: 3, idleTimeoutMs: '1' } as unknown as Partial<SmtpLimits>),
    (error: RangeError) => ['maxErrors', 'maxRecipents', 'idleTimeoutMs'].every((name) => error.message.includes(name)),
  );
});

test('connections are counted by IPv4 address and by IPv6 /64', () => {
  assert.equal(plainAddress('::ffff:192.0.2.1'), '192.0.2.1');
  assert.equal(addressKey('192.0.2.1'), '192.0.2.1');
  assert.equal(addressKey('2001:db8:1:2::1'), addressKey('2001:db8:1:2:3:4:5:6'));
  assert.notEqual(addressKey('2001:db8:1:2::1'), addressKey('2001:db8:1:3::1'));
  assert.equal(addressKey('2001:db8::1'), '2001:db8:0:0::/64');
  assert.equal(addressKey('::1'), '0:0:0:0::/64');
});
