import type { TestContext } from 'node:test';
import type { S3Limits, S3Settings } from '../adapters/s3/client.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../adapters/s3/object-store.ts';
import type { Log } from '../telemetry/log.ts';
import { cleanUp } from './clean-up.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** Impatient, for stores that do not answer. */
export const HURRIED: Partial<S3Limits> = {
  connectTimeoutMs: 300,
  answerTimeoutMs: 300,
  operationTimeoutMs: 700,
  stallTimeoutMs: 200,
  undoTimeoutMs: 100,
};

/** A store with a spool folder of its own, both gone after the test. */
export async function openStore(
  t: TestContext,
  settings: S3Settings,
  limits: Partial<S3Limits> = {},
  log?: Log,
): Promise<{ readonly store: S3ObjectStore; readonly spoolDir: string }> {
  const spoolDir = await temporaryFolder(t);
  const store = await createS3ObjectStore({ settings, spoolDir, limits, ...(log && { log }) });
  cleanUp(t, () => store.close());
  return { store, spoolDir };
}

/** Settings of a store that is never reached, or never asked for more than an answer. */
export const settingsFor = (endpoint: string): S3Settings => ({
  endpoint,
  region: 'us-east-1',
  bucket: 'some-bucket',
  accessKey: 'access',
  secretKey: 'hunter2',
});
