import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { waitFor } from '../testing/wait-for.ts';
import type { JobContext, JobRunner, Task } from './job-runner.ts';

export interface OpenedJobs {
  /** Two jobs at a time, of the task `extract_attachments`; stopped when the test is over. */
  readonly runner: (task: Task) => JobRunner;
  readonly addJob: (payload: unknown, o?: { readonly maxAttempts: number }) => Promise<void>;
  /** How many there are, in whatever state. */
  readonly countJobs: () => Promise<number>;
}

const DEADLINE_MS = 30_000;

/** What every job runner does. `open`: an empty queue. */
export function describeJobRunner(name: string, open: (t: TestContext) => Promise<OpenedJobs>): void {
  const nothing = async (): Promise<void> => {};

  describe(`${name} as a JobRunner`, { timeout: DEADLINE_MS * 4 }, () => {
    const test = (title: string, work: (jobs: OpenedJobs) => Promise<void>) =>
      it(title, { timeout: DEADLINE_MS }, async (t) => work(await open(t)));

    test('runs a job that waits and one that comes, each once, and forgets them', async ({
      runner,
      addJob,
      countJobs,
    }) => {
      const seen: [unknown, Omit<JobContext, 'signal'>][] = [];
      await addJob({ n: 1 });
      const run: Task['run'] = async (payload, { attempt, lastAttempt }) =>
        void seen.push([payload, { attempt, lastAttempt }]);
      await runner({ run, giveUp: nothing }).start();
      await addJob({ n: 2 });
      await waitFor(async () => (await countJobs()) === 0, { timeoutMs: DEADLINE_MS, what: 'both jobs done' });
      const first = { attempt: 1, lastAttempt: false };
      assert.deepEqual(
        seen.sort(([a], [b]) => (a as { n: number }).n - (b as { n: number }).n),
        [
          [{ n: 1 }, first],
          [{ n: 2 }, first],
        ],
      );
    });

    test('tries a job again that failed, and gives it up when no attempt is left', async ({
      runner,
      addJob,
      countJobs,
    }) => {
      const attempts: [number, boolean][] = [];
      const givenUp: unknown[] = [];
      await addJob({ n: 1 }, { maxAttempts: 2 });
      await runner({
        async run(_payload, { attempt, lastAttempt }) {
          attempts.push([attempt, lastAttempt]);
          throw new Error('not today');
        },
        giveUp: async (payload) => void givenUp.push(payload),
      }).start();
      await waitFor(async () => (await countJobs()) === 0, { timeoutMs: DEADLINE_MS, what: 'the job given up' });
      assert.deepEqual(
        [attempts, givenUp],
        [
          [
            [1, false],
            [2, true],
          ],
          [{ n: 1 }],
        ],
      );
    });

    test('takes none while it is held, and waits for those under way when it stops', async ({
      runner,
      addJob,
      countJobs,
    }) => {
      const begun = Promise.withResolvers<void>();
      const ending = Promise.withResolvers<void>();
      let ended = false;
      const held = runner({
        async run() {
          begun.resolve();
          await ending.promise;
          ended = true;
        },
        giveUp: nothing,
      });
      const reason = new Error('another store');
      held.hold(reason);
      await held.start();
      await assert.rejects(held.check(), (error) => error === reason);
      await addJob({ n: 1 });
      assert.equal(await countJobs(), 1);
      held.hold(null);
      await begun.promise;
      const stopped = held.stop(DEADLINE_MS);
      ending.resolve();
      await stopped;
      assert.ok(ended);
    });
  });
}
