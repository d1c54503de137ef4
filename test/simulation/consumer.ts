/** The next stage: takes a job, writes EXTRACTED, and is done with it; a job whose document it cannot find is tried again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { QueuedRow } from '../../src/testing/memory/job-queue.ts';
import type { House } from './house.ts';
import type { Actor } from './world.ts';

const POLL_MS = 5_000;
const LOCK_MS = 30_000;

export function startConsumer(house: House, actor: Actor): void {
  const { database, queue, world } = house;
  const { gate } = actor;
  /** Also one whose lock has run out: whoever had it died, or never heard that it has it. */
  const isFree = ({ state, changedAt }: QueuedRow): boolean =>
    state === 'waiting' || (state === 'active' && changedAt < world.now() - LOCK_MS);

  const next = async (): Promise<boolean> => {
    const job = await gate.run('queue', 'take', () => {
      const [row] = [...queue.rows.values()].filter(isFree).sort((a, b) => a.changedAt - b.changedAt);
      if (row !== undefined) queue.rows.set(row.id, { ...row, state: 'active', changedAt: world.now() });
      return row;
    });
    if (job === undefined) return false;
    let extracted = false;
    try {
      extracted = await gate.run('database', `extracted ${job.id}`, () =>
        database.transact(({ documents }) => {
          const document = documents.get(job.id);
          if (document === undefined || document.orgId !== job.payload.org_id) return false;
          if (document.status === 'STORED') documents.set(job.id, { ...document, status: 'EXTRACTED' });
          return true;
        }),
      );
    } finally {
      await settle(job.id, extracted);
    }
    return extracted;
  };

  const settle = (id: string, extracted: boolean): Promise<void> =>
    gate.run('queue', `${extracted ? 'done' : 'again'} ${id}`, () => {
      const row = queue.rows.get(id);
      if (row?.state === 'active')
        queue.rows.set(id, { ...row, state: extracted ? 'done' : 'waiting', changedAt: world.now() });
    });

  const run = async (): Promise<void> => {
    for (;;) {
      if (!(await next().catch(() => false))) await sleep(POLL_MS);
    }
  };
  actor.run(() => void run());
}
