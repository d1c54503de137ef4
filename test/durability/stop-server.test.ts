import { test } from 'node:test';
import { stopServerUnderLoad } from './stop-server.ts';

test('SIGTERM under load, every two seconds: clients hear only 250, 421 or 451, nothing is lost, each end is clean', (t) =>
  stopServerUnderLoad(t, { stops: 4, lifeMs: 2_000 }));
