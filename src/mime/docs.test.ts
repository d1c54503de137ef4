import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defectMeanings } from './defects.ts';
import { defaultMimeLimits } from './limits.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/mime.md'), 'utf8');

test('docs/mime.md lists every defect, its meaning and whether it is noted on the message, and no other', () => {
  const section = page.slice(page.indexOf('## Defects'), page.indexOf('## How it is held'));
  const listed = [...section.matchAll(/^\| `([a-z0-9-]+)` \| (.+) \| (yes|no) \|$/gm)].map((row) => row.slice(1));
  assert.deepEqual(
    listed,
    Object.entries(defectMeanings)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([code, { message, noted }]) => [code, message, noted ? 'yes' : 'no']),
  );
});

test('docs/mime.md lists every limit with its default', () => {
  const listed = [...page.matchAll(/^\| `(max\w+)` \| ([\d,]+) \|/gm)].map(([, name, value]) => [
    name,
    value?.replaceAll(',', ''),
  ]);
  assert.deepEqual(
    listed,
    Object.entries(defaultMimeLimits).map(([name, value]) => [name, String(value)]),
  );
});
