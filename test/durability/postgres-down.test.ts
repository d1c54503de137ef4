import { test } from 'node:test';
import { killEmbeddedPostgresUnderLoad, postgresAwayUnderLoad } from './postgres-down.ts';

test('kill -9 of the embedded postmaster under load: it comes back by itself, and nothing is lost', (t) =>
  killEmbeddedPostgresUnderLoad(t, { kills: 1, whole: false }));

test('kill -9 of all processes of the embedded PostgreSQL under load: it comes back by itself, and nothing is lost', (t) =>
  killEmbeddedPostgresUnderLoad(t, { kills: 1, whole: true }));

test('PostgreSQL killed and away for a while: no 250 meanwhile, 451 at once, and it goes on by itself', (t) =>
  postgresAwayUnderLoad(t, { kills: 1, awayMs: 3_000 }));
