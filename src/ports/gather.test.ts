import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
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

  for (const [bytes, atOnce] of [
    [0, 7],
    [3, 7],
    [10, 7],
    [25, 7],
    [25, 1],
    [25, 100],
    [20, 10],
  ] as const) {
    it(`a reader of ${bytes} bytes, ${atOnce} at once, comes in pieces of ten, in order`, async () => {
      const pieces: string[] = [];
      for await (const piece of gather(readerOf(bytes, atOnce), 10)) pieces.push(Buffer.from(piece).toString('latin1'));
      assert.equal(pieces.join(''), LETTERS.slice(0, bytes));
      assert.ok(pieces.slice(0, -1).every(({ length }) => length === 10));
    });
  }

  it('a piece grows from 16 KiB, and all rooms but those of a stream that is one piece are given back', async () => {
    for (const [bytes, kept] of [
      [40_000, 1],
      [300_000, 0],
    ] as const) {
      const out = new Set<ArrayBufferLike>();
      const rooms = {
        take(size: number) {
          const room = Buffer.alloc(Math.max(size, 16 * 1024));
          out.add(room.buffer);
          return room;
        },
        giveBack: ({ buffer }: Uint8Array) => void out.delete(buffer),
      };
      let total = 0;
      for await (const piece of gather(readerOf(bytes, 64 * 1024), 256 * 1024, undefined, rooms)) total += piece.length;
      assert.equal(total, bytes);
      assert.equal(out.size, kept);
    }
  });

  it('a stream of Node’s is iterated, though it has a `read`', async () => {
    const pieces: string[] = [];
    for await (const piece of gather(Readable.from(chunksOf(6, 6)), 10)) pieces.push(Buffer.from(piece).toString());
    assert.deepEqual(pieces, ['xxxxxxxxxx', 'xx']);
  });

  it('an abort ends the wait for a reader that hangs, and cancels it', async () => {
    let cancelled = false;
    const hanging = {
      read: () => new Promise<number>(() => {}),
      cancel() {
        cancelled = true;
      },
    };
    const abort = new AbortController();
    const pieces = gather(hanging, 10, abort.signal).next();
    abort.abort(new Error('enough'));
    await assert.rejects(pieces, /enough/);
    assert.equal(cancelled, true);
  });

  it('a reader is cancelled where nobody wants the next piece', async () => {
    const reader = readerOf(25, 7);
    for await (const _ of gather(reader, 10)) break;
    assert.equal(reader.cancelled, true);
  });
});

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

function readerOf(bytes: number, atOnce: number) {
  let given = 0;
  return {
    cancelled: false,
    async read(into: Uint8Array) {
      const count = Math.min(atOnce, bytes - given, into.length);
      for (let i = 0; i < count; i++) into[i] = LETTERS.charCodeAt((given + i) % LETTERS.length);
      given += count;
      return count;
    },
    cancel() {
      this.cancelled = true;
    },
  };
}
