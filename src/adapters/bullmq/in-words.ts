/**
 * Why Redis cannot be used, in words for the operator.
 * Never the error itself: ioredis hangs the command with its arguments on it, AUTH and the password included, and old
 * servers repeat a command they do not know.
 */
export function inWords(error: unknown): string {
  const { code, message } = partsOf(error);
  const answer = ANSWERS.find(([beginning]) => message.startsWith(beginning));
  if (answer !== undefined) return answer[1];
  const reason = CODES[code];
  if (reason !== undefined) return reason;
  if (/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code)) return `has no certificate that we trust (${code})`;
  const word = /^[A-Z]{3,20}(?= )/.exec(message)?.[0] ?? '';
  return code || word ? `failed: ${code || word}` : 'failed for an unknown reason';
}

function partsOf(error: unknown): { readonly code: string; readonly message: string } {
  if (!(error instanceof Error)) return { code: '', message: '' };
  const { code, message } = error as NodeJS.ErrnoException;
  return { code: typeof code === 'string' ? code : '', message };
}

export const NO_ANSWER = 'gives no answer';

/** By the beginning of what Redis, or ioredis, says. */
const ANSWERS: readonly (readonly [string, string])[] = [
  ['WRONGPASS', 'refuses our user name or password'],
  ['ERR invalid password', 'refuses our user name or password'],
  ['ERR AUTH', 'refuses our user name or password'],
  ['NOAUTH', 'wants a password, and REDIS_URL has none'],
  ['NOPERM', 'does not permit our user what BullMQ needs'],
  ['OOM', 'is full: it has reached its maxmemory'],
  ['MISCONF', 'cannot write to its disk, and refuses changes'],
  ['READONLY', 'is a read-only replica: REDIS_URL must name the primary'],
  ['LOADING', 'is still loading its data'],
  ['MASTERDOWN', 'is a replica that has lost its primary'],
  ['NOREPLICAS', 'has fewer replicas than it insists on'],
  ['ERR DB index', 'has no database of the number in REDIS_URL'],
  ['ERR SELECT', 'has no database of the number in REDIS_URL'],
  ['CROSSSLOT', 'is a Redis Cluster; BullMQ jobs need a single server, with replicas if you like'],
  ['MOVED', 'is a Redis Cluster; BullMQ jobs need a single server, with replicas if you like'],
  ['ERR max number of clients', 'has too many connections open'],
  ['DENIED', 'is in protected mode: give it a password'],
  ['Protocol error', 'does not speak Redis: another program, or TLS (rediss://), is at that port'],
  ['Command timed out', NO_ANSWER],
  ['Connection is closed', 'closed the connection'],
  ['Command aborted', 'closed the connection'],
  ["Stream isn't writeable", 'closed the connection'],
];

const CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections: it is not running, or not at the configured address',
  ECONNRESET: 'closed the connection',
  EPIPE: 'closed the connection',
  ETIMEDOUT: 'cannot be reached: the connection timed out; with rediss://, perhaps it does not speak TLS',
  EHOSTUNREACH: 'cannot be reached: no route to the host',
  ENETUNREACH: 'cannot be reached: no route to the network',
  ENOTFOUND: 'cannot be found: its host name does not resolve',
  EAI_AGAIN: 'cannot be found: the name service does not answer',
  EPROTO: 'does not speak TLS at that port: redis:// instead of rediss://?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'does not speak TLS at that port: redis:// instead of rediss://?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'does not speak TLS at that port: redis:// instead of rediss://?',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for another name',
  CERT_HAS_EXPIRED: 'has a certificate that has expired',
};
