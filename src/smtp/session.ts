// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * One connection: carries bytes between the socket and the engine, questions between the engine and the transaction,
 * and holds the deadlines. It has no timer of its own; the server calls `checkDeadlines` from time to time.
 *
 * The socket is paused while more waits than the limits allow: commands behind one that is being answered, body the
 * receiver has not asked for, replies the client does not read; and while it would need more memory than there is for it.
 *
 * STARTTLS puts a TLS socket in the place of the plain one; from then on everything goes through that.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { addressKey } from './address-key.ts';
import { atEndOfTurn } from './end-of-turn.ts';
import { type Answer, type Ending, Engine, type EngineEvents, type ReplyStage } from './engine.ts';
import { maxBufferedChunks, type SmtpLimits } from './limits.ts';
import type { MemoryPlaces, PlaceHolder } from './memory-places.ts';
import type { ReceiverStep, SmtpObserver, TlsHandshakeEvent, TransactionEndedEvent } from './observer.ts';
import type { AbortReason, Mailbox, MailCommand, MailReceiver, SessionFacts } from './receiver.ts';
import { enhancedCode, type Reply, type ReplyName } from './replies.ts';
import { type SmtpTls, secured } from './starttls.ts';
import { Transaction, type TransactionHost } from './transaction.ts';

/** A client that is at work says its next command within this time, also over a satellite. */
const betweenCommandsMs = 10_000;

/** A rate of less time says more about the network's buffers than about the client. */
const rateIsKnownMs = 10_000;

export interface SessionOptions {
  readonly socket: Socket;
  readonly facts: SessionFacts;
  readonly hostName: string;
  readonly limits: SmtpLimits;
  readonly receiver: MailReceiver;
  readonly observer: SmtpObserver;
  readonly tls: SmtpTls | null;
  /** Shared by all sessions. */
  readonly places: MemoryPlaces<Session>;
  /** The socket is closed. */
  readonly onClosed: (session: Session) => void;
  /** The socket is closed and no commit is running any more. */
  readonly onSettled: (session: Session) => void;
  readonly background: (call: Promise<void>) => void;
}

export class Session implements EngineEvents, TransactionHost, PlaceHolder {
  readonly addressKey: string;
  /** The plain one, then the TLS socket around it. */
  private socket: Socket;
  private readonly tls: SmtpTls | null;
  private facts: SessionFacts;
  private readonly limits: SmtpLimits;
  private readonly receiver: MailReceiver;
  private readonly observer: SmtpObserver;
  private readonly onClosed: (session: Session) => void;
  private readonly onSettled: (session: Session) => void;
  readonly background: (call: Promise<void>) => void;
  private readonly engine: Engine;
  private readonly places: MemoryPlaces<Session>;

  private transaction: Transaction | null = null;
  /** Earlier ones, given up, that the receiver is not done with. */
  private readonly heldTransactions = new Set<Transaction>();
  /** It has a place, or waits for one. */
  private claiming = false;
  /** Of the wait for a place; 0 when there is none. */
  private shortSince = 0;
  private output = '';
  private flushPlanned = false;
  private paused = false;
  /** Until all of the body is taken: one pause for many chunks. */
  private bodyPaused = false;
  private socketClosed = false;
  /** When the last reply was given to the socket and it is only waited for the client to notice; 0 before. */
  private lingerSince = 0;
  private lingeredBytes = 0;
  private cut = false;

  private readonly openedAt = performance.now();
  /** Of the client's last bytes or our last reply. */
  private lastActivityAt = this.openedAt;
  private commandBegunAt = 0;
  private dataBegunAt = 0;
  private dataBytes = 0;
  /** Time in this DATA during which it was not the client that kept us waiting. */
  private pausedMs = 0;
  private pausedAt = 0;
  private unreadSince = 0;
  private handshakeBegunAt = 0;

  private acceptedMails = 0;
  private transactions = 0;

  constructor(options: SessionOptions) {
    this.socket = options.socket;
    this.facts = options.facts;
    this.limits = options.limits;
    this.receiver = options.receiver;
    this.observer = options.observer;
    this.tls = options.tls;
    this.places = options.places;
    this.addressKey = addressKey(options.facts.remoteAddress);
    this.onClosed = options.onClosed;
    this.onSettled = options.onSettled;
    this.background = options.background;
    const { hostName, limits, facts } = options;
    const tls = this.tls === null ? 'off' : this.tls.required ? 'required' : 'offered';
    this.engine = new Engine({ hostName, limits, sessionId: facts.sessionId, events: this, tls });
  }

  start(): void {
    this.notify(() => this.observer.sessionOpened?.(this.facts));
    this.listenTo(this.socket);
    // 'close' always follows, and tells all that matters.
    this.socket.on('error', () => {});
    this.afterTurn(() => this.engine.greet());
  }

  /** Lets a mail under way come to its reply, and closes. */
  shutdown(): void {
    // Nothing can be said in the middle of a handshake, and nothing is lost.
    if (this.engine.stage === 'handshake') return void this.socket.destroy();
    this.engine.shutdown();
    this.settle();
  }

  /** Ends at once whatever is under way. */
  destroy(): void {
    this.transaction?.end('shutdown', true);
    this.socket.destroy();
  }

  get remoteAddress(): string {
    return this.facts.remoteAddress;
  }

  /**
   * Since when it is for the client to say something, and it costs nobody a mail to close it: between two commands, in the
   * middle of one, or of a handshake. A client that has said MAIL or RCPT gets a moment for the next.
   */
  idleSince(now: number): number | null {
    const { engine, lastActivityAt } = this;
    if (this.socketClosed || this.lingerSince > 0) return null;
    if (engine.stage === 'handshake') return this.handshakeBegunAt;
    if (engine.stage !== 'command' || engine.mailArriving) return null;
    return engine.hasEnvelope && now - lastActivityAt < betweenCommandsMs ? null : lastActivityAt;
  }

  /** For somebody who holds fewer connections; the client will come back. */
  giveWay(): void {
    if (this.engine.stage === 'handshake') return this.handshakeFailed('failed', 'gave-way');
    this.cutForOthers('too-many-connections-from-address');
  }

  cutForOthers(condition: ReplyName): void {
    this.engine.giveWay(condition);
    this.settle();
  }

  placeGiven(): void {
    this.shortSince = 0;
    this.settle();
  }

  bytesPerSecond(now: number): number | null {
    if (this.socketClosed || this.lingerSince > 0) return null;
    if (this.unreadSince > 0) return 0;
    if (!this.engine.mailArriving) return null;
    const sendingMs = now - this.dataBegunAt - this.pausedMs - (this.paused ? now - this.pausedAt : 0);
    return sendingMs < rateIsKnownMs ? Number.POSITIVE_INFINITY : (this.dataBytes / sendingMs) * 1000;
  }

  /** Of the client's bytes and our replies, here and in the receiver. What Node holds for a paused socket is counted. */
  get heldBytes(): number {
    const { socket, engine } = this;
    // Nobody reads or writes it any more where the socket is closed.
    let bytes = this.socketClosed
      ? 0
      : engine.bufferedBytes + this.output.length + socket.writableLength + socket.readableLength;
    if (this.transaction !== null) bytes += this.transaction.heldBytes;
    for (const earlier of this.heldTransactions) bytes += earlier.heldBytes;
    return bytes;
  }

  checkDeadlines(now: number): void {
    this.transaction?.checkDeadline(now);
    if (this.socketClosed) return this.settleWhenDone();
    if (this.engine.stage === 'handshake') return this.checkHandshake(now);
    if (this.lingerSince > 0) {
      if (now - this.lingerSince >= this.limits.lingerMs) this.socket.destroy();
    } else if (this.unreadSince > 0 && now - this.unreadSince >= this.limits.idleTimeoutMs) this.socket.destroy();
    else if (this.clientIsLate(now)) this.engine.timeout();
    else if (this.waitedTooLong(now)) this.engine.giveWay('too-many-connections');
    this.settle();
  }

  /** For memory; the client would not wait much longer either, and learns why. */
  private waitedTooLong(now: number): boolean {
    return this.shortSince > 0 && this.engine.mailArriving && now - this.shortSince >= this.limits.dataTimeoutMs;
  }

  private clientIsLate(now: number): boolean {
    const { limits, engine } = this;
    if (engine.stage === 'command') {
      if (engine.midCommand && now - this.commandBegunAt >= limits.commandTimeoutMs) return true;
      if (!engine.mailArriving)
        return now - this.lastActivityAt >= limits.idleTimeoutMs || now - this.openedAt >= limits.maxSessionMs;
    }
    if (!engine.mailArriving || this.paused) return false;
    if (now - this.lastActivityAt >= limits.dataTimeoutMs) return true;
    const allowedMs = limits.dataGraceMs + (this.dataBytes / limits.minDataBytesPerSecond) * 1000;
    return now - this.dataBegunAt - this.pausedMs >= allowedMs;
  }

  // From the socket.

  private listenTo(socket: Socket): void {
    socket.on('data', this.received);
    socket.on('end', this.inputEnded);
    socket.on('drain', this.settled);
    socket.on('close', this.closed);
  }

  private stopListeningTo(socket: Socket): void {
    socket.off('data', this.received);
    socket.off('end', this.inputEnded);
    socket.off('drain', this.settled);
    socket.off('close', this.closed);
  }

  private readonly received = (chunk: Buffer): void => {
    if (this.lingerSince > 0) {
      this.lingeredBytes += chunk.length;
      if (this.lingeredBytes > this.limits.maxLingerBytes) this.socket.destroy();
      return;
    }
    const { engine } = this;
    const now = performance.now();
    const arriving = engine.mailArriving;
    if (!engine.midCommand) this.lastActivityAt = this.commandBegunAt = now;
    else if (arriving) this.lastActivityAt = now;
    engine.receive(chunk);
    // A BDAT and its octets come together.
    if (arriving || engine.mailArriving) this.dataBytes += chunk.length;
    this.settle();
  };

  private readonly settled = (): void => this.settle();

  private readonly inputEnded = (): void => {
    if (this.engine.stage === 'handshake') return this.handshakeFailed('failed', 'connection-closed');
    this.engine.endOfInput();
    this.settle();
  };

  private readonly closed = (): void => {
    this.socketClosed = true;
    if (this.engine.stage === 'handshake') this.handshakeFailed('failed', 'connection-closed');
    if (this.engine.stage !== 'closed') this.transaction?.end('connection-lost');
    const { socket, acceptedMails, transactions } = this;
    const { bytesRead, bytesWritten } = socket;
    const durationMs = performance.now() - this.openedAt;
    const stats = { durationMs, acceptedMails, transactions, bytesRead, bytesWritten };
    this.notify(() => this.observer.sessionClosed?.(this.facts, stats));
    this.engine.connectionLost();
    this.output = '';
    this.haveMemory();
    this.onClosed(this);
    this.settleWhenDone();
  };

  private settleWhenDone(): void {
    if (this.socketClosed && !this.transaction?.isCommitting) this.onSettled(this);
  }

  /** After anything that may have moved the engine: sends what is due, pauses or resumes. */
  private settle(): void {
    if (this.socketClosed || this.engine.stage === 'handshake') return;
    if (this.engine.outputDue && this.output !== '') this.planFlush();
    this.pauseOrResume();
  }

  private pauseOrResume(): void {
    if (this.socket.writableLength <= this.limits.maxUnreadReplyBytes) this.unreadSince = 0;
    else if (this.unreadSince === 0) this.unreadSince = performance.now();
    const short = !this.haveMemory();
    const pause = this.cut || (this.lingerSince === 0 && (this.mustPause() || short));
    if (pause === this.paused) return;
    this.paused = pause;
    if (pause) {
      this.pausedAt = performance.now();
      this.socket.pause();
    } else {
      this.pausedMs += performance.now() - this.pausedAt;
      this.lastActivityAt = performance.now();
      this.socket.resume();
    }
  }

  private mustPause(): boolean {
    const { engine, limits, transaction } = this;
    const arriving = engine.mailArriving && transaction !== null;
    this.bodyPaused = arriving && (this.bodyPaused ? !transaction.bodyEmpty : transaction.bodyFull);
    if (this.unreadSince > 0 || this.bodyPaused) return true;
    if (engine.mailArriving) return false;
    return engine.bufferedBytes >= limits.maxBufferedInputBytes || engine.bufferedChunks >= maxBufferedChunks;
  }

  /** false: it holds as much as it may without a place, and there is none. */
  private haveMemory(): boolean {
    const large = this.heldBytes > this.limits.maxSmallHeldBytes;
    if (!large && !this.claiming) return true;
    this.claiming = large;
    if (!large) {
      this.places.release(this);
      this.shortSince = 0;
      return true;
    }
    if (this.places.claim(this)) return true;
    if (this.shortSince === 0) this.shortSince = performance.now();
    return false;
  }

  /** Replies of one turn leave together, but no more of them are kept than a client that does not read may have. */
  private planFlush(): void {
    if (this.output.length > this.limits.maxUnreadReplyBytes) return this.flush();
    if (this.flushPlanned) return;
    this.flushPlanned = true;
    atEndOfTurn(this.flushAsPlanned);
  }

  private readonly flushAsPlanned = (): void => {
    this.flushPlanned = false;
    if (this.socketClosed || this.engine.stage === 'handshake' || !this.engine.outputDue) return;
    this.flush();
    this.pauseOrResume();
  };

  private flush(): void {
    if (this.output === '') return;
    const { output } = this;
    this.output = '';
    if (this.socket.writable) this.socket.write(output, 'latin1');
  }

  // From the engine.

  reply(
    reply: Reply,
    wire: string,
    stage: ReplyStage,
    address: string | null,
    refusedText: string | null = null,
  ): void {
    this.output += wire;
    this.knowHelo();
    const { replied } = this.observer;
    if (replied !== undefined) {
      const { code, condition } = reply;
      const enhanced = enhancedCode(reply);
      const durationMs = performance.now() - this.lastActivityAt;
      const session = this.facts;
      this.notify(() => replied({ session, stage, code, enhanced, condition, address, wire, refusedText, durationMs }));
    }
    this.lastActivityAt = performance.now();
  }

  passTurn(): void {
    this.afterTurn(() => this.engine.turnPassed());
  }

  beginTransaction(mail: MailCommand): void {
    this.transactions++;
    if (this.transaction !== null && this.transaction.heldBytes > 0) this.heldTransactions.add(this.transaction);
    this.transaction = new Transaction({ session: this.facts, mail, limits: this.limits, host: this });
    this.transaction.begin(this.receiver);
  }

  addRecipient(recipient: Mailbox): void {
    this.transaction?.addRecipient(recipient);
  }

  mailArrives(): void {
    this.dataBegunAt = this.lastActivityAt = performance.now();
    this.dataBytes = 0;
    this.pausedMs = 0;
  }

  beginBody(): void {
    this.transaction?.beginBody();
  }

  bodyChunk(chunk: Buffer): void {
    this.transaction?.pushBody(chunk);
  }

  endBody(): void {
    this.transaction?.endBody();
  }

  startTls(): void {
    const { tls } = this;
    const plain = this.socket;
    if (tls === null || plain.destroyed) return;
    this.flush();
    this.stopListeningTo(plain);
    this.handshakeBegunAt = performance.now();
    this.paused = false;
    this.unreadSince = 0;
    this.knowHelo();
    const socket = secured(plain, tls.secureContext(), {
      completed: () => this.tlsStarted(socket),
      failed: (reason, offered) => this.handshakeFailed('failed', reason, offered),
    });
    this.socket = socket;
    this.listenTo(socket);
  }

  abandonTransaction(reason: AbortReason): void {
    this.transaction?.end(reason);
  }

  close(ending: Ending): void {
    this.lingerSince = performance.now();
    this.cut = ending === 'cut';
    this.flush();
    // What a client may still send is read and dropped: the kernel would answer it with an RST, which eats our reply.
    if (ending !== 'goodbye') this.socket.end();
    // The kernel has it all, and sends it before it closes. TLS has a farewell of its own.
    else if (this.facts.tls === null && this.socket.writableLength === 0) this.socket.destroy();
    else this.socket.destroySoon();
  }

  // From the transaction.

  answer(answer: Answer): void {
    if (this.socketClosed) return;
    if (typeof answer === 'object' && 'committed' in answer) this.acceptedMails++;
    this.engine.answer(answer);
    this.settle();
  }

  bodyWanted(): void {
    if (this.paused) this.settle();
  }

  ended(event: TransactionEndedEvent): void {
    this.notify(() => this.observer.transactionEnded?.(event));
    if (this.socketClosed) queueMicrotask(() => this.settleWhenDone());
  }

  released(transaction: Transaction): void {
    this.heldTransactions.delete(transaction);
    if (this.socketClosed) this.haveMemory();
    else this.settle();
  }

  fault(error: unknown, step: ReceiverStep): void {
    try {
      this.observer.fault?.(error, this.facts, step);
    } catch {
      // There is nobody left to tell.
    }
  }

  private tlsStarted(socket: TLSSocket): void {
    this.facts = {
      ...this.facts,
      tls: { version: socket.getProtocol() ?? '', cipher: socket.getCipher().standardName },
    };
    this.handshakeEnded('completed', null, null);
    this.lastActivityAt = performance.now();
    this.engine.tlsStarted();
    this.settle();
  }

  private checkHandshake(now: number): void {
    if (now - this.handshakeBegunAt >= this.limits.tlsHandshakeTimeoutMs) this.handshakeFailed('timeout', null);
  }

  /** In the middle of a handshake there is no way to say a word. */
  private handshakeFailed(
    outcome: 'failed' | 'timeout',
    reason: string | null,
    offered: TlsHandshakeEvent['offered'] = null,
  ): void {
    if (this.handshakeBegunAt > 0) this.handshakeEnded(outcome, reason, offered);
    this.socket.destroy();
  }

  private handshakeEnded(
    outcome: TlsHandshakeEvent['outcome'],
    reason: string | null,
    offered: TlsHandshakeEvent['offered'],
  ): void {
    const durationMs = performance.now() - this.handshakeBegunAt;
    this.handshakeBegunAt = 0;
    this.notify(() => this.observer.tlsHandshake?.({ session: this.facts, outcome, reason, offered, durationMs }));
  }

  private knowHelo(): void {
    const { heloName } = this.engine;
    if (heloName !== this.facts.heloName) this.facts = { ...this.facts, heloName };
  }

  /** An observer's mistake must not become the client's. */
  private notify(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.fault(error, 'observer');
    }
  }

  /**
   * Long enough that whatever the client had sent before has been read: a socket accepted in this turn of the event
   * loop is polled for the first time in the next one, and `setImmediate` runs after polling. No time is waited for.
   */
  private afterTurn(step: () => void): void {
    setImmediate(() =>
      setImmediate(() => {
        if (this.socketClosed) return;
        step();
        this.settle();
      }),
    );
  }
}
