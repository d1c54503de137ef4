/**
 * The port between the SMTP library and the application behind it: begin, addRecipient, body, commit, abort.
 * Nothing lasting happens before `commit`, and nothing here knows sockets or reply codes.
 *
 * The library calls the methods of one transaction one after another, never two at once. Every call gets a signal
 * that aborts when the deadline for that step passes or the client is gone; after that the library no longer waits
 * for the call and a late outcome is ignored. The signal of `commit` aborts at its deadline only: a client that is gone
 * will send the mail again, and a finished commit is the better answer to that.
 */
import type { Refusal } from './replies.ts';

/** What is known of the client; a session outlives its transactions. */
export interface SessionFacts {
  readonly sessionId: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** The name given with EHLO or HELO, any printable text, also none (`''`); null before. */
  readonly heloName: string | null;
  /** Set once TLS is on. */
  readonly tls: { readonly version: string; readonly cipher: string } | null;
}

/** A mailbox as the client wrote it, taken apart. Spec: RFC 5321 §4.1.2 */
export interface Mailbox {
  /** Without quotes and quoted pairs. */
  readonly localPart: string;
  /**
   * To be compared: U-labels as A-labels, no dot at the end, else as written; an address literal keeps its brackets.
   * Empty only for `<Postmaster>`.
   */
  readonly domain: string;
  /** As sent: `localPart@domain`, with quoting where it was used. */
  readonly address: string;
}

/** A valid MAIL command. Spec: RFC 5321 §3.3, RFC 1870, RFC 6152, RFC 6531 */
export interface MailCommand {
  /** null for the null reverse-path `<>`. */
  readonly reversePath: Mailbox | null;
  readonly declaredSizeBytes: number | null;
  readonly body: '7BIT' | '8BITMIME';
  readonly smtputf8: boolean;
}

/** Why a step was not done: the reply that the client gets. */
export interface Refused {
  readonly refusal: Refusal;
}

/** What became of a mail, once it is durable: one line that the client reads after `250 2.0.0 `. */
export interface Committed {
  readonly acknowledgement: string;
}

/** Why a transaction ended without a commit. */
export type AbortReason =
  | 'reset'
  | 'refused'
  | 'too-large'
  | 'connection-lost'
  | 'deadline'
  | 'fault'
  | 'shutdown'
  | 'protocol-error';

/**
 * The bytes of a mail, for one reader: by `read`, which copies them where the reader wants them, or by iteration, in chunks
 * that are the reader's own. The socket is paused while nobody reads.
 * Errors: both throw `MailIncomplete` when the mail does not arrive whole.
 */
export interface MailBody extends AsyncIterable<Uint8Array> {
  /**
   * Waits for some bytes, and writes as many as there are and fit. One read at a time.
   * Shape: how many; 0 at the end of the mail.
   * Owns: `into` is the reader's again when it settles.
   */
  read(into: Uint8Array): Promise<number>;
  /** No more is wanted. A read under way writes nothing any more, and never settles. */
  cancel(): void;
}

/** Errors: a rejected promise is a fault of ours and answered 451; its text never reaches the client. */
export interface MailReceiver {
  begin(session: SessionFacts, mail: MailCommand, signal: AbortSignal): Promise<MailTransaction | Refused>;
}

export interface MailTransaction {
  addRecipient(recipient: Mailbox, signal: AbortSignal): Promise<Refused | undefined>;

  /** Takes the mail, dot-stuffing undone. A refusal may come early; the library then discards the rest itself. */
  body(body: MailBody, signal: AbortSignal): Promise<Refused | undefined>;

  /** Called only after `body` took a whole mail. When it resolves to `Committed`, everything is durable. */
  commit(signal: AbortSignal): Promise<Committed | Refused>;

  /** Called exactly once unless `commit` resolved to `Committed`; also while another call is still running. */
  abort(reason: AbortReason): Promise<void>;
}
