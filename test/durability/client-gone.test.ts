import { test } from 'node:test';
import { goneBeforeTheLastReply, goneInTheMiddle } from './client-gone.ts';

test('client vanishes in the middle of DATA, by FIN and by RST: nothing stored, the process lives', goneInTheMiddle);

test('lost final 250: the client never sees it and sends again, one message, no orphan object', goneBeforeTheLastReply);
