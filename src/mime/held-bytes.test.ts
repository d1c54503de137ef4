import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createHeldBytes } from './held-bytes.ts';

describe('held bytes', () => {
  const text = 'Bestellung 4711, 100 Stück';

  for (const size of [1, 3, 100]) {
    test(`are those that came, ${size} at a time, whatever becomes of the pieces`, () => {
      const held = createHeldBytes(1_000);
      const bytes = Buffer.from(text);
      for (let i = 0; i < bytes.length; i += size) {
        const piece = Buffer.from(bytes.subarray(i, i + size));
        held.append(piece);
        piece.fill(0x2d);
      }
      assert.equal(held.bytes().toString(), text);
    });

    test(`end at the bound, ${size} at a time`, () => {
      const held = createHeldBytes(10);
      for (let i = 0; i < text.length; i += size) held.append(Buffer.from(text.slice(i, i + size)));
      assert.equal(held.bytes().toString(), 'Bestellung');
    });
  }
});
