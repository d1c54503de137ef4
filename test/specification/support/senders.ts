/** Senders as they are in the wild: told "later" or nothing at all, they come back until the mail is taken. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sendOne } from './ingest.ts';
import { mailWith, type OrderFile } from './mails.ts';

export interface Sender {
  /** What was answered each time; a connection that was refused or broke is `none`. */
  readonly verdicts: readonly string[];
  /** Resolves when every mail has its 250. */
  readonly done: Promise<void>;
}

const DEADLINE_MS = 60_000;

/** Sends `count` mails one after another, each under a Message-ID of its own until it is taken. */
export function startSender(o: { port: number; name: string; count: number; files: readonly OrderFile[] }): Sender {
  const verdicts: string[] = [];
  const deadline = performance.now() + DEADLINE_MS;
  const deliver = async (data: Buffer): Promise<void> => {
    for (;;) {
      const verdict = await sendOne({ port: o.port, data, timeoutMs: 30_000 }).catch(() => 'none');
      verdicts.push(verdict);
      if (verdict.startsWith('250 ')) return;
      if (performance.now() > deadline) throw new Error(`not taken within ${DEADLINE_MS} ms, last: ${verdict}`);
      await sleep(100);
    }
  };
  const work = async (): Promise<void> => {
    for (let n = 0; n < o.count; n++) {
      await deliver(mailWith(o.files, [`Message-ID: <${o.name}.${n}@sender.example>`]));
    }
  };
  return { verdicts, done: work() };
}
