import { describe, it } from 'node:test';
import { workerKilledHalfWay, workerRobbed } from './worker-faults.ts';

// Side by side: each waits most of its time.
describe('worker faults', { concurrency: true }, () => {
  it('worker killed half-way through the attachments: taken up within a minute after restart, one set of documents, one job each', (t) =>
    workerKilledHalfWay(t, { kills: 1 }));

  it(
    'worker that was taken for dead and wakes up: it writes nothing, and the next stage is not disturbed',
    workerRobbed,
  );
});
