/** What was sent, and what the server said to it. The one truth that an audit holds the product to. */
import type { OrderMail } from './order-mail.ts';

/**
 * How one try to deliver a mail ended. `reply`: by a reply, to the mail data or to a command before. `refused`: no
 * connection, or none that came as far as a greeting. `lost`: the connection ended without the reply that was due.
 */
export interface Attempt {
  readonly outcome: 'reply' | 'refused' | 'lost';
  /** The reply's code; 0 without one. */
  readonly code: number;
  readonly text: string;
  /** Which command the outcome belongs to; `mail data` after the final dot was sent. */
  readonly stage: string;
  /** When the final dot was on its way; null before. Units: milliseconds of performance.now(). */
  readonly dataSentAt: number | null;
  readonly endedAt: number;
  /** Between the last thing the client sent and its end. */
  readonly waitedMs: number;
}

export interface Entry {
  readonly mail: OrderMail;
  readonly attempts: readonly Attempt[];
}

export interface AttemptRecord {
  add(attempt: Attempt): void;
}

export interface Ledger {
  readonly entries: readonly Entry[];
  open(mail: OrderMail): AttemptRecord;
  /** That of a mail that was opened before; otherwise it is opened. */
  reopen(mail: OrderMail): AttemptRecord;
  /** Every attempt of every mail, in no order. */
  attempts(): readonly Attempt[];
  /** How many 250 were heard to mail data, those to a mail sent again with them. */
  readonly acknowledgements: number;
  /** Mails that got a 250. */
  acknowledged(): readonly Entry[];
  /** How often each end was met: `250`, `451`, `refused`, `lost`, … */
  outcomes(): Readonly<Record<string, number>>;
}

export function createLedger(): Ledger {
  const entries: { readonly mail: OrderMail; readonly attempts: Attempt[] }[] = [];
  const attempts = () => entries.flatMap((entry) => entry.attempts);
  let acknowledgements = 0;
  const recordOf = (entry: { readonly attempts: Attempt[] }): AttemptRecord => ({
    add(attempt) {
      entry.attempts.push(attempt);
      if (isAcknowledgement(attempt)) acknowledgements++;
    },
  });
  const open = (mail: OrderMail): AttemptRecord => {
    const entry = { mail, attempts: [] };
    entries.push(entry);
    return recordOf(entry);
  };
  return {
    entries,
    open,
    reopen(mail) {
      const entry = entries.find((one) => one.mail === mail);
      return entry === undefined ? open(mail) : recordOf(entry);
    },
    attempts,
    get acknowledgements() {
      return acknowledgements;
    },
    acknowledged: () => entries.filter((entry) => entry.attempts.some(isAcknowledgement)),
    outcomes() {
      const counts: Record<string, number> = {};
      for (const attempt of attempts()) counts[nameOf(attempt)] = (counts[nameOf(attempt)] ?? 0) + 1;
      return counts;
    },
  };
}

export function isAcknowledgement(attempt: Attempt): boolean {
  return attempt.code === 250 && attempt.stage === 'mail data';
}

/** The ids in `accepted <id> <id>` or `duplicate of <id>`. */
export function acknowledgedIds(attempt: Attempt): readonly string[] {
  return attempt.text.match(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) ?? [];
}

export function nameOf({ outcome, code }: Attempt): string {
  return outcome === 'reply' ? String(code) : outcome;
}
