import { Worker } from 'bullmq';
import pino from 'pino';
import { describeJobQueue } from '../../ports/job-queue.contract.ts';
import { createMetrics } from '../../telemetry/metrics.ts';
import { cleanUp } from '../../testing/clean-up.ts';
import { startTestRedis } from '../../testing/redis.ts';
import { createBullmqPublisher } from './job-publisher.ts';

const QUEUE = 'extract_document';

describeJobQueue('BullMQ', async (t) => {
  const redis = await startTestRedis(t);
  if (redis === null) return null;
  const log = pino({ level: 'silent' });
  const queue = createBullmqPublisher({ url: redis.url, queueName: QUEUE, log, metrics: createMetrics() });
  cleanUp(t, () => queue.close());
  const connection = { url: redis.url, maxRetriesPerRequest: null };
  const worker = new Worker(QUEUE, undefined, { connection, autorun: false });
  cleanUp(t, () => worker.close());
  return {
    queue,
    async consume() {
      const job = await worker.getNextJob('token', { block: false });
      await job?.moveToCompleted(null, 'token', false);
      return job?.id ?? null;
    },
  };
});
