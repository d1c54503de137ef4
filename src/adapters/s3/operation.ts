import type { S3Client } from '@aws-sdk/client-s3';
import { unlessAborted } from '../../ports/abort.ts';
import { StoreError } from '../../ports/object-store.ts';
import type { Log } from '../../telemetry/log.ts';
import type { S3Limits, S3Settings } from './client.ts';
import { createRenewal } from './credentials.ts';
import { noCredentials, storeFault } from './errors.ts';

/** What each request of the SDK is sent with. */
export interface SendOptions {
  readonly abortSignal: AbortSignal;
  /** Of each attempt. */
  readonly requestTimeout: number;
}

export interface Operation {
  /** What it does, for the message. */
  readonly action: string;
  readonly signal?: AbortSignal | undefined;
  /** Of a body on its way to the store. */
  readonly bodyBytes?: number;
}

/**
 * Runs requests under a deadline and the caller's signal.
 * Owns: when the work fails, whatever of its requests is still under way is cut.
 * Work whose credentials are refused is run once more when there are others: so it can be repeated.
 * Errors: the signal's reason as soon as it aborts; `StoreError` for anything else.
 */
export type RunOperation = <T>(operation: Operation, work: (send: SendOptions) => Promise<T>) => Promise<T>;

export function createRunOperation(o: {
  readonly client: S3Client;
  readonly settings: S3Settings;
  readonly limits: S3Limits;
  readonly log?: Log | undefined;
}): RunOperation {
  const { client, settings, limits } = o;
  const { renewing } = createRenewal(client, settings, o.log);
  /** Asked for by itself, so that a refusal of who hands credentials out is not taken for one of the store. */
  const identify = async (): Promise<void> => {
    await client.config.credentials().catch((cause: unknown) => {
      throw noCredentials(cause, settings);
    });
  };
  return async <T>({ action, signal, bodyBytes = 0 }: Operation, work: (send: SendOptions) => Promise<T>) => {
    signal?.throwIfAborted();
    const bodyMs = bodyBytes / limits.minBytesPerMs;
    const controller = new AbortController();
    const forward = () => controller.abort(signal?.reason);
    signal?.addEventListener('abort', forward, { once: true });
    const deadlineMs = limits.operationTimeoutMs + bodyMs;
    const deadline = setTimeout(() => controller.abort(noAnswer(action, deadlineMs, settings)), deadlineMs);
    let done = false;
    try {
      const send = { abortSignal: controller.signal, requestTimeout: limits.answerTimeoutMs + bodyMs };
      const known = async (): Promise<T> => {
        await identify();
        return await renewing(async () => {
          controller.signal.throwIfAborted();
          return await work(send);
        });
      };
      const result = await unlessAborted(known(), controller.signal);
      done = true;
      return result;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw storeFault(action, error, settings);
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', forward);
      if (!done) controller.abort();
    }
  };
}

function noAnswer(action: string, deadlineMs: number, { endpoint }: S3Settings): StoreError {
  const seconds = Math.round(deadlineMs / 1000);
  return new StoreError(
    'store-unavailable',
    `${action}: OBJECT_STORAGE_ENDPOINT ${endpoint}: not done in ${seconds} s`,
  );
}
