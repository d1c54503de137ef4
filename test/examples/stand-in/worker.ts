/** The BullMQ worker behind bullmq.py: a job goes out as a line, and its outcome comes in as one. Ends with its input. */
import { createInterface } from 'node:readline';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

interface Asked {
  readonly name: string;
  readonly opts: { readonly connection: string; readonly concurrency?: number; readonly maxStalledCount?: number };
}

type Said = { readonly close: true } | { readonly run: number; readonly error?: string; readonly result?: unknown };

const { name, opts }: Asked = JSON.parse(process.argv[2] ?? '');
const connection = new Redis(opts.connection, { maxRetriesPerRequest: null });
const waiting = new Map<number, PromiseWithResolvers<unknown>>();
let runs = 0;

const worker = new Worker(
  name,
  async ({ id, name: jobName, data }, token) => {
    const run = runs++;
    const outcome = Promise.withResolvers<unknown>();
    waiting.set(run, outcome);
    process.stdout.write(`${JSON.stringify({ run, id, name: jobName, data, token })}\n`);
    return await outcome.promise.finally(() => waiting.delete(run));
  },
  { ...opts, connection },
);
worker.on('error', (error) => console.error(error.message));

for await (const line of createInterface({ input: process.stdin })) {
  const said: Said = JSON.parse(line);
  if ('close' in said) void worker.close().then(() => process.exit(0));
  else if (said.error !== undefined) waiting.get(said.run)?.reject(new Error(said.error));
  else waiting.get(said.run)?.resolve(said.result);
}
process.exit(1); // Whoever asked was killed: so is this, in the middle of its jobs.
