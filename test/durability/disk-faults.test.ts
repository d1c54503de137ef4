import { describe, it } from 'node:test';
import { databaseSyncFails, diskFull, objectSyncFails } from './disk-faults.ts';

// Side by side: each waits most of its time.
describe('disk faults', { concurrency: true }, () => {
  it('disk full: 452 4.3.1, no row, nothing left behind; taken once there is room', diskFull);

  it('fsync error of a large raw mail: 451, no row, no object; taken once the disk is well', (t) =>
    objectSyncFails(t, 'fdatasync'));

  it('fsync error of its directory: 451, no row, no object; taken once the disk is well', (t) =>
    objectSyncFails(t, 'fsync'));

  it(
    'fsync error in PostgreSQL under load: it crashes and recovers, and no row is without its raw mail',
    databaseSyncFails,
  );
});
