// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * One mail transaction as the application sees it: calls its methods one after another, gives each a deadline, and
 * sees to it that `abort` is called once or `commit` came true.
 *
 * States:
 *   open        begin, addRecipient and body; left by `end` (abort) or when body took the whole mail.
 *   committing  the mail is whole. A client that leaves now changes nothing: it will ask again, and a finished commit
 *               is the better answer to that. Left by the outcome, the deadline, or `end` with force.
 *   ended       nothing is awaited; a late outcome is ignored, and a transaction that begins late is aborted.
 */
import { BodyQueue } from './body-queue.ts';
import type { Answer } from './engine.ts';
import type { SmtpLimits } from './limits.ts';
import type { ReceiverStep, TransactionEndedEvent } from './observer.ts';
import type {
  AbortReason,
  Committed,
  Mailbox,
  MailCommand,
  MailReceiver,
  MailTransaction,
  Refused,
  SessionFacts,
} from './receiver.ts';
import { ReceiverDeadline } from './receiver-deadline.ts';

export interface TransactionHost {
  /** Called once per question, never after `ended`, except for the answer that ends it. */
  answer(answer: Answer): void;
  /** The receiver has used up the body so far. */
  bodyWanted(): void;
  fault(error: unknown, step: ReceiverStep): void;
  ended(event: TransactionEndedEvent): void;
  /** It is over, and the receiver has let go of its bytes: `heldBytes` is 0. Also after the socket is closed. */
  released(transaction: Transaction): void;
  /** A call nobody waits for, but a closing server does. */
  background(call: Promise<void>): void;
}

export interface TransactionOptions {
  readonly session: SessionFacts;
  readonly mail: MailCommand;
  readonly limits: SmtpLimits;
  readonly host: TransactionHost;
}

export class Transaction {
  private readonly session: SessionFacts;
  private readonly mail: MailCommand;
  private readonly limits: SmtpLimits;
  private readonly host: TransactionHost;

  private state: 'open' | 'committing' | 'ended' = 'open';
  private endReason: AbortReason = 'fault';
  private inner: MailTransaction | null = null;
  private queue: BodyQueue | null = null;
  private controller = new AbortController();
  /** Which call runs, and since when it has had what it needs. */
  private step: ReceiverStep | null = null;
  private busySince = 0;
  /** The receiver is in a call, also one that nobody waits for any more. */
  private calling = false;

  private recipients = 0;
  private bytes = 0;
  private endOfDataAt = 0;
  private clientGone = false;

  constructor({ session, mail, limits, host }: TransactionOptions) {
    this.session = session;
    this.mail = mail;
    this.limits = limits;
    this.host = host;
  }

  get isCommitting(): boolean {
    return this.state === 'committing';
  }

  get bodyFull(): boolean {
    return this.queue?.full ?? false;
  }

  /** The receiver is taken to hold what it was given, as far as it may, until it is back from its last call. */
  get heldBytes(): number {
    if (this.state === 'ended' && !this.calling) return 0;
    const waitingBytes = this.queue?.bytes ?? 0;
    return waitingBytes + Math.min(this.bytes - waitingBytes, this.limits.maxReceiverBytes);
  }

  /** Everything the client sent has been taken: it is the client we wait for. */
  get bodyEmpty(): boolean {
    return this.queue?.empty ?? true;
  }

  begin(receiver: MailReceiver): void {
    this.call(
      'begin',
      () => receiver.begin(this.session, this.mail, this.controller.signal),
      (result) => this.begun(result),
      (late) => {
        if (!('refusal' in late)) this.abortInner(late, this.endReason);
      },
    );
  }

  addRecipient(recipient: Mailbox): void {
    const inner = this.inner as MailTransaction;
    this.call(
      'addRecipient',
      () => inner.addRecipient(recipient, this.controller.signal),
      (refused) => {
        if (refused === undefined) this.recipients++;
        this.host.answer(refused ?? 'done');
      },
    );
  }

  beginBody(): void {
    const inner = this.inner as MailTransaction;
    const queue = new BodyQueue({ maxBytes: this.limits.maxBufferedBodyBytes, onEmpty: () => this.emptied() });
    this.queue = queue;
    this.call(
      'body',
      () => inner.body(queue, this.controller.signal),
      (refused) => {
        if (refused !== undefined) this.refused(refused);
        else if (queue.delivered) this.commit(inner);
        else this.failed(new Error('body() resolved before it had taken the whole mail'), 'body');
      },
    );
  }

  pushBody(chunk: Buffer): void {
    if (this.state !== 'open' || this.queue === null) return;
    this.bytes += chunk.length;
    if (this.queue.readerWaits) this.busySince = performance.now();
    this.queue.push(chunk);
  }

  endBody(): void {
    this.endOfDataAt = performance.now();
    if (this.queue?.readerWaits) this.busySince = this.endOfDataAt;
    this.queue?.end();
  }

  /** The client, or the server, has given up. Safe to call at any time, any number of times. */
  end(reason: AbortReason, force = false): void {
    if (this.state === 'ended') return;
    this.clientGone ||= reason === 'connection-lost' || reason === 'shutdown';
    if (this.state === 'committing' && !force) return;
    this.finish(reason);
  }

  /** Called from time to time. */
  checkDeadline(now: number): void {
    if (this.step === null || this.state === 'ended') return;
    if (this.step === 'body' && this.queue?.readerWaits) return;
    if (now - this.busySince < this.limits.receiverTimeoutMs) return;
    const { step } = this;
    this.host.fault(new ReceiverDeadline(step, this.limits.receiverTimeoutMs), step);
    this.finish('deadline');
    this.host.answer('dead');
  }

  private begun(result: MailTransaction | Refused): void {
    if ('refusal' in result) {
      this.finish('refused', result);
      this.host.answer(result);
    } else {
      this.inner = result;
      this.host.answer('done');
    }
  }

  private commit(inner: MailTransaction): void {
    this.state = 'committing';
    // Its own signal: it outlives the client.
    this.controller = new AbortController();
    this.call(
      'commit',
      () => inner.commit(this.controller.signal),
      (result) => {
        if ('refusal' in result) this.refused(result);
        else this.committed(result);
      },
    );
  }

  private committed(result: Committed): void {
    this.state = 'ended';
    this.inner = null;
    this.report('committed', null);
    this.host.answer({ committed: result.acknowledgement });
  }

  private refused(refused: Refused): void {
    this.finish('refused', refused);
    this.host.answer(refused);
  }

  private failed(error: unknown, step: ReceiverStep): void {
    this.host.fault(error, step);
    // A recipient that could not be asked about leaves the rest of the transaction whole.
    if (step !== 'addRecipient') this.finish('fault');
    this.host.answer('fault');
  }

  private emptied(): void {
    this.busySince = performance.now();
    this.host.bodyWanted();
  }

  /** Runs one call of the receiver; `settled` and faults only count while this transaction lives. */
  private call<T>(
    step: ReceiverStep,
    start: () => Promise<T>,
    settled: (result: T) => void,
    settledLate?: (result: T) => void,
  ): void {
    this.step = step;
    this.calling = true;
    this.busySince = performance.now();
    let running: Promise<T>;
    try {
      running = Promise.resolve(start());
    } catch (error) {
      running = Promise.reject(error);
    }
    running.then(
      (result) => {
        this.calling = false;
        if (this.state === 'ended') settledLate?.(result);
        else {
          this.step = null;
          settled(result);
        }
        this.releaseWhenOver();
      },
      (error: unknown) => {
        this.calling = false;
        if (this.state !== 'ended') {
          this.step = null;
          this.failed(error, step);
        }
        this.releaseWhenOver();
      },
    );
  }

  private releaseWhenOver(): void {
    if (this.state === 'ended' && !this.calling) this.host.released(this);
  }

  private finish(reason: AbortReason, refused: Refused | null = null): void {
    this.state = 'ended';
    this.endReason = reason;
    this.step = null;
    this.queue?.fail(reason);
    this.controller.abort();
    const { inner } = this;
    this.inner = null;
    this.report(reason, refused);
    if (inner !== null) this.abortInner(inner, reason);
  }

  private abortInner(inner: MailTransaction, reason: AbortReason): void {
    const aborted = (async () => inner.abort(reason))().catch((error: unknown) => this.host.fault(error, 'abort'));
    this.host.background(aborted);
  }

  private report(outcome: 'committed' | AbortReason, refused: Refused | null): void {
    this.host.ended({
      session: this.session,
      mail: this.mail,
      recipients: this.recipients,
      outcome,
      refusal: refused?.refusal.condition ?? null,
      bytes: this.bytes,
      ackDurationMs: this.endOfDataAt === 0 ? null : performance.now() - this.endOfDataAt,
      clientTold: !this.clientGone,
    });
  }
}
