/** One connection to Redis, made for a publisher: it fails at once instead of keeping commands for later. */
import { Redis, type RedisOptions } from 'ioredis';

const CONNECT_TIMEOUT_MS = 5_000;
/** Adding a hundred jobs takes milliseconds. Below the 60 s after which PostgreSQL ends a transaction that waits for us. */
const COMMAND_TIMEOUT_MS = 8_000;
/** While Redis is away, one attempt in so long; nothing else is tried. */
const RECONNECT_MS = 2_000;

const publisherOptions = {
  lazyConnect: true,
  connectionName: 'orderflow-ingest',
  connectTimeout: CONNECT_TIMEOUT_MS,
  // What is not sent now waits in PostgreSQL, not in our memory. Nothing is sent a second time behind our back.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  // After a failover the old primary answers READONLY on a connection that looks healthy.
  reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
} satisfies RedisOptions;

/** Shape: not connected yet. Without `persistent`, one attempt is all. */
export function openRedis(url: string, o: { readonly persistent: boolean; readonly commandTimeoutMs?: number }): Redis {
  return new Redis(url, {
    ...publisherOptions,
    commandTimeout: o.commandTimeoutMs ?? COMMAND_TIMEOUT_MS,
    retryStrategy: () => (o.persistent ? RECONNECT_MS : null),
  });
}

/** Host and port for the log; never user or password. */
export function addressOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port || '6379'}`;
}
