import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '../testing/wait-for.ts';
import { askWithDeadline, DeadlineError } from './deadline.ts';

test('callers at the same time share one asking; later ones ask again', async () => {
  let asked = 0;
  const ask = askWithDeadline(async () => {
    asked += 1;
    return asked;
  }, 5_000);
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), [1, 1, 1]);
  assert.equal(await ask(), 2);
});

test('a question without an answer ends in a deadline, is not asked twice meanwhile, and again after a while', async () => {
  let asked = 0;
  const ask = askWithDeadline(() => {
    asked += 1;
    return new Promise<never>(() => {});
  }, 10);
  await assert.rejects(ask(), DeadlineError);
  await assert.rejects(ask(), DeadlineError);
  assert.equal(asked, 1);
  await waitFor(
    async () => {
      await ask().catch(() => {});
      return asked === 2;
    },
    { what: 'the question to be given up and asked again' },
  );
});

test('the signal tells the question that nobody waits any longer', async () => {
  const ask = askWithDeadline(
    (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    10,
  );
  await assert.rejects(ask());
});

test('a failing question fails its callers and nobody else', async () => {
  let fail = true;
  const ask = askWithDeadline(async () => {
    if (fail) throw new Error('no');
    return 'yes';
  }, 5_000);
  await assert.rejects(ask(), /no/);
  fail = false;
  assert.equal(await ask(), 'yes');
});
