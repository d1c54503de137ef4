/**
 * What one session was refused, for the one line of the log that tells it: the first ten refusals with command, reply,
 * reverse-path and recipient, and how many more there were.
 */
import type { RepliedEvent, TransactionEndedEvent } from '../smtp/index.ts';

/** One entry of the line. Fields that are not known are left out. */
export interface ToldRefusal {
  /** As the client sent it, control characters shown as `\u{1b}`. */
  readonly command?: string;
  /** As the client got it. */
  readonly reply?: string;
  /** The name of the reply; `connection-lost` or `shutdown` where a mail under way ended without one. */
  readonly condition: string;
  /** The reverse-path; `<>` for the null one. */
  readonly from?: string;
  /** The recipient that was refused; else the first of the mail. */
  readonly to?: string;
  /** Of the mail, where it ended before its end. */
  readonly bytes?: number;
}

export interface ToldRefusals {
  readonly refusals: readonly ToldRefusal[];
  readonly more_refusals?: number;
}

export const MAX_TOLD_REFUSALS = 10;
/** Of a command or an address. A path has 256 octets at most (RFC 5321 §4.5.3.1.3), an honest one below 100. */
const MAX_TEXT_CHARACTERS = 200;
const MAX_REPLY_CHARACTERS = 120;
/**
 * A line has 8 KiB at most: ten entries of 690 bytes, and 1,280 for time, ids, addresses and the HELO name. An entry
 * whose texts are longer as JSON has them cut to 50 characters, of up to three bytes: 3 × 150, a reply of 120, and 100
 * for names and condition.
 */
const MAX_ENTRY_BYTES = 690;
const SHORT_TEXT_CHARACTERS = 50;

/** Makes one harmless line of a stranger's text, of so many characters at most. */
export type Clean = (text: string, maxCharacters: number) => string;

export class SessionRefusals {
  private readonly clean: Clean;
  /** Of the transaction under way; null while there is none. */
  private reversePath: string | null = null;
  private recipient: string | null = null;
  private entries: ToldRefusal[] = [];
  private count = 0;

  constructor(clean: Clean) {
    this.clean = clean;
  }

  get any(): boolean {
    return this.count > 0;
  }

  /** Each reply of the session, in order. */
  replied(event: RepliedEvent): void {
    const { code, stage, address } = event;
    if (code >= 400) this.refused(event);
    else if (stage === 'MAIL') this.reversePath = address;
    else if (stage === 'RCPT') this.recipient ??= address;
    if (endsTransaction(event)) this.forgetEnvelope();
  }

  /** A mail under way that got no reply: nobody but this line knows of it. */
  transactionEnded({ outcome, mail, recipients, bytes }: TransactionEndedEvent): void {
    if (outcome !== 'connection-lost' && outcome !== 'shutdown') return;
    if (recipients > 0) this.add({ condition: outcome, from: mail.reversePath?.address ?? '', bytes });
    this.forgetEnvelope();
  }

  /** What is not told yet, or null; a session that stays open begins anew with it. */
  take(): ToldRefusals | null {
    if (this.count === 0) return null;
    const { entries, count } = this;
    this.entries = [];
    this.count = 0;
    return { refusals: entries, ...(count > entries.length && { more_refusals: count - entries.length }) };
  }

  private refused({ stage, condition, wire, refusedText, address }: RepliedEvent): void {
    // A client that is told to go, and had nothing to hand over, was refused nothing.
    if ((condition === 'idle-timeout' || condition === 'shutting-down') && this.reversePath === null) return;
    this.add({
      command: refusedText,
      reply: wire.trimEnd(),
      condition,
      from: stage === 'MAIL' ? (address ?? this.reversePath) : this.reversePath,
      to: stage === 'RCPT' ? address : this.recipient,
    });
  }

  private add(refusal: Refusal): void {
    this.count++;
    if (this.entries.length < MAX_TOLD_REFUSALS)
      this.entries.push(bounded({ to: this.recipient, ...refusal }, this.clean));
  }

  private forgetEnvelope(): void {
    this.reversePath = null;
    this.recipient = null;
  }
}

interface Refusal {
  readonly command?: string | null;
  readonly reply?: string;
  readonly condition: string;
  /** Empty for the null reverse-path. */
  readonly from: string | null;
  readonly to?: string | null;
  readonly bytes?: number;
}

/** Behind the end of a mail, and a refused DATA, there is no envelope any more; RSET and EHLO end one as well. */
function endsTransaction({ code, stage }: RepliedEvent): boolean {
  if (stage === 'mail') return true;
  if (stage === 'DATA') return code >= 400;
  return code < 400 && (stage === 'RSET' || stage === 'EHLO' || stage === 'HELO' || stage === 'STARTTLS');
}

function bounded(refusal: Refusal, clean: Clean): ToldRefusal {
  const whole = told(refusal, (text) => clean(text, MAX_TEXT_CHARACTERS), clean);
  if (Buffer.byteLength(JSON.stringify(whole)) <= MAX_ENTRY_BYTES) return whole;
  return told(refusal, (text) => clean(text, SHORT_TEXT_CHARACTERS), clean);
}

function told(refusal: Refusal, shown: (text: string) => string, clean: Clean): ToldRefusal {
  const { command, reply, condition, from, to, bytes } = refusal;
  return {
    ...(command != null && { command: shown(command) }),
    ...(reply !== undefined && { reply: clean(reply, MAX_REPLY_CHARACTERS) }),
    condition,
    ...(from !== null && { from: from === '' ? '<>' : shown(from) }),
    ...(to != null && { to: shown(to) }),
    ...(bytes !== undefined && { bytes }),
  };
}
