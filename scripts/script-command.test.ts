import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const root = join(import.meta.dirname, '..');

describe('the scripts behind npm run', () => {
  for (const script of [
    'scripts/soak.ts',
    'scripts/fuzz-mime.ts',
    'scripts/fuzz-session.ts',
    'scripts/soak-slope.ts',
    'scripts/simulate.ts',
    'scripts/torture.ts',
    'scripts/generate-docs.ts',
    'bench/mime.ts',
  ]) {
    it(`${script}: a mistake is one line and the end with 2; --help tells of the options`, () => {
      const run = (...args: string[]) =>
        spawnSync(process.execPath, [join(root, script), ...args], { encoding: 'utf8' });
      const wrong = run('--nonsense');
      assert.equal(wrong.status, 2);
      assert.equal(wrong.stderr, "error: unknown option '--nonsense'\n");
      const help = run('--help');
      assert.equal(help.status, 0);
      assert.match(help.stdout, /^Usage: npm run [a-z:]+ -- \[options\]/);
    });
  }
});
