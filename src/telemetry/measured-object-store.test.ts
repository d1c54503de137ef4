import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFileObjectStore } from '../adapters/fs/object-store.ts';
import { StoreError } from '../ports/object-store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { measureObjectStore } from './measured-object-store.ts';
import { createMetrics, objectStoreOperations } from './metrics.ts';

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

test('a measured store does what the store does, and every operation is timed once', async (t) => {
  const metrics = createMetrics();
  const plain = await createFileObjectStore({ rootDir: join(await temporaryFolder(t), 'objects') });
  const store = measureObjectStore(plain, metrics);
  assert.deepEqual(await store.put('a/b.txt', chunks('one', 'two')), { sizeBytes: 6 });
  assert.equal(Buffer.concat(await Array.fromAsync(await store.get('a/b.txt'))).toString(), 'onetwo');
  await store.copy('a/b.txt', 'a/c.txt');
  assert.equal((await store.head('a/c.txt'))?.sizeBytes, 6);
  assert.equal((await Array.fromAsync(store.list('a/'))).length, 2);
  await store.remove('a/c.txt');
  await store.check();
  const { text } = await metrics.scrape();
  for (const op of objectStoreOperations) {
    assert.ok(text.includes(`object_store_duration_seconds_count{op="${op}"} 1\n`), op);
  }
});

test('an operation that fails is timed too, and its error arrives unchanged', async (t) => {
  const metrics = createMetrics();
  const plain = await createFileObjectStore({ rootDir: join(await temporaryFolder(t), 'objects') });
  await assert.rejects(
    measureObjectStore(plain, metrics).get('not/there.txt'),
    (error) => error instanceof StoreError && error.code === 'object-missing',
  );
  assert.match((await metrics.scrape()).text, /object_store_duration_seconds_count\{op="get"\} 1\n/);
});
