import { StoreError, type StoreErrorCode } from '../../ports/object-store.ts';
import type { S3Settings } from './client.ts';

type Facts = Pick<S3Settings, 'endpoint' | 'region' | 'bucket'>;

/** What an error of the SDK tells: its name is the store's own code, where the answer had a body. */
interface Fault {
  readonly name: string;
  /** Of the system call, `ECONNREFUSED` and the like, or of TLS. */
  readonly errno: string;
  readonly status: number;
  readonly message: string;
}

/** The fault of a request in the words of the port: one line that says what to mend. `StoreError`s pass unchanged. */
export function storeFault(action: string, cause: unknown, facts: Facts): StoreError {
  if (cause instanceof StoreError) return cause;
  const fault = factsOf(cause);
  return new StoreError(codeOf(fault), `${action}: ${inWords(fault, facts)}`, { cause });
}

export function objectMissing(key: string, cause?: unknown): StoreError {
  return new StoreError('object-missing', `no object ${key}`, { cause });
}

/** Not for the answer to HEAD, whose 404 may also mean the bucket. */
export function isNoSuchKey(error: unknown): boolean {
  return error instanceof Error && error.name === 'NoSuchKey';
}

/** An answer without a body, as to HEAD. */
export function isNotFound(error: unknown): boolean {
  const { name, status } = factsOf(error);
  return status === 404 && name !== 'NoSuchBucket';
}

const FULL = new Set(['QuotaExceeded', 'XMinioStorageFull', 'XMinioAdminBucketQuotaExceeded', 'InsufficientStorage']);

const codeOf = ({ name, status }: Fault): StoreErrorCode =>
  FULL.has(name) || status === 507 ? 'storage-full' : 'store-unavailable';

function factsOf(error: unknown): Fault {
  if (!(error instanceof Error)) return { name: '', errno: '', status: 0, message: String(error) };
  const { code, $metadata } = error as { code?: unknown; $metadata?: { httpStatusCode?: number } };
  return {
    name: error.name,
    errno: typeof code === 'string' ? code : '',
    status: $metadata?.httpStatusCode ?? 0,
    message: error.message,
  };
}

function inWords(fault: Fault, facts: Facts): string {
  return (
    ofTheNetwork(fault, facts) ??
    ofTheStore(fault, facts) ??
    ofTheStatus(fault, facts) ??
    `${facts.endpoint}: ${fault.errno || fault.name || 'unknown fault'}: ${oneLine(fault.message)}`
  );
}

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections: nothing listens there',
  ECONNRESET: 'closed the connection',
  EPIPE: 'closed the connection',
  ETIMEDOUT: 'does not answer in time',
  EHOSTUNREACH: 'cannot be reached: no route to the host',
  ENETUNREACH: 'cannot be reached: no route to the network',
  ENOTFOUND: 'its host name does not resolve',
  EAI_AGAIN: 'its host name cannot be looked up now',
  EPROTO: 'does not speak TLS: http:// instead of https://?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'does not speak TLS: http:// instead of https://?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'does not speak TLS: http:// instead of https://?',
};

/** Also HPE_INVALID_…: something answers that is no HTTP. */
function ofTheNetwork({ errno, name }: Fault, { endpoint }: Facts): string | null {
  const told = NETWORK[errno] ?? (name === 'TimeoutError' ? NETWORK.ETIMEDOUT : undefined);
  if (told !== undefined) return `OBJECT_STORAGE_ENDPOINT ${endpoint} ${told}`;
  if (/^(CERT_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(errno)) {
    return `OBJECT_STORAGE_ENDPOINT ${endpoint}: its certificate is not accepted (${errno}); a private authority goes into NODE_EXTRA_CA_CERTS`;
  }
  return errno.startsWith('HPE_') ? notS3(endpoint) : null;
}

const notS3 = (endpoint: string): string =>
  `OBJECT_STORAGE_ENDPOINT ${endpoint} answers, but not as an S3 store does: is it the right port?`;

function ofTheStore({ name }: Fault, { endpoint, region, bucket }: Facts): string | null {
  switch (name) {
    case 'NoSuchBucket':
      return `OBJECT_STORAGE_BUCKET: there is no bucket ${bucket} at ${endpoint}; create it (doctor --create-bucket does)`;
    case 'InvalidAccessKeyId':
      return `OBJECT_STORAGE_ACCESS_KEY: ${endpoint} does not know this access key`;
    case 'SignatureDoesNotMatch':
    case 'InvalidSecurity':
      return 'OBJECT_STORAGE_SECRET_KEY: it is not the secret key of this OBJECT_STORAGE_ACCESS_KEY';
    case 'AccessDenied':
    case 'AllAccessDisabled':
      return `access denied: OBJECT_STORAGE_ACCESS_KEY needs s3:GetObject, s3:PutObject and s3:DeleteObject on the objects of ${bucket}, and s3:ListBucket on the bucket`;
    case 'RequestTimeTooSkewed':
    case 'RequestExpired':
      return `the clock of this machine differs from that of ${endpoint} by more than the store allows: set it right (NTP)`;
    case 'PermanentRedirect':
    case 'TemporaryRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
    case 'InvalidLocationConstraint':
      return `OBJECT_STORAGE_REGION: bucket ${bucket} is not in region ${region}, or ${endpoint} is not that region's endpoint`;
    case 'BadDigest':
    case 'InvalidDigest':
    case 'XAmzContentSHA256Mismatch':
      return `bytes changed on their way to ${endpoint}: it refused them`;
    default:
      return FULL.has(name) ? `bucket ${bucket} has no room left (${name})` : null;
  }
}

function ofTheStatus({ status, name, message }: Fault, { endpoint, bucket }: Facts): string | null {
  if (message.includes('Deserialization error') || name === 'SyntaxError') return notS3(endpoint);
  if (status >= 500) return `${endpoint} answers ${status}${named(name)}: the store has trouble, or is overloaded`;
  if (status >= 300 && status < 400) return notS3(endpoint);
  if (status === 401 || status === 403) {
    return `${endpoint} refuses access to bucket ${bucket} (${status}${named(name)}): look at OBJECT_STORAGE_ACCESS_KEY, OBJECT_STORAGE_SECRET_KEY and the rights of that key`;
  }
  return status >= 400 ? `${endpoint} answers ${status}${named(name)}: ${oneLine(message)}` : null;
}

/** The SDK makes names up where the answer had none. */
const named = (name: string): string => (/^(Unknown|UnknownError|Error|\d+)$/.test(name) ? '' : ` ${name}`);

/** The store's own text may be anything. */
const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').slice(0, 200);
