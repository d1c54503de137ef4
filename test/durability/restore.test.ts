import { test } from 'node:test';
import { backupUnderLoad } from './restore.ts';

test('a backup under load, the database first and then the objects: what got 250 before it is there after a restore', (t) =>
  backupUnderLoad(t));
