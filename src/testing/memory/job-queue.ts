/** The queue of the next stage, as far as we fill it and look after it. */
import { type JobPublisher, type JobToPublish, PublishError } from '../../ports/job-publisher.ts';
import type { QueuedState, RememberingQueue } from '../../ports/next-stage-queue.ts';
import type { Gate } from './gate.ts';

export interface QueuedRow {
  readonly id: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly state: 'waiting' | 'active' | 'lost' | 'failed' | 'done';
  /** Units: milliseconds since 1970. */
  readonly changedAt: number;
}

/** The server: what it knows of each job, and for how long. */
export interface JobQueueServer {
  readonly rows: Map<string, QueuedRow>;
  now(): number;
  /** Its data is gone. */
  forget(): void;
}

export function createJobQueueServer(o: { readonly clock: () => number }): JobQueueServer {
  const rows = new Map<string, QueuedRow>();
  return { rows, now: o.clock, forget: () => rows.clear() };
}

export function createMemoryJobQueue(o: {
  readonly server: JobQueueServer;
  readonly gate: Gate;
}): JobPublisher & RememberingQueue {
  const { server } = o;
  const closing = new AbortController();
  const ask = <T>(operation: string, answer: () => T): Promise<T> =>
    o.gate
      .run('queue', operation, () => {
        closing.signal.throwIfAborted();
        return answer();
      })
      .catch((error: unknown) => {
        throw new PublishError(String(error));
      });
  const add = ({ id, payload }: JobToPublish): void => {
    if (server.rows.has(id)) return;
    server.rows.set(id, { id, payload, state: 'waiting', changedAt: server.now() });
  };
  return {
    async ready(signal) {
      signal.throwIfAborted();
    },
    publish: (jobs) =>
      ask(`publish ${jobs.map(({ id }) => id).join(' ')}`, () => {
        for (const job of jobs) add(job);
      }),
    states: (ids) => ask('states', () => new Map(ids.map((id) => [id, stateOf(server.rows.get(id))]))),
    requeue: (jobs) =>
      ask(`requeue ${jobs.map(({ id }) => id).join(' ')}`, () => {
        for (const job of jobs) {
          const row = server.rows.get(job.id);
          if (job.state === 'missing') add(job);
          else if (row !== undefined && stateOf(row) === job.state && job.state !== 'live') {
            server.rows.set(job.id, { ...row, state: 'waiting', changedAt: server.now() });
          }
        }
      }),
    doneLately: ({ limit, olderThanMs }) =>
      ask('done lately', () =>
        [...server.rows.values()]
          .filter(({ state, changedAt }) => state === 'done' && changedAt <= server.now() - olderThanMs)
          .sort((a, b) => b.changedAt - a.changedAt)
          .slice(0, limit)
          .map(({ id }) => id),
      ),
    close: () => closing.abort(new Error('the queue is closed')),
  };
}

function stateOf(row: QueuedRow | undefined): QueuedState {
  if (row === undefined) return 'missing';
  return row.state === 'waiting' || row.state === 'active' ? 'live' : row.state;
}
