import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { replies, replyLine } from '../smtp/index.ts';
import { refusals } from './refusals.ts';

test('docs/replies.md and the code list the same replies, word for word', () => {
  const page = readFileSync(new URL('../../docs/replies.md', import.meta.url), 'utf8');
  const rows = page.matchAll(/^\| `([a-z-]+)`[^|]*\|[^|]*\| `([^`]+)`/gm);
  const documented = Object.fromEntries([...rows].map(([, name = '', line = '']) => [name, line]));
  const lines = [...Object.values(replies), ...Object.values(refusals)].map((each) => [
    each.condition,
    replyLine(each),
  ]);
  assert.deepEqual(documented, Object.fromEntries(lines));
});

test('each refusal has the name of its condition', () => {
  for (const [name, { condition }] of Object.entries(refusals)) assert.equal(condition, name);
});
