import { test } from 'node:test';
import { killProcessUnderLoad } from './kill-process.ts';

test('kill -9 of one of several processes under load: what got 250 is there, once, and another takes its place', (t) =>
  killProcessUnderLoad(t, { kills: 4, lifeMs: 500 }));
