/** The application behind the fuzzed server: keeps what it is given, refuses by marks in the mail, and holds the library to its port. */
import { setTimeout as sleep } from 'node:timers/promises';
import { refusals } from '../../src/intake/refusals.ts';
import type { MailReceiver, Refused } from '../../src/smtp/receiver.ts';
import { marks } from './session-model.ts';

export interface TakenMail {
  readonly acknowledgement: string;
  readonly recipients: readonly string[];
  /** One character for each octet. */
  readonly body: string;
}

export interface FuzzReceiver extends MailReceiver {
  /** Committed since `forget`. */
  readonly taken: readonly TakenMail[];
  /** What the library did that its port forbids. */
  readonly problems: readonly string[];
  /** Begun, and neither committed nor aborted. */
  readonly open: number;
  forget(): void;
}

/** Longer than a client needs to send all it has behind a command. */
const slowMs = 15;

export function createFuzzReceiver(): FuzzReceiver {
  let taken: TakenMail[] = [];
  let problems: string[] = [];
  let open = 0;
  let number = 0;

  const begin: MailReceiver['begin'] = async (_, mail) => {
    const name = mail.reversePath?.localPart;
    if (name === 'slow') await sleep(slowMs);
    if (name === 'blocked') return { refusal: refusals['sender-blocked'] };
    if (name === 'broken') throw new Error('begin is broken');
    open++;
    const recipients: string[] = [];
    let body = '';
    let whole = false;
    let ended = false;
    const end = (how: string): void => {
      if (ended) problems.push(`${how} behind the end of a transaction`);
      else open--;
      ended = true;
    };
    return {
      async addRecipient({ localPart, address }): Promise<Refused | undefined> {
        if (localPart === 'slow') await sleep(slowMs);
        if (localPart === 'no') return { refusal: refusals['unknown-recipient'] };
        if (localPart === 'broken') throw new Error('addRecipient is broken');
        recipients.push(address);
        return undefined;
      },
      async body(chunks) {
        for await (const chunk of chunks) {
          if (chunk.length === 0) problems.push('an empty chunk');
          body += Buffer.from(chunk).toString('latin1');
          if (body.includes(marks.early)) return { refusal: refusals.unavailable };
          if (name === 'slow') await sleep(1);
        }
        whole = true;
        return undefined;
      },
      async commit() {
        if (!whole || ended) problems.push('commit without a whole mail');
        if (body.includes(marks.late)) return { refusal: refusals.unstorable };
        if (body.includes(marks.fault)) throw new Error('commit is broken');
        end('commit');
        const acknowledgement = `accepted ${++number}`;
        taken.push({ acknowledgement, recipients, body });
        return { acknowledgement };
      },
      async abort() {
        end('abort');
      },
    };
  };

  return {
    begin,
    get taken() {
      return taken;
    },
    get problems() {
      return problems;
    },
    get open() {
      return open;
    },
    forget() {
      taken = [];
      problems = [];
    },
  };
}
