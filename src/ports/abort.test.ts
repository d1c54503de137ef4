import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { unlessAborted } from './abort.ts';

const never = new Promise<never>(() => {});

test('the outcome of the work is passed on, and no listener stays', async () => {
  const { signal } = new AbortController();
  assert.equal(await unlessAborted(Promise.resolve(1), signal), 1);
  await assert.rejects(unlessAborted(Promise.reject(new Error('fault')), signal), /fault/);
  assert.equal(await unlessAborted(Promise.resolve(2), undefined), 2);
  await new Promise(setImmediate);
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});

test('an abort ends the wait with its reason, also one that came before', { timeout: 10_000 }, async () => {
  const abort = new AbortController();
  const waiting = unlessAborted(never, abort.signal);
  abort.abort(new Error('too late'));
  await assert.rejects(waiting, /too late/);
  await assert.rejects(unlessAborted(never, abort.signal), /too late/);
});
