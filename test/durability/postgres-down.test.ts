import { describe, it } from 'node:test';
import { postgresHangsUnderLoad } from './hanging.ts';
import { killEmbeddedPostgresUnderLoad, postgresAwayUnderLoad } from './postgres-down.ts';

// Side by side: each waits most of its time.
describe('PostgreSQL goes away under load', { concurrency: true }, () => {
  it('kill -9 of the embedded postmaster under load: it comes back by itself, and nothing is lost', (t) =>
    killEmbeddedPostgresUnderLoad(t, { kills: 1, whole: false }));

  it('kill -9 of all processes of the embedded PostgreSQL under load: it comes back by itself, and nothing is lost', (t) =>
    killEmbeddedPostgresUnderLoad(t, { kills: 1, whole: true }));

  it('PostgreSQL killed and away for a while: no 250 meanwhile, 451 at once, and it goes on by itself', (t) =>
    postgresAwayUnderLoad(t, { kills: 1, awayMs: 3_000 }));

  it('PostgreSQL hangs under load: 451 within the deadline, it goes on by itself, memory and descriptors stay flat', (t) =>
    postgresHangsUnderLoad(t, { hangs: 1, hangMs: 23_000 }));
});
