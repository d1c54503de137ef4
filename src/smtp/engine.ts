// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * The protocol without sockets, clocks or promises: bytes and answers go in, replies and events come out, at once and
 * in order.
 *
 * Stages:
 *   silent    nobody may speak: before the greeting, and before a DATA is refused. Input here is a client that does
 *             not wait its turn; left by `greet` or `turnPassed`.
 *   command   a command line is awaited.
 *   handshake STARTTLS was taken: what the client had sent behind it in the clear is dropped, nothing it said counts any
 *             more, and no reply can be sent. Left by `tlsStarted`, into `command`.
 *   receiver  the application was asked; input is kept, not read. Left by `answer`.
 *   data      the mail arrives. Left by its terminator, into `receiver`, or to `command` when it was refused meanwhile.
 *   chunk     the octets of a BDAT arrive, wanted or not. Left when they are there: to `command`, or, behind the last
 *             chunk of a good mail, into `receiver`.
 *   closed    the last reply is out; input is ignored.
 *
 * One mail transaction at most, from a valid MAIL to the final reply, RSET, EHLO, a refused DATA or the end.
 *
 * A mail by BDAT is under way from its first chunk on, also while a command is awaited. Once it is refused, all its
 * chunks get that refusal, however far the client is ahead, until the last one, RSET, EHLO or another MAIL. Octets of
 * a chunk never run as commands, because their number was told before; where it was not, the session ends.
 *
 * After a refused DATA the client may have sent the mail already; its lines must not run as commands. Whatever is
 * there when the refusal is due, and whatever follows that is no ordinary next command, closes the session. So a mail
 * can only be taken for commands when its first line is one and it left the client later than our refusal left us: a
 * client that waits.
 * Spec: RFC 5321, RFC 2920, RFC 1870, RFC 2034, RFC 3030, RFC 3207, RFC 6152, RFC 6531
 */
import { BodyDecoder } from './body.ts';
import { ChunkBody } from './chunk-body.ts';
import { type Command, looksLikeBdat, type Malformed, parseCommand } from './command.ts';
import { CommandReader, type ReadLine } from './command-reader.ts';
import { CommandText } from './command-text.ts';
import { type Charge, ErrorBudget } from './error-budget.ts';
import { maxCommandLineBytes, maxRcptLineBytes, type SmtpLimits, smallChunkBytes } from './limits.ts';
import type { AbortReason, Mailbox, MailCommand } from './receiver.ts';
import {
  fixedReplyLine,
  type Refusal,
  type Reply,
  type ReplyName,
  replies,
  replyLine,
  safeReplyText,
} from './replies.ts';

export type Stage = 'silent' | 'command' | 'handshake' | 'receiver' | 'data' | 'chunk' | 'closed';

/** Which command a reply belongs to; `connection` for those nobody asked for, `mail` for the end of DATA. */
export type ReplyStage = Command['verb'] | 'connection' | 'mail' | 'unknown';

/** How a step of the application went. `dead` is a fault after which the transaction cannot go on. */
export type Answer = 'done' | 'fault' | 'dead' | { readonly committed: string } | { readonly refusal: Refusal };

/** A reply of the protocol, or one of the application. */
type Verdict = ReplyName | Refusal;

/**
 * `goodbye`: the client said QUIT, and nothing behind it: it waits for the reply, and has no more to say.
 * `last-word`: it may still be sending, and has to be read until it notices.
 * `cut`: it sends without end, and would only keep us reading.
 */
export type Ending = 'goodbye' | 'last-word' | 'cut';

export interface EngineEvents {
  /**
   * `wire` is complete, with CRLF. `address` is the one that was judged, if any; `refusedText` the command line that is
   * refused, null with any other reply.
   */
  reply(reply: Reply, wire: string, stage: ReplyStage, address: string | null, refusedText?: string | null): void;
  /** Wait one turn of the event loop, reading, then call `turnPassed`. */
  passTurn(): void;
  beginTransaction(mail: MailCommand): void;
  addRecipient(recipient: Mailbox): void;
  /** The client begins to send a mail, wanted or not. */
  mailArrives(): void;
  beginBody(): void;
  /** Owns: the chunk goes to the listener. */
  bodyChunk(chunk: Buffer): void;
  endBody(): void;
  /** Send what is due, then let TLS begin; `tlsStarted` says when it is on. */
  startTls(): void;
  /** The transaction is over without the application having said so. */
  abandonTransaction(reason: AbortReason): void;
  /** Send what is due, close, read no more. */
  close(ending: Ending): void;
}

export interface EngineOptions {
  readonly hostName: string;
  readonly sessionId: string;
  readonly limits: SmtpLimits;
  readonly events: EngineEvents;
  /** Whether STARTTLS is offered, and whether mail is refused without it. */
  readonly tls?: TlsPolicy;
}

export type TlsPolicy = 'off' | 'offered' | 'required';

interface Envelope {
  readonly mail: MailCommand;
  recipients: number;
  /** A step never came back: whatever comes until the end of this transaction is answered 451. */
  dead: boolean;
}

/** What the receiver was asked last, and what the reply to it will name. */
type Question = { readonly step: 'begin' | 'recipient'; readonly address: string | null } | { readonly step: 'mail' };

export class Engine {
  stage: Stage = 'silent';
  heloName: string | null = null;

  private readonly hostName: string;
  private readonly sessionId: string;
  private readonly limits: SmtpLimits;
  private readonly events: EngineEvents;
  private readonly tls: TlsPolicy;
  private readonly reader: CommandReader;
  private readonly budget: ErrorBudget;
  private readonly commandText = new CommandText();

  private encrypted = false;
  private extended = false;
  private envelope: Envelope | null = null;
  private question: Question | null = null;
  private body: BodyDecoder | null = null;
  private chunks: ChunkBody | null = null;
  private bodyBytes = 0;
  /** Decided before the mail had ended: it is discarded to its end, then this is the reply; also to every chunk. */
  private verdict: Verdict | null = null;
  private heldRefusal: { readonly condition: ReplyName; readonly stage: ReplyStage } | null = null;
  private afterRefusedData = false;

  private readonly queue: Buffer[] = [];
  private queueBytes = 0;
  /** Into the first of the queue. */
  private offset = 0;
  private running = false;
  private inputEnded = false;
  private shuttingDown = false;

  constructor({ hostName, sessionId, limits, events, tls = 'off' }: EngineOptions) {
    this.hostName = hostName;
    this.sessionId = sessionId;
    this.limits = limits;
    this.events = events;
    this.tls = tls;
    this.reader = new CommandReader(limits.maxDiscardedLineBytes);
    this.budget = new ErrorBudget(limits);
  }

  /** Input not read yet, because something must happen first. */
  get bufferedBytes(): number {
    return this.queueBytes;
  }

  get bufferedChunks(): number {
    return this.queue.length;
  }

  /** Replies may go out now: nothing the client has already asked for will follow them at once. */
  get outputDue(): boolean {
    return this.stage !== 'silent' && (this.stage !== 'receiver' || this.question?.step === 'mail');
  }

  get midCommand(): boolean {
    return this.reader.midLine;
  }

  /** Behind a valid MAIL. */
  get hasEnvelope(): boolean {
    return this.envelope !== null;
  }

  /** A DATA, or a first BDAT, was accepted and the final reply is still due. */
  get mailUnderWay(): boolean {
    return this.body !== null || (this.chunks !== null && this.envelope !== null);
  }

  /** It is for the client to send more of a mail, wanted or not; also between two chunks. */
  get mailArriving(): boolean {
    return this.stage === 'data' || this.stage === 'chunk' || (this.stage === 'command' && this.mailUnderWay);
  }

  greet(): void {
    if (this.stage !== 'silent') return;
    if (this.shuttingDown) return this.closeWith('shutting-down', 'connection', 'shutdown');
    this.stage = 'command';
    this.reply('greeting', 'connection');
    this.run();
  }

  /** Owns: `bytes` belong to the engine from here on and may be rewritten. */
  receive(bytes: Buffer): void {
    if (this.stage === 'closed' || this.stage === 'handshake' || bytes.length === 0) return;
    if (this.stage === 'silent') return this.speaksOutOfTurn();
    this.queue.push(bytes);
    this.queueBytes += bytes.length;
    this.run();
  }

  /** The client will send no more; what it has sent is still answered. */
  endOfInput(): void {
    this.inputEnded = true;
    this.run();
  }

  /** Nobody is there any more: what is buffered will never be read. */
  connectionLost(): void {
    this.dropInput();
  }

  /** The handshake is done: the session begins anew, and the client has to say EHLO again. Spec: RFC 3207 §4.2 */
  tlsStarted(): void {
    if (this.stage !== 'handshake') return;
    this.encrypted = true;
    this.stage = 'command';
    this.run();
  }

  turnPassed(): void {
    const held = this.heldRefusal;
    if (this.stage !== 'silent' || held === null) return;
    this.heldRefusal = null;
    this.stage = 'command';
    this.afterRefusedData = true;
    this.refuse(held.condition, held.stage, 'error');
    this.run();
  }

  /** What the application said to the last question; before the mail has ended, a verdict on it. */
  answer(answer: Answer): void {
    const { question } = this;
    if (question === null) {
      if (this.mailUnderWay && answer !== 'done') this.verdict ??= refusalOf(answer);
      return;
    }
    if (this.stage !== 'receiver') return;
    this.question = null;
    this.stage = 'command';
    if (question.step === 'mail') this.finishMail(answer);
    else this.finishStep(question.step, question.address, answer);
    this.run();
  }

  /** The client kept us waiting too long. */
  timeout(): void {
    this.closeWith('idle-timeout', 'connection', 'deadline');
  }

  /** Closes for the sake of other clients; to be called while it is for this one to send. */
  giveWay(condition: ReplyName): void {
    this.closeWith(condition, 'connection', 'deadline');
  }

  /** Closes between two commands; a mail whose DATA is under way comes to its reply first. */
  shutdown(): void {
    this.shuttingDown = true;
    if (this.stage === 'command') this.run();
  }

  private run(): void {
    if (this.running) return;
    this.running = true;
    while (this.stage === 'command' || this.stage === 'data' || this.stage === 'chunk') {
      if (this.stage === 'command' && this.shuttingDown && !this.mailUnderWay) {
        this.closeWith('shutting-down', 'connection', 'shutdown');
        break;
      }
      const chunk = this.queue[0];
      if (chunk === undefined) {
        if (this.inputEnded) this.close('connection-lost');
        break;
      }
      if (this.stage === 'data') this.takeBody(chunk);
      else if (this.stage === 'chunk') this.takeChunk(chunk);
      else this.takeLine(chunk);
    }
    this.running = false;
  }

  private advance(chunk: Buffer, next: number): void {
    this.queueBytes -= next - this.offset;
    this.offset = next;
    if (next < chunk.length) return;
    if (this.chunks !== null) this.passOnChunks(this.chunks);
    this.queue.shift();
    this.offset = 0;
  }

  private takeLine(chunk: Buffer): void {
    const read = this.reader.read(chunk, this.offset);
    // Before the command runs: what it finds buffered is what stands behind it.
    this.advance(chunk, this.reader.next);
    if (read === null) return;
    this.commandText.begin(textOf(read));
    if (read.kind === 'line') this.takeCommand(read.line, read.lineBytes);
    else this.refuseLine(read);
  }

  private refuseLine(read: Exclude<ReadLine, { kind: 'line' }>): void {
    if (this.afterRefusedData) return this.mailAfterRefusedData();
    if (read.kind !== 'endless' && looksLikeBdat(read.beginning))
      return this.closeWith('malformed-chunk', 'BDAT', 'protocol-error');
    if (read.kind === 'bare-line-feed') return this.refuse('bare-line-feed', 'unknown', 'error');
    if (read.kind === 'endless' || !this.budget.charge('overlong-line'))
      return this.closeWith('line-too-long', 'unknown', 'protocol-error');
    this.refuse('line-too-long', 'unknown', 'error');
  }

  private takeCommand(line: Buffer, lineBytes: number): void {
    const command = parseCommand(line, this.extended);
    if (command.verb !== null) this.commandText.known();
    if (lineBytes > lineLimit(command.verb)) {
      return this.refuseLine({ kind: 'too-long', beginning: line.toString('latin1', 0, 32) });
    }
    if (this.afterRefusedData) {
      if (!isOrdinaryNextCommand(command)) return this.mailAfterRefusedData();
      this.afterRefusedData = false;
    }
    if (command.verb === 'BDAT') {
      if ('malformed' in command) return this.closeWith(command.malformed, 'BDAT', 'protocol-error');
      return this.takeBdat(command.sizeBytes, command.last);
    }
    const outOfSequence = this.sequenceProblem(command.verb);
    if (outOfSequence !== null) this.refuseCommand(outOfSequence, command);
    else if ('malformed' in command) this.refuseCommand(command.malformed, command);
    else this.execute(command);
  }

  /** RFC 5321 §4.1.4 */
  private sequenceProblem(verb: Command['verb'] | null): ReplyName | null {
    switch (verb) {
      case 'STARTTLS':
        if (this.tls === 'off') return 'unknown-command';
        return this.encrypted || this.envelope !== null ? 'bad-sequence' : null;
      case 'MAIL':
        if (this.tlsIsMissing) return 'tls-required';
        return this.heloName === null || this.envelope !== null ? 'bad-sequence' : null;
      case 'RCPT':
        if (this.tlsIsMissing) return 'tls-required';
        if (this.envelope === null || this.chunks !== null) return 'bad-sequence';
        return this.envelope.dead ? 'fault' : null;
      case 'DATA':
        // RFC 3030 §2: never both in one transaction.
        if (this.chunks !== null) return 'bad-sequence';
        return this.envelopeProblem();
      default:
        return null;
    }
  }

  /** What keeps a mail from being sent now. */
  private envelopeProblem(): ReplyName | null {
    if (this.tlsIsMissing) return 'tls-required';
    if (this.envelope === null) return 'bad-sequence';
    if (this.envelope.dead) return 'fault';
    return this.envelope.recipients === 0 ? 'no-valid-recipient' : null;
  }

  private get tlsIsMissing(): boolean {
    return this.tls === 'required' && !this.encrypted;
  }

  private refuseCommand(condition: ReplyName, command: Command | Malformed): void {
    const stage = command.verb ?? 'unknown';
    // Also a DATA that is malformed: its mail may follow all the same.
    if (stage === 'DATA') return this.refuseData(condition, stage);
    const address = 'recipient' in command ? command.recipient.address : null;
    this.refuse(condition, stage, condition === 'fault' ? 'refusal' : 'error', address);
  }

  private execute(command: Exclude<Command, { verb: 'BDAT' }>): void {
    const { verb } = command;
    switch (verb) {
      case 'EHLO':
      case 'HELO':
        return this.hello(verb, command.heloName);
      case 'MAIL':
        return this.beginTransaction(command.mail);
      case 'RCPT':
        return this.addRecipient(command.recipient, command.nonAscii);
      case 'DATA':
        return this.beginBody();
      case 'STARTTLS':
        return this.beginTls();
      case 'RSET':
        this.abandon('reset');
        return this.junk('reset-ok', verb);
      case 'NOOP':
        return this.junk('noop-ok', verb);
      case 'VRFY':
        return this.junk('cannot-verify', verb);
      case 'HELP':
        return this.junk('help', verb);
      case 'QUIT':
        this.reply('goodbye', verb);
        return this.close('reset', this.queueBytes > 0 ? 'last-word' : 'goodbye');
      case 'other-protocol':
        return this.closeWith('other-protocol', verb, 'protocol-error');
    }
  }

  private hello(verb: 'EHLO' | 'HELO', heloName: string): void {
    const first = this.heloName === null;
    this.abandon('reset');
    this.heloName = heloName;
    this.extended = verb === 'EHLO';
    if (!first && !this.budget.charge('junk')) return this.tooMany(verb);
    if (verb === 'HELO') return this.reply('helo-ok', verb);
    const lines = [
      this.text(replies['ehlo-ok']),
      'PIPELINING',
      `SIZE ${this.limits.maxMessageBytes}`,
      '8BITMIME',
      'SMTPUTF8',
      'CHUNKING',
      'ENHANCEDSTATUSCODES',
      ...(this.tls === 'off' || this.encrypted ? [] : ['STARTTLS']),
    ];
    const last = lines.length - 1;
    const wire = lines.map((text, index) => `${replies['ehlo-ok'].code}${index < last ? '-' : ' '}${text}\r\n`);
    this.events.reply(replies['ehlo-ok'], wire.join(''), verb, null);
  }

  /**
   * Whatever is buffered behind STARTTLS came in the clear, from anybody on the way: run after the handshake, it would
   * pass for the client's own words (CVE-2011-0411).
   */
  private beginTls(): void {
    this.reply('tls-ready', 'STARTTLS');
    if (this.inputEnded) return this.close('connection-lost');
    this.stage = 'handshake';
    this.heloName = null;
    this.extended = false;
    this.forgetChunks();
    this.dropInput();
    this.events.startTls();
  }

  private beginTransaction(mail: MailCommand): void {
    const address = mail.reversePath?.address ?? '';
    if (mail.declaredSizeBytes !== null && mail.declaredSizeBytes > this.limits.maxMessageBytes)
      return this.refuse('declared-too-large', 'MAIL', 'refusal', address);
    this.forgetChunks();
    this.envelope = { mail, recipients: 0, dead: false };
    this.ask({ step: 'begin', address });
    this.events.beginTransaction(mail);
  }

  private addRecipient(recipient: Mailbox, nonAscii: boolean): void {
    const envelope = this.envelope as Envelope;
    const { address } = recipient;
    if (nonAscii && !envelope.mail.smtputf8) return this.refuse('non-ascii-address', 'RCPT', 'error', address);
    if (envelope.recipients >= this.limits.maxRecipients)
      return this.refuse('too-many-recipients', 'RCPT', 'excess-recipient', address);
    this.ask({ step: 'recipient', address });
    this.events.addRecipient(recipient);
  }

  private ask(question: Question): void {
    this.question = question;
    this.stage = 'receiver';
  }

  private finishStep(step: 'begin' | 'recipient', address: string | null, answer: Answer): void {
    const envelope = this.envelope as Envelope;
    if (answer === 'done') {
      if (step === 'recipient') envelope.recipients++;
      return this.reply(step === 'begin' ? 'sender-ok' : 'recipient-ok', step === 'begin' ? 'MAIL' : 'RCPT', address);
    }
    if (step === 'begin') this.envelope = null;
    else if (answer === 'dead') envelope.dead = true;
    this.refuse(refusalOf(answer), step === 'begin' ? 'MAIL' : 'RCPT', 'refusal', address);
  }

  private beginBody(): void {
    this.body = new BodyDecoder();
    this.bodyBytes = 0;
    this.verdict = null;
    this.stage = 'data';
    this.reply('start-mail', 'DATA');
    this.events.mailArrives();
    this.events.beginBody();
  }

  private takeBody(chunk: Buffer): void {
    const body = this.body as BodyDecoder;
    const wire = this.offset === 0 ? chunk : chunk.subarray(this.offset);
    const used = body.push(wire, this.passOn);
    this.advance(chunk, this.offset + used);
    if (this.bodyBytes > 2 * this.limits.maxMessageBytes) this.cutTooLarge();
    else if (body.ended) this.bodyEnded();
  }

  private cutTooLarge(): void {
    this.body = null;
    this.reply('too-large', 'mail');
    this.close('too-large', 'cut');
  }

  private readonly passOn = (piece: Buffer): void => {
    this.bodyBytes += piece.length;
    if (this.verdict !== null) return;
    if (this.bodyBytes <= this.limits.maxMessageBytes) return this.events.bodyChunk(piece);
    this.tooLarge();
  };

  private tooLarge(): void {
    this.verdict = 'too-large';
    this.events.abandonTransaction('too-large');
  }

  private bodyEnded(): void {
    if (this.verdict === null) {
      this.ask({ step: 'mail' });
      return this.events.endBody();
    }
    const { verdict } = this;
    this.stage = 'command';
    this.body = null;
    this.envelope = null;
    this.verdict = null;
    this.refuse(verdict, 'mail', 'refusal');
  }

  private takeBdat(sizeBytes: number, last: boolean): void {
    if (!last && sizeBytes < smallChunkBytes && !this.budget.charge('small-chunk')) return this.tooMany('BDAT');
    const chunks = this.chunks ?? this.beginChunks();
    chunks.begin(sizeBytes, last);
    if (this.verdict === null && this.bodyBytes + sizeBytes > this.limits.maxMessageBytes) this.tooLarge();
    this.stage = 'chunk';
    if (sizeBytes === 0) this.chunkEnded(chunks);
  }

  /** A mail that is refused from the first is taken from the client all the same. */
  private beginChunks(): ChunkBody {
    const problem = this.extended ? this.envelopeProblem() : 'bad-sequence';
    if (problem !== null) this.abandon('protocol-error');
    const chunks = new ChunkBody(problem === null || problem === 'fault' ? 'refusal' : 'error');
    this.chunks = chunks;
    this.verdict = problem;
    this.bodyBytes = 0;
    this.events.mailArrives();
    if (problem === null) this.events.beginBody();
    return chunks;
  }

  private takeChunk(read: Buffer): void {
    const chunks = this.chunks as ChunkBody;
    const from = this.offset;
    const next = chunks.take(read, from);
    this.bodyBytes += next - from;
    this.advance(read, next);
    if (this.bodyBytes > 2 * this.limits.maxMessageBytes) this.cutTooLarge();
    else if (chunks.leftBytes === 0) this.chunkEnded(chunks);
  }

  private passOnChunks(chunks: ChunkBody): void {
    const piece = chunks.give();
    if (piece !== null && this.verdict === null) this.events.bodyChunk(piece);
  }

  private chunkEnded(chunks: ChunkBody): void {
    if (this.verdict !== null) return this.refuseChunk(chunks, this.verdict);
    if (!chunks.last) {
      this.stage = 'command';
      return this.reply('chunk-ok', 'BDAT');
    }
    this.passOnChunks(chunks);
    this.ask({ step: 'mail' });
    this.events.endBody();
  }

  /** The first refusal is the one of the mail; the transaction ends with it. */
  private refuseChunk(chunks: ChunkBody, verdict: Verdict): void {
    const stage = this.envelope === null ? 'BDAT' : 'mail';
    this.stage = 'command';
    this.envelope = null;
    if (chunks.last) this.forgetChunks();
    this.refuse(verdict, stage, chunks.charge);
  }

  private forgetChunks(): void {
    this.chunks = null;
    this.verdict = null;
  }

  private finishMail(answer: Answer): void {
    this.body = null;
    this.chunks = null;
    this.envelope = null;
    if (typeof answer === 'string' || 'refusal' in answer) return this.refuse(refusalOf(answer), 'mail', 'refusal');
    this.budget.refill();
    this.reply('accepted', 'mail', null, answer.committed);
  }

  /** The transaction ends with it: a later RCPT would add to an envelope whose mail may be half read as commands. */
  private refuseData(condition: ReplyName, stage: ReplyStage): void {
    this.abandon('protocol-error');
    this.heldRefusal = { condition, stage };
    this.stage = 'silent';
    if (this.queueBytes > 0) return this.speaksOutOfTurn();
    if (this.inputEnded) return this.turnPassed();
    this.events.passTurn();
  }

  /** Input while `silent`: the refusal that is due, or that of an early talker, and no further word. */
  private speaksOutOfTurn(): void {
    const held = this.heldRefusal;
    this.heldRefusal = null;
    if (held === null) this.closeWith('early-talker', 'connection', 'protocol-error');
    else this.closeWith(held.condition, held.stage, 'protocol-error');
  }

  private mailAfterRefusedData(): void {
    this.closeWith('mail-after-refused-data', 'unknown', 'protocol-error');
  }

  private junk(condition: ReplyName, stage: ReplyStage): void {
    if (!this.budget.charge('junk')) return this.tooMany(stage);
    this.reply(condition, stage);
  }

  /** One reply per command: the one that is too many gets 421 in place of its own. */
  private refuse(verdict: Verdict, stage: ReplyStage, charge: Charge, address: string | null = null): void {
    if (!this.budget.charge(charge)) return this.tooMany(stage);
    this.reply(verdict, stage, address);
  }

  private tooMany(stage: ReplyStage): void {
    this.closeWith('too-many-errors', stage, 'protocol-error');
  }

  private reply(
    said: Verdict,
    stage: ReplyStage,
    address: string | null = null,
    acknowledgement: string | null = null,
  ): void {
    const reply = typeof said === 'string' ? replies[said] : said;
    const line = fixedReplyLine(reply) ?? replyLine(reply, this.text(reply, acknowledgement));
    this.events.reply(reply, `${line}\r\n`, stage, address, this.refusedText(reply, stage));
  }

  /** A line behind a refused DATA may be one of the mail. */
  private refusedText({ code, condition }: Reply, stage: ReplyStage): string | null {
    if (code < 400 || stage === 'connection' || stage === 'mail') return null;
    return condition === 'mail-after-refused-data' ? null : this.commandText.refused();
  }

  private text(reply: Reply, acknowledgement: string | null = null): string {
    const text = reply.text.replace(/\{(\w+)\}/g, (_, name: string) => {
      if (name === 'hostName') return this.hostName;
      if (name === 'heloName') return this.heloName ?? '';
      if (name === 'sessionId') return this.sessionId;
      return acknowledgement ?? '';
    });
    // All of it: a HELO name may hold `\u010a`, of which the socket would write the low octet, a line feed.
    return safeReplyText(text);
  }

  private abandon(reason: AbortReason): void {
    const { envelope, verdict } = this;
    this.envelope = null;
    this.forgetChunks();
    // With a verdict, or dead, it is over already.
    if (envelope !== null && verdict === null && !envelope.dead) this.events.abandonTransaction(reason);
  }

  private closeWith(condition: ReplyName, stage: ReplyStage, reason: AbortReason): void {
    if (this.stage === 'closed') return;
    this.reply(condition, stage);
    this.close(reason);
  }

  private close(reason: AbortReason, ending: Ending = 'last-word'): void {
    if (this.stage === 'closed') return;
    this.stage = 'closed';
    this.question = null;
    this.body = null;
    this.dropInput();
    this.abandon(reason);
    this.events.close(ending);
  }

  private dropInput(): void {
    this.queue.length = 0;
    this.queueBytes = 0;
    this.offset = 0;
  }
}

function textOf(read: ReadLine): string | null {
  if (read.kind === 'line') return read.line.toString('latin1');
  return read.kind === 'endless' ? null : read.beginning;
}

function refusalOf(answer: Answer): Verdict {
  // `done` or `committed` out of place would be a bug of ours, and a fault of ours is 4xx.
  return typeof answer === 'object' && 'refusal' in answer ? answer.refusal : 'fault';
}

/** What a client that read the refusal of its DATA goes on with; RCPT and DATA would need a transaction. */
function isOrdinaryNextCommand(command: Command | Malformed): boolean {
  return !('malformed' in command) && !['RCPT', 'DATA', 'BDAT', 'STARTTLS'].includes(command.verb);
}

function lineLimit(verb: Command['verb'] | null): number {
  if (verb === 'MAIL') return Number.POSITIVE_INFINITY;
  return verb === 'RCPT' ? maxRcptLineBytes : maxCommandLineBytes;
}
