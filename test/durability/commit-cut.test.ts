import { describe, it } from 'node:test';
import { answerToCommitLost, commitNeverArrived, commitsCutUnderLoad } from './commit-cut.ts';

// Side by side: each waits most of its time.
describe('the answer to COMMIT is lost', { concurrency: true }, () => {
  it(
    'connection cut after COMMIT was sent: 451, the retry is a duplicate of the one message, and its raw mail is there',
    answerToCommitLost,
  );

  it('connection cut before COMMIT arrived: 451, the retry is accepted, one message', commitNeverArrived);

  it('connections cut at COMMIT under load, of intake and worker: nothing lost, nothing doubled', (t) =>
    commitsCutUnderLoad(t, { cuts: 24 }));
});
