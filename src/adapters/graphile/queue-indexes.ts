/**
 * Indexes of ours on graphile-worker's table of jobs. Its own go by priority and time through the waiting jobs of all tasks,
 * so whoever looks for a job of one task reads past those of the others: with 100,000 `extract_document` waiting, and nobody
 * consuming them, each look for an `extract_attachments` took 25 ms, whether there was one or not. Each job is in one of ours.
 */
import type pg from 'pg';

/** The next stage's jobs: however many of them wait, whoever looks for another must not read past them. */
const NEXT_STAGE = 'extract_document';
const TASKS = ['extract_attachments', NEXT_STAGE] as const;
const OURS = 'orderflow_jobs_';

export interface QueueTask {
  readonly id: number;
  readonly identifier: string;
  /** Of its waiting jobs: those of the next stage have one to themselves, all others share one. */
  readonly waitingIndex: string;
}

/**
 * One task's waiting jobs. A statement meets the condition of their index only when it names the task's id as a constant,
 * or is planned with the ids at hand (adapters/postgres/queue-pool.ts).
 */
export const waitingOf = (task: Pick<QueueTask, 'id'>): string => `is_available AND task_id = ${Number(task.id)}`;

/**
 * A worker looks for jobs of two tasks at once, its heartbeat's being its own (heartbeat.ts): no index on one task's jobs
 * would have them in order, and none can name a task that comes and goes with a worker.
 */
const waitingBut = (nextStage: { readonly id: number }): string =>
  `is_available AND task_id <> ${Number(nextStage.id)}`;

/**
 * Under way, or without an attempt left; few, however many wait. In graphile-worker's words: its `add_jobs` asks so for held
 * jobs of the same key, and with a plan that was made while the table was empty would read every job for each new one.
 */
export const HELD = 'is_available IS NOT TRUE';

const HELD_INDEX = `${OURS}held`;

/** Makes those that are missing; a task that got another id gets another index. To be called after graphile-worker's migrations. */
export async function indexQueue(client: pg.ClientBase): Promise<void> {
  await client.query(
    `INSERT INTO graphile_worker._private_tasks (identifier)
     SELECT wanted FROM unnest($1::text[]) AS wanted
     WHERE NOT EXISTS (SELECT FROM graphile_worker._private_tasks WHERE identifier = wanted) ON CONFLICT DO NOTHING`,
    [TASKS],
  );
  const wanted = new Map([[HELD_INDEX, `(key) WHERE ${HELD}`]]);
  const tasks = await queueTasks(client);
  const nextStage = tasks.find(({ identifier }) => identifier === NEXT_STAGE);
  if (nextStage === undefined) throw new Error(`the queue does not know ${NEXT_STAGE}`);
  for (const { identifier, waitingIndex } of tasks) {
    const condition = identifier === NEXT_STAGE ? waitingOf(nextStage) : waitingBut(nextStage);
    // With created_at and task_id, how many wait and how long the oldest has waited is told by the index alone.
    wanted.set(waitingIndex, `(priority, run_at) INCLUDE (created_at, task_id) WHERE ${condition}`);
  }
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE indrelid = 'graphile_worker._private_jobs'::regclass AND starts_with(relname, $1)`,
    [OURS],
  );
  const found = new Set(rows.map(({ name }) => name));
  for (const [name, definition] of wanted) {
    // Half a second for a million jobs.
    if (!found.has(name)) await client.query(`CREATE INDEX ${name} ON graphile_worker._private_jobs ${definition}`);
  }
  for (const name of found) if (!wanted.has(name)) await client.query(`DROP INDEX graphile_worker.${name}`);
}

/** Ours, as far as they are known to the queue. */
export async function queueTasks(client: Pick<pg.Pool, 'query'> | pg.ClientBase): Promise<readonly QueueTask[]> {
  const { rows } = await client.query<{ id: number; identifier: string }>({
    name: 'queue-tasks',
    text: `SELECT id, identifier FROM graphile_worker._private_tasks
           WHERE identifier IN (${TASKS.map((name) => `'${name}'`).join(', ')}) ORDER BY identifier`,
  });
  const nextStage = rows.find(({ identifier }) => identifier === NEXT_STAGE);
  return rows.map((task) => ({
    ...task,
    waitingIndex: task === nextStage ? `${OURS}next_stage_${task.id}` : `${OURS}others_${nextStage?.id}`,
  }));
}
