import { describe, it } from 'node:test';
import { answerToCommitLost, commitNeverArrived, commitsCutUnderLoad } from './commit-cut.ts';
import { SLUGS } from './front-door.ts';

// Side by side: each waits most of its time.
describe('the answer to a commit is lost', { concurrency: true }, () => {
  for (const [committedBy, slugs] of [
    ['one statement', SLUGS.slice(0, 1)],
    ['COMMIT', SLUGS],
  ] as const) {
    it(`${committedBy}, cut after it was sent: 451, the retry is a duplicate, and the raw mail is there`, (t) =>
      answerToCommitLost(t, slugs));

    it(`${committedBy}, cut before it arrived: 451, the retry is accepted, once`, (t) => commitNeverArrived(t, slugs));
  }

  it('connections cut at COMMIT under load, of intake and worker: nothing lost, nothing doubled', (t) =>
    commitsCutUnderLoad(t, { cuts: 24 }));
});
