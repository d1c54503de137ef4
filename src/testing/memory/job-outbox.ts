/** Jobs held by row locks of one session while they are handed on. */
import type { JobOutbox, WaitingJob } from '../../ports/job-outbox.ts';
import type { Holder, JobRow, MemoryDatabase } from './database.ts';
import { type Gate, LinkError } from './gate.ts';

/** `connection`: whose death lets go of what is held. */
export function createMemoryJobOutbox(o: {
  readonly database: MemoryDatabase;
  readonly gate: Gate;
  readonly connection?: object;
}): JobOutbox {
  const { database, gate } = o;
  const { held } = database;
  return {
    async handOver({ task, limit, deliver }) {
      const session: Holder = { connection: o.connection ?? {} };
      try {
        const taken = await gate.run('database', 'hold jobs', () => hold(database, session, task, limit));
        if (taken.length === 0) return 0;
        const refused = await deliver(taken);
        await gate.run('database', 'forget jobs', () =>
          database.transact(
            ({ jobs }) => {
              if (taken.some(({ id }) => held.get(id) !== session)) throw new LinkError(true, 'the session is gone');
              for (const { id } of taken) {
                const reason = refused.find((one) => one.id === id)?.reason;
                const job = jobs.get(id);
                if (reason === undefined) jobs.remove(id);
                else if (job !== undefined) jobs.set(id, { ...job, attempts: job.maxAttempts, lastError: reason });
              }
            },
            { durable: false },
          ),
        );
        return taken.length;
      } finally {
        // The server notices that the connection is closed, or has committed.
        for (const [id, holder] of held) if (holder === session) held.delete(id);
      }
    },
  };
}

function hold(
  { tables, held, now }: MemoryDatabase,
  session: Holder,
  task: string,
  limit: number,
): readonly WaitingJob[] {
  const isDue = (job: JobRow): boolean =>
    job.task === task && job.lockedBy === null && job.attempts < job.maxAttempts && job.runAt <= now();
  const due = tables.jobs.all().filter((job) => isDue(job) && !held.has(job.id));
  const oldest = due.sort((a, b) => a.runAt - b.runAt || (a.id < b.id ? -1 : 1)).slice(0, limit);
  for (const { id } of oldest) held.set(id, session);
  return oldest.map(({ id, payload }) => ({ id, payload }));
}
