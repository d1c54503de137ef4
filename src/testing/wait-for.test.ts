import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { temporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

test('waitFor gives the first truthy value, and names what it waited for in vain', async () => {
  let calls = 0;
  assert.equal(await waitFor(() => ++calls > 2 && 'third', { what: 'the third call', intervalMs: 1 }), 'third');
  const vain = waitFor(() => Promise.reject(new Error('down')), { timeoutMs: 20, what: 'the sun', intervalMs: 1 });
  await assert.rejects(vain, (error: Error) => /the sun/.test(error.message) && String(error.cause).includes('down'));
});

test('what a test sets up is cleaned up in reverse order', async (t) => {
  let folder = '';
  await t.test('inner', async (inner) => {
    folder = await temporaryFolder(inner);
    assert.ok(existsSync(folder));
  });
  assert.ok(!existsSync(folder));
});

/** The guard behind every test file: Node's runner fails a file whose promise was rejected unseen. */
test('a rejection that nobody handles fails the run', async (t) => {
  const folder = await temporaryFolder(t);
  const file = `${folder}/stray.test.mjs`;
  await writeFile(
    file,
    "import { test } from 'node:test'; test('x', () => { void Promise.reject(new Error('stray')); });",
  );
  const runner = spawn(process.execPath, ['--test', file], { stdio: 'ignore', env: {} });
  const [code] = await once(runner, 'exit');
  assert.equal(code, 1);
});
