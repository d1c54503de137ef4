import { test } from 'node:test';
import { postgresHangsUnderLoad } from './hanging.ts';

test('PostgreSQL hangs under load: 451 within the deadline, it goes on by itself, memory and descriptors stay flat', (t) =>
  postgresHangsUnderLoad(t, { hangs: 1, hangMs: 24_000 }));
