import assert from 'node:assert/strict';
import { it } from 'node:test';
import pino from 'pino';
import { createClosers } from './closers.ts';

const log = pino({ level: 'silent' });

it('closes the last opened first, each after the one before', async () => {
  const seen: string[] = [];
  const closers = createClosers({ log });
  for (const name of ['a', 'b']) {
    closers.add(name, async () => {
      seen.push(`${name} begins`);
      await new Promise(setImmediate);
      seen.push(`${name} ends`);
    });
  }
  assert.deepEqual(await closers.closeAll(), []);
  assert.deepEqual(seen, ['b begins', 'b ends', 'a begins', 'a ends']);
});

it('names what hangs or fails, and closes the rest all the same', async () => {
  const seen: string[] = [];
  const closers = createClosers({ log, totalMs: 50 });
  closers.add('good', async () => void seen.push('good'));
  closers.add('fails', async () => {
    throw new Error('no');
  });
  closers.add('hangs', () => new Promise(() => {}));
  assert.deepEqual(await closers.closeAll(), ['hangs', 'fails']);
  assert.deepEqual(seen, ['good']);
});
