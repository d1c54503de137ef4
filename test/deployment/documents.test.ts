import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const path = join(root, 'docs/deployment.md');
const text = await readFile(path, 'utf8');

test('the files and chapters that docs/deployment.md names are there', async () => {
  const files = new Set(text.match(/\bdeploy\/[\w./-]+[\w]/g)?.filter((name) => !name.includes('/ours')));
  assert.ok(files.size >= 6);
  for (const name of files) await access(join(root, name));
  for (const [, target = '', chapter] of text.matchAll(/\]\((?!https?:)([^)#]+)(?:#([\w-]+))?\)/g)) {
    const linked = await readFile(join(dirname(path), target), 'utf8');
    if (chapter === undefined) continue;
    const chapters = [...linked.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) => anchorOf(title));
    assert.ok(chapters.includes(chapter), `${target}#${chapter}`);
  }
});

const anchorOf = (title: string) =>
  title
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-');
