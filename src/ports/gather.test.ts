import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gather } from './gather.ts';

async function* chunksOf(...sizes: number[]) {
  for (const size of sizes) yield Buffer.alloc(size, 'x');
}

describe('gather', { timeout: 5_000 }, () => {
  it('a stream of one short piece: it stays good after the end', async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of gather(chunksOf(3, 4), 10)) pieces.push(piece);
    assert.deepEqual(
      pieces.map((piece) => Buffer.from(piece).toString()),
      ['xxxxxxx'],
    );
  });

  it('the last of several pieces is good until it is asked for more, then its memory is given back', async () => {
    for (const sizes of [
      [6, 6],
      [10, 2],
    ]) {
      const pieces = gather(chunksOf(...sizes), 10);
      assert.equal((await pieces.next()).value?.length, 10);
      const { value: last } = await pieces.next();
      assert.equal(last?.toString(), 'xx');
      assert.equal((await pieces.next()).done, true);
      assert.equal(last?.length, 0);
    }
  });
});
