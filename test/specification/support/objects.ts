/** The object store as it lies on disk, read without the product's own code. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { assertSameItems } from './assertions.ts';
import type { Rows } from './rows.ts';

export interface Objects {
  /** Keys of all that is stored, whatever it is, sorted; also what was begun and left lying about. */
  keys(): Promise<readonly string[]>;
  read(key: string): Promise<Buffer>;
  /** Every object belongs to a row and every row has its object, with the row's size and sha256. */
  assertMatchRows(rows: Rows): Promise<void>;
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
    async assertMatchRows(rows) {
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
      assertSameItems(found, expected, 'the objects on disk are those of the rows');
    },
  };
}
