import assert from 'node:assert/strict';
import { test } from 'node:test';
import { validate, version } from 'uuid';
import { createMessageIds } from './message-ids.ts';

test('ids are UUIDs of version 7, of now, and no two alike, however many', () => {
  const nextId = createMessageIds();
  const before = Date.now();
  const ids = Array.from({ length: 5_000 }, nextId);
  const after = Date.now();
  assert.equal(new Set(ids).size, ids.length);
  // Also without their time: the same random bytes are never used again.
  assert.equal(new Set(ids.map((id) => id.slice(15))).size, ids.length);
  for (const id of ids) {
    assert.ok(validate(id) && version(id) === 7, id);
    const ms = Number.parseInt(id.replace('-', '').slice(0, 12), 16);
    assert.ok(ms >= before && ms <= after, id);
  }
});
