import type { Dir, Dirent } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { isKeySegment } from '../../ports/keys.ts';
import type { ObjectFacts } from '../../ports/object-store.ts';
import { isMissing } from './errors.ts';

/**
 * The objects whose key begins with the prefix, in no particular order.
 * Holds one open directory per level. What appears or goes meanwhile may be there or not.
 * Errors: those of the system calls.
 */
export async function* walkObjects(rootDir: string, prefix: string): AsyncGenerator<ObjectFacts, void, undefined> {
  const slash = prefix.lastIndexOf('/');
  yield* walkDirectory(rootDir, prefix.slice(0, slash + 1), prefix.slice(slash + 1));
}

/** `below` is empty or ends with a slash. */
async function* walkDirectory(
  rootDir: string,
  below: string,
  namePrefix: string,
): AsyncGenerator<ObjectFacts, void, undefined> {
  const directory = await openedOrNull(join(rootDir, below));
  if (directory === null) return;
  for await (const entry of directory) {
    if (!entry.name.startsWith(namePrefix) || !isKeySegment(entry.name)) continue;
    if (entry.isDirectory()) yield* walkDirectory(rootDir, `${below}${entry.name}/`, '');
    else yield* factsOf(rootDir, below, entry);
  }
}

async function* factsOf(rootDir: string, below: string, entry: Dirent): AsyncGenerator<ObjectFacts, void, undefined> {
  const facts = await objectFacts(join(rootDir, below, entry.name), below + entry.name);
  if (facts !== null) yield facts;
}

/** null when there is no such file, or something else than a file. */
export async function objectFacts(path: string, key: string): Promise<ObjectFacts | null> {
  try {
    const stats = await lstat(path);
    return stats.isFile() ? { key, sizeBytes: stats.size, modifiedAt: stats.mtime } : null;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

async function openedOrNull(path: string): Promise<Dir | null> {
  try {
    return await opendir(path);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}
