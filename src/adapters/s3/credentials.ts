/**
 * Who we are to the store: by keys that are set, which may come from files, or by what the SDK finds where it runs (AWS_*
 * variables, a profile, a web identity as of IRSA, a container's endpoint, the instance's role). What expires, the SDK renews
 * in time; what the store refuses before that is read or asked for once more.
 */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { readSecretFile, SecretFileError } from '../../ports/secret-file.ts';
import type { Log } from '../../telemetry/log.ts';
import type { S3Settings } from './client.ts';

/**
 * After a renewal that brought nothing new: a store that refuses every request must not have us ask who hands credentials
 * out a thousand times. Files are read at each refusal.
 */
const REST_MS = 1_000;

type Identity = Awaited<ReturnType<S3Client['config']['credentials']>>;

/** Shape: nothing where no keys are set; the SDK's default chain is then used. */
export function credentialsOf(settings: S3Settings): Pick<S3ClientConfig, 'credentials'> {
  const { accessKey, secretKey, sessionToken, secretFiles } = settings;
  if (accessKey === null || secretKey === null) return {};
  let given = true;
  /** Called for the first request, and then by each renewal. */
  const provide = async () => {
    const read = (file: string | null | undefined, value: string): string =>
      given || file === null || file === undefined ? value : readAgain(file);
    const identity = {
      accessKeyId: read(secretFiles?.accessKey, accessKey),
      secretAccessKey: read(secretFiles?.secretKey, secretKey),
      ...(sessionToken ? { sessionToken: read(secretFiles?.sessionToken, sessionToken) } : {}),
    };
    given = false;
    return identity;
  };
  return { credentials: provide };
}

function readAgain(file: string): string {
  try {
    return readSecretFile(file);
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    throw new Error(`${file} ${error.message}`, { cause: error });
  }
}

export interface Renewal {
  /** Runs the request; once more when the store refuses our credentials and there are others by now. */
  renewing<T>(request: () => Promise<T>): Promise<T>;
}

export function createRenewal(client: S3Client, { accessKey }: S3Settings, log?: Log): Renewal {
  const restMs = accessKey === null ? REST_MS : 0;
  let renewals = 0;
  let restUntil = 0;
  let underWay: Promise<boolean> | undefined;
  /** Why there were no others the last time: only a change is worth a line. */
  let told: string | null = null;

  const renew = async (): Promise<boolean> => {
    if (performance.now() < restUntil) return false;
    try {
      const before = await client.config.credentials();
      const after = await client.config.credentials({ forceRefresh: true });
      if (isSame(before, after)) {
        restUntil = performance.now() + restMs;
        return false;
      }
      renewals += 1;
      told = null;
      log?.info('the credentials of the object store were refused and asked for again');
      return true;
    } catch (error) {
      // The request fails with what the store has said of it.
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== told)
        log?.warn({ reason }, 'the credentials of the object store were refused and cannot be asked for again');
      told = reason;
      restUntil = performance.now() + restMs;
      return false;
    }
  };

  return {
    async renewing(request) {
      const known = renewals;
      try {
        return await request();
      } catch (error) {
        if (!refusesCredentials(error)) throw error;
        if (known === renewals) {
          underWay ??= renew().finally(() => {
            underWay = undefined;
          });
          if (!(await underWay)) throw error;
        }
        return await request();
      }
    },
  };
}

const isSame = (one: Identity, other: Identity): boolean =>
  one.accessKeyId === other.accessKeyId &&
  one.secretAccessKey === other.secretAccessKey &&
  one.sessionToken === other.sessionToken;

const REFUSALS: ReadonlySet<string> = new Set([
  ...['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'InvalidSecurity', 'InvalidClientTokenId'],
  ...['ExpiredToken', 'ExpiredTokenException', 'InvalidToken', 'TokenRefreshRequired'],
]);

/** Any 401 and 403: an answer to HEAD says no more, and Ceph's gateway with STS says AccessDenied of a key it does not know. */
function refusesCredentials(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { $metadata } = error as { readonly $metadata?: { readonly httpStatusCode?: number } };
  return REFUSALS.has(error.name) || [401, 403].includes($metadata?.httpStatusCode ?? 0);
}

/** By the SDK's own marks for where credentials are from. */
const SOURCES: readonly (readonly [RegExp, string])[] = [
  [/WEB_ID/, 'the web identity in AWS_WEB_IDENTITY_TOKEN_FILE, for the role in AWS_ROLE_ARN'],
  [/CREDENTIALS_HTTP/, 'the credentials that the container is given'],
  [/IMDS/, 'the role of the instance'],
  [/ENV_VARS/, 'the key in AWS_ACCESS_KEY_ID'],
  [/SSO|LOGIN/, 'a login that AWS_PROFILE or ~/.aws/config names'],
  [/PROCESS/, 'the credentials of a process that AWS_PROFILE or ~/.aws/config names'],
  [/PROFILE|ASSUME_ROLE/, 'a profile (AWS_PROFILE, ~/.aws)'],
];

/**
 * Who we are, for the operator; of the keys only what tells two apart.
 * Errors: rejects when the SDK finds no credentials.
 */
export async function identityInWords(client: S3Client, settings: S3Settings): Promise<string> {
  const { secretFiles } = settings;
  if (settings.accessKey !== null) {
    const name = 'OBJECT_STORAGE_ACCESS_KEY';
    return secretFiles?.accessKey
      ? `the key in the file ${secretFiles.accessKey} (${name}_FILE)`
      : `the key in ${name}`;
  }
  const { $source = {}, accessKeyId, expiration, accountId } = (await client.config.credentials()) as Identity & Found;
  const marks = Object.keys($source).join(' ');
  const source = SOURCES.find(([mark]) => mark.test(marks))?.[1] ?? 'credentials that the SDK found';
  const until = expiration === undefined ? '' : `, until ${expiration.toISOString().slice(0, 16)}Z, renewed before`;
  const account = accountId === undefined ? '' : ` of account ${accountId}`;
  return `${source} (${accessKeyId.slice(0, 4)}…${accessKeyId.slice(-4)}${account}${until})`;
}

interface Found {
  readonly $source?: Readonly<Record<string, string>>;
  readonly accountId?: string;
}
