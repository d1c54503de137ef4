import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { read } from '../ports/object-store.contract.ts';
import { type ObjectStore, PUT_AT_ONCE_BYTES, StoreError } from '../ports/object-store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { openPartFile, type PartFile } from './part-file.ts';

const KEY = 'org/2026/11/a.pdf';

interface Opened {
  readonly objects: ObjectStore;
  readonly file: PartFile;
  /** How each put was given its content. */
  readonly puts: ('at once' | 'in pieces')[];
  /** What the destination was chosen by. */
  readonly firstBytes: Buffer[];
}

async function open(t: TestContext, how: { failing?: boolean; signal?: AbortSignal } = {}): Promise<Opened> {
  const real = await createFileObjectStore({ rootDir: await temporaryFolder(t) });
  const puts: Opened['puts'] = [];
  const firstBytes: Buffer[] = [];
  const objects: ObjectStore = {
    ...real,
    async put(key, content, options) {
      puts.push(content instanceof Uint8Array ? 'at once' : 'in pieces');
      if (how.failing) {
        // In the middle, where it comes in pieces.
        if (!(content instanceof Uint8Array)) for await (const _ of content) break;
        throw new StoreError('store-unavailable', 'EIO');
      }
      return real.put(key, content, options);
    },
  };
  const file = openPartFile({
    objects,
    signal: how.signal ?? new AbortController().signal,
    async destination(bytes) {
      firstBytes.push(Buffer.from(bytes));
      return { storageKey: KEY, mimeType: 'application/pdf' };
    },
  });
  return { objects, file, puts, firstBytes };
}

/** Each piece is written over as soon as it was taken. */
async function writeAll(file: PartFile, bytes: Buffer, pieceBytes = 50_000): Promise<void> {
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    const piece = Buffer.from(bytes.subarray(start, start + pieceBytes));
    await file.write(piece);
    piece.fill(0);
  }
}

describe('a part on its way into the object store', () => {
  for (const [sizeBytes, how] of [
    [0, 'at once'],
    [1, 'at once'],
    [4_100, 'at once'],
    [PUT_AT_ONCE_BYTES - 1, 'at once'],
    [PUT_AT_ONCE_BYTES, 'in pieces'],
    [PUT_AT_ONCE_BYTES + 1, 'in pieces'],
    [3_000_000, 'in pieces'],
  ] as const) {
    it(`of ${sizeBytes} bytes goes ${how}, whole, counted and hashed`, async (t) => {
      const { objects, file, puts, firstBytes } = await open(t);
      const bytes = randomBytes(sizeBytes);
      await writeAll(file, bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      assert.deepEqual(await file.finish(), { storageKey: KEY, mimeType: 'application/pdf', sizeBytes, sha256 });
      assert.deepEqual(puts, [how]);
      assert.deepEqual(firstBytes, [bytes.subarray(0, 4_100)]);
      assert.ok((await read(objects, KEY)).equals(bytes));
    });
  }

  for (const sizeBytes of [10, 3_000_000]) {
    it(`of ${sizeBytes} bytes that the store does not take is told of at its end`, async (t) => {
      const { file } = await open(t, { failing: true });
      await writeAll(file, randomBytes(sizeBytes));
      await assert.rejects(file.finish(), { name: 'StoreError', code: 'store-unavailable' });
      await file.abandon();
    });

    it(`of ${sizeBytes} bytes that is abandoned leaves nothing`, async (t) => {
      const { objects, file, puts } = await open(t);
      await writeAll(file, randomBytes(sizeBytes));
      await file.abandon();
      assert.deepEqual(puts, sizeBytes < PUT_AT_ONCE_BYTES ? [] : ['in pieces']);
      assert.equal(await objects.head(KEY), null);
    });

    it(`of ${sizeBytes} bytes ends with the reason when all is stopped`, async (t) => {
      const stop = new AbortController();
      const { objects, file } = await open(t, { signal: stop.signal });
      await writeAll(file, randomBytes(sizeBytes));
      const reason = new Error('stopping');
      stop.abort(reason);
      await assert.rejects(file.finish(), (error) => error === reason);
      assert.equal(await objects.head(KEY), null);
    });
  }
});
