import { test } from 'node:test';
import { describeObjectStore } from '../../ports/object-store.contract.ts';
import { missing } from '../../testing/missing.ts';
import { noS3Server, startS3Server } from '../../testing/s3-server.ts';
import { makeTemporaryFolder, removeFolder } from '../../testing/temporary-folder.ts';
import { createS3ObjectStore } from './object-store.ts';

const why = noS3Server();
if (why !== null) test('the S3 store', (t) => missing(t, 'an S3 server', why));
else {
  describeObjectStore('the S3 store', async () => {
    const server = await startS3Server();
    const spoolDir = await makeTemporaryFolder();
    const store = await createS3ObjectStore({ settings: await server.newBucket(), spoolDir });
    return {
      store,
      async close() {
        store.close();
        await server.close();
        await removeFolder(spoolDir);
      },
    };
  });
}
