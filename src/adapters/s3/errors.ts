import { StoreError, type StoreErrorCode } from '../../ports/object-store.ts';
import type { S3Settings } from './client.ts';

type Facts = Omit<S3Settings, 'secretKey' | 'sessionToken'>;

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

/** The SDK found nothing to sign with. Its own text names the places, and no secret. */
export function noCredentials(cause: unknown, { accessKey }: Facts): StoreError {
  if (cause instanceof StoreError) return cause;
  const { name, message } = factsOf(cause);
  const where =
    accessKey === null
      ? 'OBJECT_STORAGE_ACCESS_KEY is not set, and the SDK finds no credentials where it runs (AWS_* variables, profile, web identity, container, instance role)'
      : 'OBJECT_STORAGE_ACCESS_KEY, OBJECT_STORAGE_SECRET_KEY: they cannot be read';
  return new StoreError('store-unavailable', `${where}: ${named(name).trim()} ${oneLine(message)}`.trim(), { cause });
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

export function isNotImplemented(error: unknown): boolean {
  const { name, status } = factsOf(error);
  return name === 'NotImplemented' || status === 501;
}

/** The credentials are good, and may not do this. */
export function isDenied(error: unknown): boolean {
  return ['AccessDenied', 'AllAccessDisabled'].includes(factsOf(error).name);
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
    return `OBJECT_STORAGE_ENDPOINT ${endpoint}: its certificate is not accepted (${errno}); a private authority goes into OBJECT_STORAGE_CA_FILE`;
  }
  return errno.startsWith('HPE_') ? notS3(endpoint) : null;
}

const notS3 = (endpoint: string): string =>
  `OBJECT_STORAGE_ENDPOINT ${endpoint} answers, but not as an S3 store does: is it the right port?`;

function ofTheStore({ name, message }: Fault, facts: Facts): string | null {
  const { endpoint, region, bucket } = facts;
  const key = keyName(facts);
  // Ceph's gateway says InvalidAccessKeyId of a key that its KMS does not know, and names the KMS in its text.
  if (facts.kmsKeyId && (/^kms/i.test(name) || /\bkms\b/i.test(message))) {
    return `OBJECT_STORAGE_KMS_KEY_ID: the store cannot encrypt with this key (${name}: ${oneLine(message)})`;
  }
  switch (name) {
    case 'NoSuchBucket':
      return `OBJECT_STORAGE_BUCKET: there is no bucket ${bucket} at ${endpoint}; create it (doctor --create-bucket does)`;
    case 'InvalidAccessKeyId':
    case 'InvalidClientTokenId':
      return `${key}: ${endpoint} does not know this access key`;
    case 'SignatureDoesNotMatch':
    case 'InvalidSecurity':
      return facts.accessKey === null
        ? `${key}: their secret key is not that of their access key`
        : 'OBJECT_STORAGE_SECRET_KEY: it is not the secret key of this OBJECT_STORAGE_ACCESS_KEY';
    case 'ExpiredToken':
    case 'ExpiredTokenException':
    case 'TokenRefreshRequired':
      return `${tokenName(facts)}: it has expired, and there is no newer one`;
    case 'InvalidToken':
      return `${tokenName(facts)}: ${endpoint} does not take this session token`;
    case 'AccessDenied':
    case 'AllAccessDisabled':
      return `access denied: ${facts.accessKey === null ? 'the identity that the SDK found' : key} needs s3:GetObject, s3:PutObject and s3:DeleteObject on the objects of ${bucket}, and s3:ListBucket on the bucket${saidOfIdentity(message)}`;
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

const keyName = ({ accessKey }: Facts): string =>
  accessKey === null ? 'the credentials that the SDK found' : 'OBJECT_STORAGE_ACCESS_KEY';
const tokenName = ({ accessKey }: Facts): string =>
  accessKey === null ? 'the credentials that the SDK found' : 'OBJECT_STORAGE_SESSION_TOKEN';

/** Amazon names who was denied what, and why. */
export const saidOfIdentity = (message: string): string =>
  message.includes('arn:') ? `; it says: ${oneLine(message)}` : '';

function ofTheStatus({ status, name, message }: Fault, { endpoint, bucket, accessKey }: Facts): string | null {
  if (message.includes('Deserialization error') || name === 'SyntaxError') return notS3(endpoint);
  if (status >= 500) return `${endpoint} answers ${status}${named(name)}: the store has trouble, or is overloaded`;
  if (status >= 300 && status < 400) return notS3(endpoint);
  if (status === 401 || status === 403) {
    return `${endpoint} refuses access to bucket ${bucket} (${status}${named(name)}): look at ${accessKey === null ? 'the identity that the SDK found, and its rights' : 'OBJECT_STORAGE_ACCESS_KEY, OBJECT_STORAGE_SECRET_KEY and the rights of that key'}`;
  }
  return status >= 400 ? `${endpoint} answers ${status}${named(name)}: ${oneLine(message)}` : null;
}

/** The SDK makes names up where the answer had none. */
const named = (name: string): string => (/^(Unknown|UnknownError|Error|\d+)$/.test(name) ? '' : ` ${name}`);

/** The store's own text may be anything. */
const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').slice(0, 300);
