/**
 * Publishes jobs to a BullMQ queue on Redis, and looks after those that are there. Holds one connection, which tries again for as
 * long as it takes.
 */
import { EventEmitter, once } from 'node:events';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { type JobPublisher, type JobToPublish, PublishError } from '../../ports/job-publisher.ts';
import type { RememberingQueue } from '../../ports/next-stage-queue.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { addressOf, openRedis } from './connection.ts';
import { inWords, NO_ANSWER } from './in-words.ts';
import { jobOptions } from './job-options.ts';
import { doneLately, putBack, statesOf } from './queued-jobs.ts';
import { factsOf } from './server-facts.ts';

export function createBullmqPublisher(o: {
  readonly url: string;
  /** That it came from. */
  readonly urlFile?: string | null;
  readonly queueName: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** For tests. */
  readonly commandTimeoutMs?: number;
}): JobPublisher & RememberingQueue {
  const redis = openRedis(o.url, { ...o, persistent: true });
  const report = createReporter(o);
  const gate = watch(redis, report);
  let queue: Queue | undefined;

  /** Errors: `PublishError`. */
  const using = async <T>(work: (queue: Queue) => Promise<T>): Promise<T> => {
    try {
      // Not before it is needed, and without BullMQ's own look at the server, which prints to the console.
      queue ??= openQueue(o.queueName, redis);
      const result = await work(queue);
      report.well();
      return result;
    } catch (error) {
      const reason = inWords(error);
      // When the connection broke, the next attempt tells what is the matter.
      if (redis.status === 'ready') report.trouble(reason);
      // Silent: the server may be gone for good without a word, and the connection would look healthy for long.
      if (reason === NO_ANSWER) gate.reopen();
      throw new PublishError(`Redis ${reason}`);
    }
  };
  const publish = (jobs: readonly JobToPublish[]): Promise<void> =>
    using(async (to) => void (await to.addBulk(jobs.map((job) => bulkEntry(o.queueName, job)))));

  return {
    async ready(signal) {
      // Fails when the first attempt does; the attempts go on all the same.
      if (redis.status === 'wait') redis.connect().catch(() => {});
      await gate.passed(signal);
    },

    publish,
    states: (ids) => using((of) => statesOf(of, redis, ids)),
    async requeue(jobs) {
      const missing = jobs.filter(({ state }) => state === 'missing');
      if (missing.length > 0) await publish(missing);
      await using((of) => putBack(of, jobs));
    },
    doneLately: (which) => using((of) => doneLately(of, redis, which)),

    close() {
      report.end();
      queue?.close().catch(() => {});
      redis.disconnect();
    },
  };
}

function openQueue(name: string, connection: Redis): Queue {
  const queue = new Queue(name, { connection, skipVersionCheck: true, skipWaitingForReady: true });
  // The connection's own events are heard elsewhere.
  queue.on('error', () => {});
  return queue;
}

function bulkEntry(name: string, { id, payload }: JobToPublish) {
  return { name, data: payload, opts: { ...jobOptions, jobId: id } };
}

interface Gate {
  passed(signal: AbortSignal): Promise<void>;
  /** Ends this connection and begins another. */
  reopen(): void;
}

/** Open while the connection is up and leads to a server that can be used. */
function watch(redis: Redis, report: Reporter): Gate {
  const gate = new EventEmitter();
  let open = false;
  /** This connection has been open. */
  let used = false;
  /** What is wrong with the attempt under way. */
  let complaint: string | null = null;
  const complain = (reason: string): void => {
    complaint = reason;
    report.trouble(reason);
  };

  redis.on('connecting', () => {
    complaint = null;
    used = false;
  });
  redis.on('error', (error) => complain(inWords(error)));
  redis.on('ready', async () => {
    const problem = await lookAt(redis, report);
    if (problem !== null) complain(problem);
    if (redis.status !== 'ready') return;
    // QUIRK: told of a database number that is not there, ioredis complains and goes on with number 0.
    if (complaint !== null) {
      redis.disconnect(true);
      return;
    }
    open = used = true;
    report.well();
    gate.emit('open');
  });
  redis.on('close', () => {
    // Of a connection that was in use, the next attempt tells what became of it.
    if (!used && complaint === null) complain('closes new connections: does it want TLS (rediss://)?');
    open = false;
  });
  return {
    async passed(signal) {
      while (!open) await once(gate, 'open', { signal });
    },
    reopen() {
      open = false;
      redis.disconnect(true);
    },
  };
}

/** Shape: why it cannot be used, or null. A user that may not ask is not in the way. */
async function lookAt(redis: Redis, report: Reporter): Promise<string | null> {
  try {
    const { problem, warnings } = factsOf(await redis.info());
    for (const warning of warnings) report.advise(warning);
    return problem;
  } catch {
    return null;
  }
}

interface Reporter {
  trouble(reason: string): void;
  well(): void;
  advise(warning: string): void;
  /** Nothing more is said: what breaks now is broken by us. */
  end(): void;
}

/** An attempt every two seconds, for hours: only a change is worth a line; the metric counts each. */
function createReporter({ url, log, metrics }: { url: string; log: Log; metrics: Metrics }): Reporter {
  const redis = addressOf(url);
  const advised = new Set<string>();
  let last: string | null | undefined;
  let ended = false;
  return {
    trouble(reason) {
      if (ended) return;
      metrics.processingError(null, 'redis-unavailable');
      if (reason === last) return;
      last = reason;
      log.warn({ redis }, `Redis ${reason}; extract_document jobs wait in the database, trying again`);
    },
    well() {
      if (ended || last === null) return;
      log.info({ redis }, last === undefined ? 'jobs are published to Redis' : 'Redis can be used again');
      last = null;
    },
    advise(warning) {
      if (advised.has(warning)) return;
      advised.add(warning);
      log.warn({ redis }, `Redis: ${warning}`);
    },
    end() {
      ended = true;
    },
  };
}
