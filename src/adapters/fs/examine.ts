/** What `doctor` says of the object files: are they where a server left them, on one file system, and ours to write? */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { broken, type Finding, ok } from '../../ports/finding.ts';
import { syncDirectory } from './directories.ts';
import { errnoOf, isMissing } from './errors.ts';
import { INCOMING_NAME } from './incoming.ts';

const CHECK = 'object store';
/** Organisations looked at for a mount of their own. */
const MAX_FOLDERS = 1_000;

/** Makes nothing but a probe file, which it removes. */
export async function examineFileStore(rootDir: string): Promise<readonly Finding[]> {
  const incomingDir = join(rootDir, INCOMING_NAME);
  try {
    const root = await statOrNull(rootDir);
    if (root === null) return [ok(CHECK, `${rootDir} is not there yet: start makes it`)];
    const incoming = await statOrNull(incomingDir);
    await probe(rootDir, incoming === null ? rootDir : incomingDir);
    const elsewhere = await mountedElsewhere(rootDir, root.dev);
    if (elsewhere !== null) return [otherFileSystem(join(rootDir, elsewhere), rootDir)];
    return [ok(CHECK, `files in ${rootDir}: written, read back and removed`)];
  } catch (error) {
    if (errnoOf(error) === 'EXDEV') return [otherFileSystem(incomingDir, rootDir)];
    return [
      broken(
        CHECK,
        `${rootDir} cannot be used (${errnoOf(error) ?? String(error)})`,
        'make it and all below it readable and writable for the user who runs this (chown -R)',
      ),
    ];
  }
}

/** The steps of a put. */
async function probe(rootDir: string, firstDir: string): Promise<void> {
  const name = `+doctor-${randomUUID()}`;
  const [first, last] = [join(firstDir, name), join(rootDir, `${name}.eml`)];
  try {
    await written(await open(first, 'wx', 0o600), name);
    await rename(first, last);
    await syncDirectory(rootDir);
    if ((await readFile(last, 'utf8')) !== name) throw new Error('what was written is not what is read');
  } finally {
    await rm(first, { force: true });
    await rm(last, { force: true });
  }
}

async function written(file: FileHandle, text: string): Promise<void> {
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Errors: EACCES and the like where an organisation's folder cannot be looked into. */
async function mountedElsewhere(rootDir: string, dev: number): Promise<string | null> {
  const entries = await readdir(rootDir, { withFileTypes: true });
  for (const { name } of entries
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .slice(0, MAX_FOLDERS)) {
    const facts = await statOrNull(join(rootDir, name));
    if (facts !== null && facts.dev !== dev) return name;
  }
  return null;
}

const otherFileSystem = (path: string, rootDir: string): Finding =>
  broken(
    CHECK,
    `${path} lies on another file system than ${rootDir}: files cannot be renamed into place`,
    `mount the whole of ${rootDir}, not a part of it`,
  );

async function statOrNull(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}
