import { test } from 'node:test';
import { describeStoreMarks, type OpenedStoreMarks } from '../../ports/store-marks.contract.ts';
import { missing } from '../../testing/missing.ts';
import { noS3Server, startS3Server } from '../../testing/s3-server.ts';
import { makeTemporaryFolder, removeFolder } from '../../testing/temporary-folder.ts';
import { createS3StoreMarks } from './marks.ts';
import { createS3ObjectStore } from './object-store.ts';

const why = noS3Server();

if (why !== null) test('marks beside objects in S3', (t) => missing(t, 'an S3 server', why));
else {
  describeStoreMarks('an S3 bucket', () => open(''));
  describeStoreMarks('a prefix of an S3 bucket', () => open('orderflow/production/'));
}

async function open(prefix: string): Promise<OpenedStoreMarks> {
  const [server, spoolDir] = await Promise.all([startS3Server(), makeTemporaryFolder()]);
  const settings = { ...(await server.newBucket()), prefix };
  const [marks, others] = [createS3StoreMarks({ settings }), createS3StoreMarks({ settings })];
  const objects = await createS3ObjectStore({ settings, spoolDir });
  return {
    marks,
    others,
    objects,
    async close() {
      for (const each of [marks, others, objects]) each.close();
      await server.close();
      await removeFolder(spoolDir);
    },
  };
}
