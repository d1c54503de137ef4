import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { S3Client } from '@aws-sdk/client-s3';
import { NodeHttpHandler, type NodeHttpHandlerOptions } from '@smithy/node-http-handler';
import { StoreError } from '../../ports/object-store.ts';
import { credentialsOf } from './credentials.ts';

/** As `Settings.objectStorage` has it. */
export interface S3Settings {
  /** Origin only, such as `https://s3.eu-central-1.amazonaws.com`. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Before every key in the bucket: nothing, or names that each end in a slash. */
  readonly prefix?: string;
  /** null, both of them: credentials are what the SDK finds where it runs. */
  readonly accessKey: string | null;
  readonly secretKey: string | null;
  readonly sessionToken?: string | null;
  /** Where those came from, to be read again. */
  readonly secretFiles?: {
    readonly accessKey: string | null;
    readonly secretKey: string | null;
    readonly sessionToken: string | null;
  };
  /** Every object is encrypted with it (SSE-KMS). null: as the bucket says. */
  readonly kmsKeyId?: string | null;
  /** PEM; the only authorities whose certificates are taken. null: those that Node knows. */
  readonly caFile?: string | null;
}

export interface S3Limits {
  readonly connectTimeoutMs: number;
  /** From a request's first byte to the head of its answer; its body's bytes at `minBytesPerMs` come on top. */
  readonly answerTimeoutMs: number;
  /** All attempts of one operation together, the same bytes on top. Below the 30 s an SMTP client is kept waiting. */
  readonly operationTimeoutMs: number;
  /** A body may pause for this long. */
  readonly stallTimeoutMs: number;
  /** Slower than this, a store is as good as away: 1 MB a second. */
  readonly minBytesPerMs: number;
  /** For the answer to a body that was sent whole when its sender vanished, and for taking back what it stored. */
  readonly undoTimeoutMs: number;
  /** Requests whose repetition is safe, which is all of ours: the same bytes under the same key. */
  readonly maxAttempts: number;
  /** Objects asked for at a time by a list; stores give 1,000 at most. */
  readonly pageKeys: number;
}

export const defaultLimits: S3Limits = {
  connectTimeoutMs: 3_000,
  answerTimeoutMs: 10_000,
  operationTimeoutMs: 25_000,
  stallTimeoutMs: 30_000,
  minBytesPerMs: 1_000,
  undoTimeoutMs: 5_000,
  maxAttempts: 3,
  pageKeys: 1_000,
};

/**
 * Everything the SDK would otherwise take from the machine it runs on (profiles, AWS_* variables) is given; but for
 * credentials, where none are set.
 * Owns: kept connections, until `destroy`.
 * Errors: `StoreError` when the CA file cannot be read.
 */
export function createS3Client(settings: S3Settings, limits: S3Limits): S3Client {
  // How many there are is bounded by those who ask: the handler's own queue would count waiting as connecting.
  const kept = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, timeout: IDLE_CONNECTION_MS };
  const agents = {
    httpAgent: new http.Agent(kept),
    httpsAgent: new https.Agent({ ...kept, ...authorities(settings) }),
  };
  return new S3Client({
    endpoint: settings.endpoint,
    region: settings.region,
    ...credentialsOf(settings),
    // Every store knows it; names of buckets as host names need DNS and certificates that few have.
    forcePathStyle: true,
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    // Older stores refuse the trailing checksums that are the SDK's default. We sign the digest of every body instead.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // The handler takes a new connection for each request with Expect and waits 6 s for stores that do not know it.
    expectContinueHeader: false,
    followRegionRedirects: false,
    maxAttempts: limits.maxAttempts,
    retryMode: 'standard',
    requestHandler: forgettingIdle(agents, {
      connectionTimeout: limits.connectTimeoutMs,
      requestTimeout: limits.answerTimeoutMs,
      throwOnRequestTimeout: true,
      // Reading may pause for as long as our own reader does; `readBody` watches for stalls of the store.
      socketTimeout: 0,
    }),
    logger: silent,
  });
}

/** For TLS. Errors: `StoreError`. */
export function authorities({ caFile }: S3Settings): { readonly ca?: string } {
  if (!caFile) return {};
  try {
    const ca = readFileSync(caFile, 'utf8');
    new X509Certificate(ca);
    return { ca };
  } catch (cause) {
    const { code = '', syscall } = cause as NodeJS.ErrnoException;
    const reason = syscall === undefined ? 'holds no certificate in PEM' : `cannot be read (${code})`;
    throw new StoreError('store-unavailable', `OBJECT_STORAGE_CA_FILE: ${caFile} ${reason}`, { cause });
  }
}

/** What a request that writes asks the store to encrypt with. */
export const encryptionOf = ({
  kmsKeyId,
}: S3Settings): { readonly ServerSideEncryption?: 'aws:kms'; readonly SSEKMSKeyId?: string } =>
  kmsKeyId ? { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: kmsKeyId } : {};

/** Kept for the next request of a busy server; firewalls forget connections that are idle for a minute or more. */
const IDLE_CONNECTION_MS = 15_000;

interface Agents {
  readonly httpAgent: http.Agent;
  readonly httpsAgent: https.Agent;
}

/**
 * Once a request has waited in vain, no idle connection is trusted: if the network has forgotten one, it has forgotten all,
 * and each would cost another attempt its whole time.
 */
function forgettingIdle(agents: Agents, options: NodeHttpHandlerOptions): NodeHttpHandler {
  const handler = new NodeHttpHandler({ ...agents, ...options });
  const handle = handler.handle.bind(handler);
  handler.handle = async (request, how) => {
    try {
      return await handle(request, how);
    } catch (error) {
      if (error instanceof Error && error.name === 'TimeoutError') closeIdle(agents);
      throw error;
    }
  };
  return handler;
}

function closeIdle({ httpAgent, httpsAgent }: Agents): void {
  for (const agent of [httpAgent, httpsAgent]) {
    for (const socket of Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy();
  }
}

/** The SDK warns to the console by default; what goes wrong reaches our log as the error it ends in. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };
