import type { ObjectFacts, ObjectStore } from '../ports/object-store.ts';
import type { Metrics, ObjectStoreOperation } from './metrics.ts';

/**
 * The same store, every operation timed, failed ones too.
 * `get` is timed until the object is open; `put` includes the time it waits for its sender; `list` counts only the
 * time spent waiting for the store.
 */
export function measureObjectStore(objects: ObjectStore, metrics: Metrics): ObjectStore {
  const timed = async <T>(operation: ObjectStoreOperation, run: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    try {
      return await run();
    } finally {
      metrics.objectStoreOperation(operation, performance.now() - startedAt);
    }
  };
  return {
    put: (key, content, options) => timed('put', () => objects.put(key, content, options)),
    get: (key, options) => timed('get', () => objects.get(key, options)),
    head: (key) => timed('head', () => objects.head(key)),
    copy: (fromKey, toKey) => timed('copy', () => objects.copy(fromKey, toKey)),
    remove: (key) => timed('remove', () => objects.remove(key)),
    check: (signal) => timed('check', () => objects.check(signal)),
    list: (prefix) => timedList(objects.list(prefix), metrics),
  };
}

async function* timedList(list: AsyncIterable<ObjectFacts>, metrics: Metrics): AsyncGenerator<ObjectFacts> {
  let waitedMs = 0;
  let askedAt = performance.now();
  try {
    for await (const facts of list) {
      waitedMs += performance.now() - askedAt;
      yield facts;
      askedAt = performance.now();
    }
    waitedMs += performance.now() - askedAt;
  } finally {
    metrics.objectStoreOperation('list', waitedMs);
  }
}
