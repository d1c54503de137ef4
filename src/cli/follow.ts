/** Watches a message on its way through the house. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageView, MessageViews } from '../ports/message-view.ts';
import { CommandFailure } from './context.ts';
import type { Output } from './output.ts';

const pollMs = 250;

/**
 * Resolves when the message is PARSED or FAILED; at once for a mail kept aside, which is not read.
 * Errors: `CommandFailure` when it is in no such database, or still under way at the deadline.
 */
export async function followMessage(o: {
  messages: MessageViews;
  id: string;
  deadlineMs: number;
  progress: Output;
}): Promise<MessageView> {
  const startedAt = performance.now();
  let shownStatus: string | null = null;
  for (;;) {
    const message = await o.messages.findMessage(o.id);
    // The row is committed before the reply: when it is not here now, it never will be.
    if (message === null) throw notHere(o.id);
    if (message.status !== shownStatus) await o.progress.write(`${shownStatus === null ? '' : ' '}${message.status}`);
    else await o.progress.write('.');
    shownStatus = message.status;
    if (shownStatus === 'PARSED' || shownStatus === 'FAILED' || shownStatus === 'CONFLICT') {
      await o.progress.line();
      return message;
    }
    if (performance.now() - startedAt > o.deadlineMs) {
      await o.progress.line();
      throw stillUnderWay(o.id, shownStatus, o.deadlineMs);
    }
    await sleep(pollMs);
  }
}

const notHere = (id: string): CommandFailure =>
  new CommandFailure(
    `the server took the mail as ${id}, but the database of these settings does not have it:\n` +
      'give this command the DATABASE_URL or DATA_DIR of the server',
  );

const stillUnderWay = (id: string, status: string, deadlineMs: number): CommandFailure =>
  new CommandFailure(
    `${id} is still ${status} after ${Math.round(deadlineMs / 1000)} s; the mail is safe.\n` +
      'Does a worker run (start, or start --roles worker)? Does /readyz say that jobs are ready? The log names the cause.\n' +
      `Look again with: messages show ${id}`,
  );
