/** The thread behind `createHashThread`. */
import { parentPort } from 'node:worker_threads';
import { createHashes, type FromThread, type ToThread } from './digests.ts';

const mails = new Map<number, ReturnType<typeof createHashes>>();

parentPort?.on('message', (message: ToThread) => {
  const { mail } = message;
  const hashes = mails.get(mail);
  if ('piece' in message) {
    const begun = hashes ?? createHashes();
    if (hashes === undefined) mails.set(mail, begun);
    begun.update(message.piece, message.contentFrom);
    return answer(null);
  }
  mails.delete(mail);
  if (message.end === 'finish') answer(hashes?.finish() ?? null);
});

function answer(one: FromThread): void {
  parentPort?.postMessage(one);
}
