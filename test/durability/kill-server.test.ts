import { test } from 'node:test';
import { killServerUnderLoad } from './kill-server.ts';

test('kill -9 of the server at any moment under load: what got 250 is there, once', (t) =>
  killServerUnderLoad(t, { kills: 6, lifeMs: 900 }));
