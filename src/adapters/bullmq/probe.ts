import { openRedis } from './connection.ts';
import { inWords } from './in-words.ts';
import { factsOf } from './server-facts.ts';

export interface RedisProbe {
  /** Completes "Redis …"; null when jobs can be published. */
  readonly problem: string | null;
  readonly warnings: readonly string[];
  /** null when it could not be asked. */
  readonly version: string | null;
}

/** One attempt, for `doctor`. Never rejects. */
export async function probeRedis(url: string): Promise<RedisProbe> {
  const redis = openRedis(url, { persistent: false });
  let first: unknown;
  redis.on('error', (error) => {
    first ??= error;
  });
  try {
    await redis.connect();
    // Told of a database number that is not there, ioredis goes on with number 0.
    if (first !== undefined) throw first;
    await redis.ping();
    return factsOf(await redis.info());
  } catch (error) {
    const closed = first === undefined && String(error).includes('Connection is closed');
    const problem = closed ? 'closes new connections: does it want TLS (rediss://)?' : inWords(first ?? error);
    return { problem, warnings: [], version: null };
  } finally {
    redis.disconnect();
  }
}
