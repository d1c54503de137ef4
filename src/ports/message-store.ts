/** The rows behind a 250: each written in one transaction together with the job that reads the attachments out. */

import type { Note } from './extraction-store.ts';

export type InboundMessageStatus = 'RECEIVED' | 'STORED' | 'PARSED' | 'FAILED';

/** One row to be: a mail for one organisation, its raw bytes already durable under `rawStorageKey`. */
export interface NewMessage {
  readonly id: string;
  readonly orgId: string;
  readonly sourceMessageId: string;
  readonly messageIdSynthetic: boolean;
  /** Of the envelope; null for the null reverse-path `<>`. */
  readonly reversePath: string | null;
  /** The reverse-path, or for `<>` what the header says. */
  readonly fromEmail: string | null;
  readonly toEmail: string;
  readonly subject: string | null;
  readonly receivedAt: Date;
  readonly rawStorageKey: string;
  readonly traceId: string;
  /** Where the job goes on in the trace; none when nobody traces. All mails of a process have one, or none has. */
  readonly traceparent?: string | undefined;
  readonly sizeBytes: number;
  /** Units: lower-case hex. */
  readonly rawSha256: string;
  /** Of the content as version 2 has it, which the row is recorded with. Units: lower-case hex. */
  readonly contentSha256: string;
  /** As version 1 has it, for comparison with rows that were recorded with that. */
  readonly contentSha256V1: string;
  readonly headerFrom: string | null;
  readonly headerTo: string | null;
  readonly headerDate: Date | null;
  /** null: not known any more, as of a mail that is handed in again. */
  readonly remoteAddress: string | null;
  readonly heloName: string | null;
  /** As the TLS library names them, `TLSv1.3`; null when the mail came in the clear. */
  readonly tlsVersion: string | null;
  readonly tlsCipher: string | null;
  /** What was odd before anybody read the mail; the worker's notes come behind them. Default: none. */
  readonly notes?: readonly Note[];
}

/**
 * `accepted`: a new row and its job. `duplicate`: the same mail is there already, `id` says which row.
 * `conflict`: the Message-ID is taken by a mail of other content; an `inbound_conflict` row `id` keeps this one.
 */
export interface Recorded {
  readonly outcome: 'accepted' | 'duplicate' | 'conflict';
  readonly id: string;
  /** Set: the database refused the row as it was, in these words, and took it without its free text. */
  readonly withoutText?: string;
}

export interface MessageStore {
  /**
   * Records the messages of each envelope, all or nothing; several envelopes share a commit where they can.
   * Shape: per envelope, in order: per message what became of it, or why nothing was recorded of this envelope alone.
   * Errors: `RecordError`, about all envelopes when it is thrown; `refused` when these very rows cannot be written
   * whatever we do (a poison row: try the envelopes one by one), `outcome-unknown` when the commit was sent and its answer
   * lost, else `unavailable`.
   */
  record(envelopes: readonly (readonly NewMessage[])[]): Promise<readonly (readonly Recorded[] | RecordError)[]>;
}

export type RecordErrorCode = 'unavailable' | 'outcome-unknown' | 'refused';

export class RecordError extends Error {
  readonly code: RecordErrorCode;
  constructor(code: RecordErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RecordError';
    this.code = code;
  }
}
