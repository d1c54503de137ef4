import { test } from 'node:test';
import { workerKilledHalfWay, workerRobbed } from './worker-faults.ts';

test('worker killed half-way through the attachments: taken up within a minute after restart, one set of documents, one job each', (t) =>
  workerKilledHalfWay(t, { kills: 1 }));

test(
  'worker that was taken for dead and wakes up: it writes nothing, and the next stage is not disturbed',
  workerRobbed,
);
