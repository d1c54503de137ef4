import { test } from 'node:test';
import { syncedBeforeReply } from './call-order.ts';

test('system calls, mail by mail: file and directory synced, then the commit, and only then 250', syncedBeforeReply);
