import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../src/testing/temporary-folder.ts';

const script = join(import.meta.dirname, 'generate-docs.ts');
const frame = ['# Title', 'before', '<!-- settings:begin -->', 'stale text', '<!-- settings:end -->', 'between'].join(
  '\n',
);
const readme = `${frame}\n<!-- commands:begin -->\n<!-- commands:end -->\nafter $& $1\n`;

function generate(root: string, ...args: string[]) {
  const { status, stderr } = spawnSync(process.execPath, [script, '--root', root, ...args], { encoding: 'utf8' });
  return { status, stderr };
}

test('the generated parts are written between their markers, the rest is left alone, and a check then passes', async (t) => {
  const root = await temporaryFolder(t);
  await writeFile(join(root, 'README.md'), readme);
  const before = generate(root, '--check');
  assert.equal(before.status, 1);
  assert.match(before.stderr, /^\.env\.example differs .*\nREADME\.md differs /);
  assert.equal(generate(root).status, 0);
  assert.deepEqual(generate(root, '--check'), { status: 0, stderr: '' });
  const written = await readFile(join(root, 'README.md'), 'utf8');
  assert.match(written, /^# Title\nbefore\n<!-- settings:begin -->\n\n\| name \| default/);
  assert.match(written, /\| `SMTP_PORT` \| `2525` \|/);
  assert.match(written, /\| `org add <slug> \[--name <name>\]` \|/);
  assert.ok(written.endsWith('<!-- commands:end -->\nafter $& $1\n'));
  assert.doesNotMatch(written, /stale text/);
});

test('a README edited by hand inside the markers, or without them, fails the check', async (t) => {
  const root = await temporaryFolder(t);
  await writeFile(join(root, 'README.md'), readme);
  generate(root);
  const written = await readFile(join(root, 'README.md'), 'utf8');
  await writeFile(join(root, 'README.md'), written.replace('`2525`', '`2526`'));
  assert.equal(generate(root, '--check').status, 1);
  await writeFile(join(root, 'README.md'), '# Title\n');
  const without = generate(root, '--check');
  assert.equal(without.status, 1);
  assert.match(without.stderr, /README\.md: needs one <!-- settings:begin -->/);
});
