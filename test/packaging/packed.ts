/** The package as `npm pack` makes it and `npm install` puts it down, by the npm of this machine. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

export const ROOT = join(import.meta.dirname, '../..');
const NPM_TIMEOUT_MS = 180_000;

/** npm could not reach its registry; says nothing about the package. */
export class RegistryUnreachableError extends Error {
  override readonly name = 'RegistryUnreachableError';
}

/** Runs `prepack` as well. Shape: the path of the tarball. */
export async function pack(folder: string): Promise<string> {
  const name = (await npm(ROOT, ['pack', '--silent', '--pack-destination', folder])).trim().split('\n').at(-1) ?? '';
  return join(folder, name);
}

/** Unpacked, for looking at. Shape: the folder in which package.json is. */
export async function unpack(tarball: string): Promise<string> {
  const folder = join(dirname(tarball), 'unpacked');
  await mkdir(folder);
  await run('tar', ['-xzf', tarball, '-C', folder]);
  return join(folder, 'package');
}

/** Errors: `RegistryUnreachableError`. */
export async function install(tarball: string, cwd: string, ...options: readonly string[]): Promise<void> {
  // No scripts: npm is about to run none by default. What is in npm's cache is not asked for again.
  const quick = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--fetch-retries=1'];
  await npm(cwd, ['install', ...quick, ...options, tarball]);
}

async function npm(cwd: string, args: readonly string[]): Promise<string> {
  try {
    return (await run('npm', args, cwd)).stdout;
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    if (/\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED|E50[0-9])\b/.test(stderr))
      throw new RegistryUnreachableError(stderr.trim().split('\n')[0] ?? '', { cause: error });
    throw error;
  }
}

/** Errors: rejects with what it wrote, when it ends with anything but 0. */
export function run(
  program: string,
  args: readonly string[],
  cwd = '/',
  env?: Readonly<Record<string, string>>,
): Promise<{ stdout: string; stderr: string }> {
  const options = { cwd, timeout: NPM_TIMEOUT_MS, maxBuffer: 64 << 20, ...(env ? { env: { ...env } } : {}) };
  return promisify(execFile)(program, args, { ...options, encoding: 'utf8' });
}
