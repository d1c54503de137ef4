/** What became of one mail, for log, metrics and trace. It decides nothing: the transaction says what it has done. */
import type { NewMessage, Recorded } from '../ports/message-store.ts';
import { type AbortReason, addressKey, type MailCommand, type SessionFacts } from '../smtp/index.ts';
import type { BoundedLine, BoundedLines } from '../telemetry/bounded-lines.ts';
import type { Log } from '../telemetry/log.ts';
import type { ErrorType, Metrics } from '../telemetry/metrics.ts';
import type { TraceSpan, Tracing } from '../telemetry/tracing.ts';
import type { RefusalName } from './refusals.ts';

export interface MailTelemetryOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tracing?: Tracing | undefined;
  /** For mails and faults: a flood of mails must not be a flood of lines, nor of stacks while the database is away. */
  readonly lines: BoundedLines;
}

const RECORDED = {
  accepted: { level: 'info', message: 'mail accepted' },
  conflict: { level: 'warn', message: 'Message-ID is taken by a mail of other content: kept aside' },
  duplicate: { level: 'warn', message: 'duplicate mail: it is here already' },
} as const satisfies Record<Recorded['outcome'], Pick<BoundedLine, 'level' | 'message'>>;

/** A class, because each mail has one. */
export class MailTelemetry {
  private readonly o: MailTelemetryOptions;
  private readonly log: Log;
  private readonly span: TraceSpan | undefined;
  private readonly remoteAddress: string;
  private readonly from: string | null;

  constructor(
    o: MailTelemetryOptions,
    {
      session,
      mail,
      traceId,
    }: { readonly session: SessionFacts; readonly mail: MailCommand; readonly traceId: string },
  ) {
    this.o = o;
    this.log = o.log.child({ trace_id: traceId, session_id: session.sessionId });
    this.span = o.tracing?.transaction({ traceId, sessionId: session.sessionId });
    this.remoteAddress = addressKey(session.remoteAddress);
    this.from = mail.reversePath?.address ?? null;
  }

  /** W3C, where the mail is traced: jobs go on from it. */
  get traceparent(): string | undefined {
    return this.span?.traceparent;
  }

  /** At MAIL: no transaction begins. */
  senderRefused(condition: RefusalName): void {
    // The line of the session tells it to everybody (`observer.ts`); this one carries the trace.
    this.log.debug({ from: this.from, reason: condition }, 'mail refused');
    this.o.metrics.emailReceived(null, 'rejected');
    this.span?.set({ 'orderflow.outcome': 'refused', 'orderflow.refusal': condition });
    this.span?.end();
  }

  recipientRefused(address: string, condition: RefusalName): void {
    this.log.debug({ to: address, from: this.from, reason: condition }, 'recipient refused');
    this.o.metrics.emailReceived(null, 'rejected');
  }

  /** The mail as a whole, for all of these. */
  mailRefused(orgIds: readonly string[], condition: RefusalName): void {
    this.log.debug({ from: this.from, reason: condition }, 'mail refused');
    for (const orgId of orgIds) this.o.metrics.emailReceived(orgId, 'rejected');
    this.span?.set({ 'orderflow.refusal': condition });
  }

  /** This organisation blocks the mail's From; the others of the envelope get it. */
  leftOut(orgId: string): void {
    const facts = { org_id: orgId, reason: 'sender-blocked' };
    const message = 'mail not recorded for an organisation that blocks its From';
    this.o.lines.write({ level: 'info', log: this.log, facts, message, remoteAddress: this.remoteAddress });
    this.o.metrics.emailReceived(orgId, 'rejected');
  }

  /** Of ours, whatever the client is answered. */
  fault(error: unknown, errorType: ErrorType): void {
    const facts = { err: error, error_type: errorType };
    const message = 'mail not taken: a fault of ours';
    this.o.lines.write({ level: 'error', log: this.log, facts, message, kind: errorType });
    this.o.metrics.processingError(null, errorType);
  }

  /** To be ended by the caller, as that of `committing`. */
  storing(objects: number): TraceSpan | undefined {
    return this.span?.child('store', { 'orderflow.objects': objects });
  }

  committing(): TraceSpan | undefined {
    return this.span?.child('commit', { 'db.system.name': 'postgresql' });
  }

  /** Durable, each message with what became of it; the 250 follows. */
  recorded(messages: readonly NewMessage[], outcomes: readonly Recorded[]): void {
    this.span?.set({
      'orderflow.outcome': [...new Set(outcomes.map(({ outcome }) => outcome))].join(' '),
      'orderflow.inbound_message_id': outcomes.map(({ id }) => id),
    });
    const bytes = messages[0]?.sizeBytes ?? 0;
    this.o.lines.received({ bytes, payFor: 'acceptance', remoteAddress: this.remoteAddress });
    for (const [index, outcome] of outcomes.entries()) {
      const message = messages[index];
      if (message !== undefined) this.recordedOne(message, outcome);
    }
  }

  /** No 250 will come of it. */
  failed(error: unknown): void {
    this.span?.fail(error);
  }

  /** `underWay`: some of the mail was received. `undecided`: a commit may still succeed, and tells the rest. */
  abandoned(
    reason: AbortReason,
    o: { readonly orgIds: readonly string[]; readonly underWay: boolean; readonly undecided: boolean },
  ): void {
    if (reason === 'too-large') for (const orgId of o.orgIds) this.o.metrics.emailReceived(orgId, 'rejected');
    if (o.underWay) this.log.debug({ reason }, 'mail given up');
    if (o.undecided) return;
    this.span?.set({ 'orderflow.outcome': reason });
    if (reason === 'fault') this.span?.fail(reason);
    this.span?.end();
  }

  end(): void {
    this.span?.end();
  }

  private recordedOne(message: NewMessage, { outcome, id, withoutText }: Recorded): void {
    const facts = {
      org_id: message.orgId,
      message_id: message.sourceMessageId,
      inbound_message_id: id,
      from: message.fromEmail,
      to: message.toEmail,
      size_bytes: message.sizeBytes,
      tls_version: message.tlsVersion,
      tls_cipher: message.tlsCipher,
    };
    const line = { log: this.log, facts, remoteAddress: this.remoteAddress };
    if (withoutText !== undefined) {
      this.o.lines.write({
        ...line,
        level: 'warn',
        facts: { ...facts, reason: withoutText },
        message: 'the database refused a field: recorded without its free text',
      });
    }
    this.o.lines.write({ ...line, ...RECORDED[outcome] });
    this.o.metrics.emailReceived(message.orgId, outcome);
    this.o.metrics.messageSize(message.sizeBytes);
  }
}
