/**
 * `prepack`: plain JavaScript into dist/, in the same layout as src/, so that what is found by a relative path (the
 * migrations, package.json) is found from both. Node strips types everywhere but inside node_modules, where a package
 * is installed. Only what the program reaches is built: no tests, nothing of theirs.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

// What an earlier build left would be packed as well.
rmSync(join(root, 'dist'), { recursive: true, force: true });
const { status, error } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (error) throw error;
process.exitCode = status ?? 1;
