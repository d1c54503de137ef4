import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { atEndOfTurn } from './end-of-turn.ts';

test('steps run together, in order, after what runs in this turn; one that is asked for by a step runs in the next', async () => {
  const done: string[] = [];
  atEndOfTurn(() => {
    done.push('first');
    atEndOfTurn(() => done.push('later'));
  });
  await Promise.resolve();
  atEndOfTurn(() => done.push('second'));
  assert.deepEqual(done, []);
  await turn();
  assert.deepEqual(done, ['first', 'second']);
  await turn();
  assert.deepEqual(done, ['first', 'second', 'later']);
});
