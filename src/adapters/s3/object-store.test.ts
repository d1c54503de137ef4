import { test } from 'node:test';
import { describeObjectStore, type OpenedObjectStore } from '../../ports/object-store.contract.ts';
import { missing } from '../../testing/missing.ts';
import { KMS, KMS_KEY, noS3Server, startS3Server } from '../../testing/s3-server.ts';
import { makeTemporaryFolder, removeFolder } from '../../testing/temporary-folder.ts';
import type { S3Settings } from './client.ts';
import { createS3ObjectStore } from './object-store.ts';

const why = noS3Server();
if (why !== null) test('the S3 store', (t) => missing(t, 'an S3 server', why));
else {
  describeObjectStore('the S3 store', () => open([], {}));
  describeObjectStore('the S3 store under a prefix', () => open([], { prefix: 'orderflow/production/' }));
  describeObjectStore('the S3 store that encrypts with a key', () => open(KMS, { kmsKeyId: KMS_KEY }));
}

async function open(config: readonly string[], more: Partial<S3Settings>): Promise<OpenedObjectStore> {
  const server = await startS3Server({ config });
  const spoolDir = await makeTemporaryFolder();
  const store = await createS3ObjectStore({ settings: { ...(await server.newBucket()), ...more }, spoolDir });
  return {
    store,
    async close() {
      store.close();
      await server.close();
      await removeFolder(spoolDir);
    },
  };
}
