import { test } from 'node:test';
import { syncedBeforeReply } from './call-order.ts';

test(
  'system calls, mail by mail: file synced, named, directory synced, commit synced, and only then 250',
  syncedBeforeReply,
);
