import { test } from 'node:test';
import { answerToCommitLost, commitNeverArrived, commitsCutUnderLoad } from './commit-cut.ts';

test(
  'connection cut after COMMIT was sent: 451, the retry is a duplicate of the one message, and its raw mail is there',
  answerToCommitLost,
);

test('connection cut before COMMIT arrived: 451, the retry is accepted, one message', commitNeverArrived);

test('connections cut at COMMIT under load, of intake and worker: nothing lost, nothing doubled', (t) =>
  commitsCutUnderLoad(t, { cuts: 24 }));
