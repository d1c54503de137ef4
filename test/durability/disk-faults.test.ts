import { test } from 'node:test';
import { databaseSyncFails, diskFull, objectSyncFails } from './disk-faults.ts';

test('disk full: 452 4.3.1, no row, nothing left behind; taken once there is room', diskFull);

test('fsync error of the raw mail: 451, no row, no object; taken once the disk is well', (t) =>
  objectSyncFails(t, 'fdatasync'));

test('fsync error of its directory: 451, no row, no object; taken once the disk is well', (t) =>
  objectSyncFails(t, 'fsync'));

test(
  'fsync error in PostgreSQL under load: it crashes and recovers, and no row is without its raw mail',
  databaseSyncFails,
);
