import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { slugOf } from './plus-address.ts';

describe('plus-addressing', () => {
  it('valid: the organisation slug is what stands behind the plus, lower case', () => {
    for (const [localPart, slug] of [
      ['orders+acme', 'acme'],
      ['ORDERS+ACME', 'acme'],
      ['Orders+Acme-2', 'acme-2'],
      ['orders+0', '0'],
      ['orders+-', '-'],
      [`orders+${'a'.repeat(57)}`, 'a'.repeat(57)],
    ] as const) {
      assert.equal(slugOf(localPart), slug, localPart);
    }
  });

  it('missing: no tag, no slug', () => {
    for (const localPart of ['orders', 'orders+', '+', '', 'ORDERS', 'Postmaster']) {
      assert.equal(slugOf(localPart), null, localPart);
    }
  });

  it('invalid: another local part, a second plus, or what no slug may hold', () => {
    for (const localPart of [
      'sales+acme',
      'orders +acme',
      'order+acme',
      'myorders+acme',
      '+acme',
      'orders+acme+x',
      'orders++acme',
      'orders+ac me',
      'orders+ac.me',
      'orders+ac_me',
      'orders+acme\n',
      'orders+acme\0',
      "orders+acme'--",
      'orders+acmé',
      'orders-acme',
    ]) {
      assert.equal(slugOf(localPart), null, JSON.stringify(localPart));
    }
  });

  it('invalid: letters that only become ASCII by Unicode case folding', () => {
    assert.equal('\u212a'.toLowerCase(), 'k');
    assert.equal(slugOf('orders+\u212aite'), null);
    assert.equal(slugOf('order\u017f+acme'), null);
  });

  it('whatever comes, a slug is one the organisation table would take', () => {
    const localPart = fc.oneof(
      fc.string(),
      fc.string().map((tag) => `orders+${tag}`),
      fc.stringMatching(/^orders\+[A-Za-z0-9+-]*$/),
    );
    fc.assert(fc.property(localPart, (each) => /^[a-z0-9-]+$/.test(slugOf(each) ?? 'none')));
  });
});
