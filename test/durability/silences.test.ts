import { describe, it } from 'node:test';
import { databaseFirewalled, databaseForgotten, stoppedInSilence } from './silences.ts';

// Side by side: each waits most of its time.
describe('the network forgets connections to the database', { concurrency: true }, () => {
  it('twice for a while: mail is accepted and read again each time, and SIGTERM ends with 0', (t) =>
    databaseForgotten(t, { silences: 2, silentMs: 20_000 }));

  it('for a moment only: connections that sit idle are found dead all the same', (t) =>
    databaseForgotten(t, { silences: 1, silentMs: 1_000 }));

  it('twice, behind a firewall that drops packets: the same', (t) =>
    databaseFirewalled(t, { silences: 2, silentMs: 20_000 }));

  it('twice, with a process for each role: the same', (t) =>
    databaseForgotten(t, { silences: 2, silentMs: 20_000, args: ['--processes', '2'] }));

  it('for good, and found out a moment ago: SIGTERM ends with 0 in time', (t) => stoppedInSilence(t, 1_000));

  it('for good: SIGTERM ends with 0 in time', (t) => stoppedInSilence(t, 20_000));
});
