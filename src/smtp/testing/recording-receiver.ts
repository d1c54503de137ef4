/** A receiver that keeps what it is given, for tests; each step can be made to refuse, fail or hang. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AbortReason, Committed, Mailbox, MailCommand, MailReceiver, Refused, SessionFacts } from '../receiver.ts';

export interface RecordedMail {
  readonly session: SessionFacts;
  readonly mail: MailCommand;
  readonly recipients: string[];
  readonly chunks: Uint8Array[];
  bodyBytes: number;
  bodyError: unknown;
  committed: boolean;
  readonly aborts: AbortReason[];
}

export interface RecordingOptions {
  readonly begin?: (mail: MailCommand, signal: AbortSignal) => Promise<Refused | undefined> | Refused | undefined;
  readonly recipient?: (recipient: Mailbox, signal: AbortSignal) => Promise<Refused | undefined> | Refused | undefined;
  /** Instead of taking the chunks. */
  readonly body?: (chunks: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<Refused | undefined>;
  readonly commit?: (signal: AbortSignal) => Promise<Committed | Refused>;
  /** false: chunks are counted, not kept. */
  readonly keep?: boolean;
  readonly chunkDelayMs?: number;
}

export interface RecordingReceiver extends MailReceiver {
  readonly mails: RecordedMail[];
  readonly accepted: RecordedMail[];
}

export function createRecordingReceiver(options: RecordingOptions = {}): RecordingReceiver {
  const mails: RecordedMail[] = [];
  return {
    mails,
    get accepted() {
      return mails.filter((mail) => mail.committed);
    },
    async begin(session, mail, signal) {
      const refused = await options.begin?.(mail, signal);
      if (refused !== undefined) return refused;
      const recorded: RecordedMail = {
        session,
        mail,
        recipients: [],
        chunks: [],
        bodyBytes: 0,
        bodyError: null,
        committed: false,
        aborts: [],
      };
      mails.push(recorded);
      const number = mails.length;
      return {
        async addRecipient(recipient, stepSignal) {
          const no = await options.recipient?.(recipient, stepSignal);
          if (no === undefined) recorded.recipients.push(recipient.address);
          return no;
        },
        async body(chunks, stepSignal) {
          if (options.body !== undefined) return options.body(chunks, stepSignal);
          try {
            for await (const chunk of chunks) {
              if (options.chunkDelayMs !== undefined) await sleep(options.chunkDelayMs);
              recorded.bodyBytes += chunk.length;
              if (options.keep !== false) recorded.chunks.push(Buffer.from(chunk));
            }
          } catch (error) {
            recorded.bodyError = error;
            throw error;
          }
          return undefined;
        },
        async commit(stepSignal) {
          const outcome = (await options.commit?.(stepSignal)) ?? { acknowledgement: `accepted ${number}` };
          recorded.committed = 'acknowledgement' in outcome;
          return outcome;
        },
        async abort(reason) {
          recorded.aborts.push(reason);
        },
      };
    },
  };
}

/** As it was stored. */
export function storedBytes(mail: RecordedMail | undefined): Buffer {
  return Buffer.concat(mail?.chunks ?? []);
}
