/** The object store as it lies on disk, read without the product's own code. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { waitFor } from '../../../src/testing/wait-for.ts';
import { assertSameItems } from './assertions.ts';
import type { Rows } from './rows.ts';

export interface Objects {
  /** Keys of all that is stored, whatever it is, sorted; also what was begun and left lying about. */
  keys(): Promise<readonly string[]>;
  read(key: string): Promise<Buffer>;
  /** What was begun may be taken away a moment after the reply. */
  assertBackTo(keys: readonly string[]): Promise<void>;
  /**
   * Every object belongs to a row and every row has its object, with the row's size and sha256. `mayBeLeft` objects may
   * be nobody's: after a crash.
   */
  assertMatchRows(rows: Rows, mayBeLeft?: number): Promise<void>;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function openObjects(dataDir: string): Objects {
  const root = join(dataDir, 'objects');
  const read = (key: string): Promise<Buffer> => readFile(join(root, key));
  const keys = async (): Promise<readonly string[]> => {
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => !entry.isDirectory());
    return files.map(({ parentPath, name }) => relative(root, join(parentPath, name)).split(sep).join('/')).sort();
  };
  return {
    keys,
    read,
    async assertBackTo(before) {
      const same = async () => isDeepStrictEqual(await keys(), before);
      await waitFor(same, { timeoutMs: 5_000, what: 'nothing left behind' }).catch(() => {});
      assert.deepEqual(await keys(), before, 'nothing is left behind');
    },
    async assertMatchRows(rows, mayBeLeft = 0) {
      const [messages, documents, conflicts] = await Promise.all([rows.messages(), rows.documents(), rows.conflicts()]);
      const expected = [
        ...[...messages, ...conflicts].map((row) => [row.raw_storage_key, row.size_bytes, row.raw_sha256] as const),
        ...documents.map((row) => [row.storage_key, row.size_bytes, row.sha256] as const),
      ].filter(([key]) => key !== null);
      const found = await Promise.all(
        (await keys()).map(async (key) => {
          const bytes = await read(key);
          return [key, bytes.length, sha256(bytes)] as const;
        }),
      );
      const known = new Set(expected.map(([key]) => key));
      const nobodys = found.filter(([key]) => !known.has(key));
      assert.ok(nobodys.length <= mayBeLeft, `nobody's, and at most ${mayBeLeft} may be: ${nobodys.join(' ')}`);
      assertSameItems(
        found.filter(([key]) => known.has(key)),
        expected,
        'every row has its object, with its size and digest',
      );
    },
  };
}
