import type { ObjectStore } from '../ports/object-store.ts';
import { createHashes } from './digests.ts';
import { createHeaderWatch } from './header-watch.ts';
import type { StoredRawMail } from './raw-store.ts';

/**
 * What `RawStore.store` learned of a mail when it came, learned again from its object. Holds a chunk and what
 * `createHeaderScan` holds.
 * Errors: those of `ObjectStore.get` and of its chunks.
 */
export async function readStoredMail(objects: Pick<ObjectStore, 'get'>, key: string): Promise<StoredRawMail> {
  const [header, hashes] = [createHeaderWatch(undefined), createHashes()];
  let sizeBytes = 0;
  for await (const chunk of await objects.get(key)) {
    sizeBytes += chunk.length;
    hashes.update(chunk, await header.push(chunk));
  }
  return { sizeBytes, ...hashes.finish(), header: header.finish() };
}
