/**
 * What logs and metrics are built on. All functions are optional and are called synchronously on the way of the mail:
 * they must be quick; one that throws is reported to `fault` if that is another one, and ignored.
 * Units: durations in milliseconds.
 */
import type { ReplyStage } from './engine.ts';
import type { ProxyProblem } from './proxy-gate.ts';
import type { AbortReason, MailCommand, SessionFacts } from './receiver.ts';
import type { ReplyName } from './replies.ts';

export interface SmtpObserver {
  readonly sessionOpened?: (session: SessionFacts) => void;
  readonly sessionClosed?: (session: SessionFacts, stats: SessionStats) => void;
  /** Turned away at once; no session began. `limit`: how many connections the bound in `condition` allows. */
  readonly connectionRefused?: (remoteAddress: string, condition: ReplyName, limit: number | null) => void;
  /** A connection could not be accepted at all, as with EMFILE. Accepting goes on. */
  readonly acceptFailed?: (error: unknown) => void;
  /** A listed balancer sent no PROXY header, or none that can be used; no session began. */
  readonly proxyHeaderRefused?: (peerAddress: string, reason: ProxyProblem) => void;
  /** STARTTLS was taken, and this came of it. */
  readonly tlsHandshake?: (handshake: TlsHandshakeEvent) => void;
  readonly replied?: (reply: RepliedEvent) => void;
  readonly transactionEnded?: (transaction: TransactionEndedEvent) => void;
  /** Something of ours went wrong: a rejected call, or one past its deadline. The client got a generic 451. */
  readonly fault?: (error: unknown, session: SessionFacts, step: ReceiverStep) => void;
}

export type ReceiverStep = 'begin' | 'addRecipient' | 'body' | 'commit' | 'abort' | 'observer';

export interface SessionStats {
  readonly durationMs: number;
  readonly acceptedMails: number;
  readonly transactions: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export interface TlsHandshakeEvent {
  /** With `tls` set when it is completed. */
  readonly session: SessionFacts;
  readonly outcome: 'completed' | 'failed' | 'timeout';
  /** Why not, as a code: `ERR_SSL_WRONG_VERSION_NUMBER`, `ECONNRESET`; never the peer's words. */
  readonly reason: string | null;
  /** Of a handshake that failed: the newest version that the client had offered, as far as it is known. */
  readonly offered: string | null;
  readonly durationMs: number;
}

export interface RepliedEvent {
  readonly session: SessionFacts;
  readonly stage: ReplyStage;
  readonly code: number;
  /** `5.1.1` */
  readonly enhanced: string | null;
  readonly condition: string;
  /** The address that was judged, as sent; empty for the null reverse-path. */
  readonly address: string | null;
  /** With CRLF; of EHLO several lines. */
  readonly wire: string;
  /**
   * The command line that was refused, as the client sent it: with control characters, up to about 1,000 octets. Never
   * the credentials of an AUTH, never a line of a mail. null with any other reply, and where there was no command.
   */
  readonly refusedText: string | null;
  /** Since the client's bytes, or our last reply, whichever was later. */
  readonly durationMs: number;
}

export interface TransactionEndedEvent {
  readonly session: SessionFacts;
  readonly mail: MailCommand;
  /** Accepted ones. */
  readonly recipients: number;
  readonly outcome: 'committed' | AbortReason;
  /** Its condition. */
  readonly refusal: string | null;
  /** Handed to the receiver. */
  readonly bytes: number;
  /** End of DATA to the outcome; null when the mail never arrived whole. */
  readonly ackDurationMs: number | null;
  /** false: the client was gone, or told otherwise, before it could read the outcome. */
  readonly clientTold: boolean;
}
