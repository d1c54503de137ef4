/** Whether the proofs see them takes minutes, and is `npm run broken-builds`; that the patches still fit takes none. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { objectionTo, readBrokenBuilds } from './broken-builds.ts';

test('every broken build applies, and has a proof that is there', async () => {
  const builds = await readBrokenBuilds();
  assert.ok(builds.length > 5);
  for (const build of builds) {
    assert.equal(objectionTo(build), null, build.name);
    const [program = '', test = ''] = build.proof;
    assert.ok(existsSync(join(import.meta.dirname, '..', program)), `${build.name}: ${program}`);
    assert.ok(
      !test.endsWith('.test.ts') || existsSync(join(import.meta.dirname, '..', test)),
      `${build.name}: ${test}`,
    );
  }
});
