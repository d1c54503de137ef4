/** Whether the proofs see them takes minutes, and is `npm run broken-builds`; that the patches still fit takes none. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { objectionTo, readBrokenBuilds } from './broken-builds.ts';

const ROOT = join(import.meta.dirname, '..');

test('every broken build applies, and has a proof that is there', async () => {
  const builds = await readBrokenBuilds();
  assert.ok(builds.length > 5);
  for (const build of builds) {
    assert.equal(objectionTo(build), null, build.name);
    const [program = '', test = ''] = build.program;
    assert.ok(existsSync(join(ROOT, program)), `${build.name}: ${program}`);
    assert.ok(!test.endsWith('.test.ts') || existsSync(join(ROOT, test)), `${build.name}: ${test}`);
  }
});

test('a mistake is one line and the end with 2; a name that is not there ends with 1', () => {
  const run = (arg: string) =>
    spawnSync(process.execPath, [join(ROOT, 'scripts/broken-builds.ts'), arg], { encoding: 'utf8' });
  const wrong = run('--nonsense');
  assert.deepEqual([wrong.status, wrong.stderr], [2, "error: unknown option '--nonsense'\n"]);
  const unknown = run('no-such-patch');
  assert.deepEqual(
    [unknown.status, unknown.stderr],
    [1, 'error: no such patch in test/broken-builds: no-such-patch\n'],
  );
});
