import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type { JobPublisher, JobToPublish } from './job-publisher.ts';
import type { RememberingQueue } from './next-stage-queue.ts';

export interface OpenedJobQueue {
  readonly queue: JobPublisher & RememberingQueue;
  /** A consumer takes whatever is next and is done with it. Shape: its id; null: nothing waits. */
  readonly consume: () => Promise<string | null>;
}

const DEADLINE_MS = 30_000;

/** What every queue of the next stage does. `open`: an empty one; null where it is not on this machine, which it has told. */
export function describeJobQueue(name: string, open: (t: TestContext) => Promise<OpenedJobQueue | null>): void {
  const newJob = (): JobToPublish => {
    const id = randomUUID();
    return { id, payload: { document_id: id, org_id: randomUUID(), trace_id: 'f'.repeat(32) } };
  };

  describe(`${name} as a queue of the next stage`, { timeout: DEADLINE_MS * 2 }, () => {
    it('has a job once, however often it is published, and remembers that it was done', {
      timeout: DEADLINE_MS,
    }, async (t) => {
      const opened = await open(t);
      if (opened === null) return;
      const { queue, consume } = opened;
      const [job, unknown] = [newJob(), newJob()];
      await queue.ready(AbortSignal.timeout(DEADLINE_MS));
      await queue.publish([job, job]);
      await queue.publish([job]);
      assert.deepEqual(
        await queue.states([job.id, unknown.id]),
        new Map([
          [job.id, 'live'],
          [unknown.id, 'missing'],
        ]),
      );
      assert.equal(await consume(), job.id);
      await queue.publish([job]);
      assert.equal(await consume(), null);
      assert.deepEqual(await queue.states([job.id]), new Map([[job.id, 'done']]));
      assert.deepEqual(await queue.doneLately({ limit: 9, olderThanMs: 0 }), [job.id]);
      assert.deepEqual(await queue.doneLately({ limit: 9, olderThanMs: 60_000 }), []);
    });

    it('puts back what is missing or done, and leaves alone what is live', { timeout: DEADLINE_MS }, async (t) => {
      const opened = await open(t);
      if (opened === null) return;
      const { queue, consume } = opened;
      const [done, missing, live] = [newJob(), newJob(), newJob()];
      await queue.ready(AbortSignal.timeout(DEADLINE_MS));
      await queue.publish([done]);
      await consume();
      await queue.publish([live]);
      await queue.requeue([
        { ...done, state: 'done' },
        { ...missing, state: 'missing' },
        { ...live, state: 'done' },
      ]);
      const consumed = [await consume(), await consume(), await consume(), await consume()];
      assert.deepEqual(consumed.slice(0, 3).sort(), [done.id, missing.id, live.id].sort());
      assert.equal(consumed[3], null);
    });

    it('publishes nothing once it is closed', { timeout: DEADLINE_MS }, async (t) => {
      const opened = await open(t);
      if (opened === null) return;
      const { queue } = opened;
      await queue.ready(AbortSignal.timeout(DEADLINE_MS));
      queue.close();
      await assert.rejects(queue.publish([newJob()]), { name: 'PublishError' });
    });
  });
}
