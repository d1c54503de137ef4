/** One connection to Redis, made for a publisher: it fails at once instead of keeping commands for later. */
import { Redis, type RedisOptions } from 'ioredis';
import { readSecretFile } from '../../ports/secret-file.ts';

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
export function openRedis(
  url: string,
  o: {
    readonly persistent: boolean;
    readonly commandTimeoutMs?: number;
    /** That `url` came from: where its login is refused, the next attempt is made with the one that is in it by then. */
    readonly urlFile?: string | null;
  },
): Redis {
  const redis = new Redis(url, {
    ...publisherOptions,
    commandTimeout: o.commandTimeoutMs ?? COMMAND_TIMEOUT_MS,
    retryStrategy: () => (o.persistent ? RECONNECT_MS : null),
  });
  const { urlFile } = o;
  if (urlFile) {
    redis.on('error', ({ message }: Error) => {
      if (LOGIN_REFUSED.test(message)) renewLogin(redis, urlFile);
    });
  }
  return redis;
}

const LOGIN_REFUSED = /^(WRONGPASS|NOAUTH|ERR invalid password|ERR AUTH)/;

/** User name and password alone: another address would be another queue. */
function renewLogin({ options }: Redis, urlFile: string): void {
  try {
    const { username, password } = new URL(readSecretFile(urlFile));
    options.username = decodeURIComponent(username);
    options.password = decodeURIComponent(password);
  } catch {
    // It is being written, perhaps. The refusal has been told, and the next attempt ends in another.
  }
}

/** Host and port for the log; never user or password. */
export function addressOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port || '6379'}`;
}
