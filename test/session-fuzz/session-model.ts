// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * A session as its client knows it, from the bytes that were sent and the replies that came, in the order they did. Says at
 * once what no server may do: a reply nobody asked for, of a class that the RFC does not allow there, a mail that was taken
 * without an end, a session that ends in the middle.
 *
 * Stages:
 *   opening    the greeting is awaited. Left by it, or, when the client spoke first, by its refusal.
 *   command    the next line sent is a command, which gets one reply.
 *   body       DATA was answered 354. Left when CRLF . CRLF was sent, which gets one reply.
 *   handshake  STARTTLS was answered 220; what was sent behind it counts for nothing. Left by `encrypted`.
 *   over       a reply that ends the session came; none may follow.
 *
 * It does not predict where the RFC leaves a choice: it takes what was answered, and goes on from there.
 * Spec: RFC 5321, RFC 2920, RFC 3030, RFC 3207
 */
import {
  type Bounds,
  type CommandLine,
  chunkOf,
  endlessBytes,
  type Outcome,
  readCommand,
  type SessionView,
} from './expected-reply.ts';
import { type Reply, ReplyReader } from './reply-reader.ts';

/** A mail that was acknowledged to the client. */
export interface AcknowledgedMail {
  /** The text of the reply behind its codes. */
  readonly acknowledgement: string;
  /** As the client wrote them; null for one whose form the model does not read. */
  readonly recipients: readonly (string | null)[];
  readonly body: string;
}

export interface ModelOptions {
  readonly tls: SessionView['tls'];
  readonly bounds: Bounds;
  /** So many refusals without a mail in between may, and so many must, end a session. */
  readonly complaints: { readonly mayEnd: number; readonly mustEnd: number };
  /** Recipients too many for a mail that are refused one by one, without a mail in between. */
  readonly maxExcessRecipients: number;
  /** Read and dropped behind the last reply; then the connection is reset. */
  readonly maxLingerBytes: number;
  /** NOOP, RSET, VRFY, HELP and another EHLO without a mail in between. */
  readonly maxIdleCommands: number;
}

type Stage = 'opening' | 'command' | 'body' | 'handshake' | 'over';

/** What a reply is awaited to. */
type Asked =
  | { readonly kind: 'command'; readonly line: CommandLine }
  | { readonly kind: 'chunk'; readonly last: boolean }
  | { readonly kind: 'mail' };

/** Words in a mail at which the receiver of the fuzzer refuses it, or throws. */
export const marks = { early: 'REFUSE-EARLY', late: 'REFUSE-LATE', fault: 'RECEIVER-FAULT' } as const;

/** States a command can meet, told in the report. */
export type StateName = 'new' | 'greeted' | 'mail' | 'recipients' | 'chunks' | 'refused chunks' | 'refused DATA';

export class SessionModel {
  readonly acknowledged: AcknowledgedMail[] = [];
  /** Commands judged, by the state they met; `TLS ` before it where it was encrypted. */
  readonly states = new Map<string, number>();
  commands = 0;
  /** Commands, and the lines of mails. */
  lines = 0;

  private readonly options: ModelOptions;
  private readonly reader = new ReplyReader();
  private stage: Stage = 'opening';
  private asked: Asked | null = null;
  private unread = '';

  private hello: SessionView['hello'] = null;
  private secure = false;
  private mail = false;
  private recipients: (string | null)[] = [];
  /** null: no BDAT has come; else what its chunks held. */
  private chunks: string | null = null;
  /** Chunks that come are refused until the last one, or a command that begins anew. */
  private refusedChunks = false;
  private chunkLeft = 0;
  /** Of the chunks of one mail, refused or not. */
  private runBytes = 0;
  private body = '';

  private complaints = 0;
  private excessRecipients = 0;
  private idleCommands = 0;
  private overlongLines = 0;
  private afterRefusedData = false;
  private endMayCome = false;
  private inputEnded = false;

  constructor(options: ModelOptions) {
    this.options = options;
  }

  /** A reply is due. */
  get awaiting(): boolean {
    return this.stage === 'opening' || this.asked !== null;
  }

  get greetingIsDue(): boolean {
    return this.stage === 'opening';
  }

  /** What is due, for who goes on without the server; null: nothing, or the greeting. */
  get due(): { readonly outcome: Outcome; readonly code: number } | null {
    const { asked } = this;
    if (asked === null) return null;
    if (asked.kind === 'command') return { outcome: asked.line.outcome, code: asked.line.success[0] ?? 0 };
    const refused = this.refusedChunks || this.mayBeRefused(asked.kind === 'mail' ? this.body : (this.chunks ?? ''));
    return { outcome: refused ? 'no' : 'yes', code: 250 };
  }

  /** The reply that is due ends a mail. */
  get mailIsDue(): boolean {
    return this.asked?.kind === 'mail' || (this.asked?.kind === 'chunk' && this.asked.last && !this.refusedChunks);
  }

  get handshaking(): boolean {
    return this.stage === 'handshake';
  }

  get over(): boolean {
    return this.stage === 'over';
  }

  /** What is awaited, or was sent and is not read yet, for a report. */
  get waitsFor(): string {
    if (this.stage === 'opening') return 'the greeting';
    if (this.asked === null) return `nothing (${this.stage})`;
    return this.asked.kind === 'command'
      ? JSON.stringify(this.asked.line.text.slice(0, 80))
      : `end of ${this.asked.kind}`;
  }

  /** One character for each octet. */
  sent(bytes: string): void {
    if (this.stage === 'handshake' || this.stage === 'over') return;
    this.unread += bytes;
    this.readOn();
  }

  /** Bytes that the server sent. Errors: what no server may send here. */
  received(bytes: string): void {
    if (this.stage === 'handshake') return; // Its own words, and alerts.
    for (const reply of this.reader.push(bytes)) {
      this.take(reply);
      this.readOn();
    }
  }

  encrypted(): void {
    if (this.reader.unfinished !== '') throw new Error(`an unfinished reply before TLS: ${this.reader.unfinished}`);
    this.stage = 'command';
    this.secure = true;
    this.unread = '';
  }

  /** The client sends no more. */
  ended(): void {
    this.inputEnded = true;
  }

  /**
   * More stands behind what the server answered than one reads that has said its last word: what follows is reset, and that
   * may have eaten the last replies. RFC 5321 leaves it no other way with a client that never ends.
   */
  get flooded(): boolean {
    return this.unread.length > this.options.maxLingerBytes;
  }

  /** The server closed. Errors: it must not have. */
  closed(): void {
    if (this.reader.unfinished !== '')
      throw new Error(`closed within a reply: ${JSON.stringify(this.reader.unfinished)}`);
    if (this.stage === 'over' || this.stage === 'handshake' || this.endMayCome) return;
    if (this.inputEnded && !this.awaiting) return;
    throw new Error(`closed by the server; awaited was ${this.waitsFor}`);
  }

  /** Reads what was sent up to the next thing that gets a reply. */
  private readOn(): void {
    while (this.asked === null) {
      if (this.stage === 'body') {
        if (!this.readBody()) return;
      } else if (this.stage !== 'command') return;
      else if (this.chunkLeft > 0) {
        if (!this.readChunk()) return;
      } else if (!this.readLine()) return;
    }
  }

  private readBody(): boolean {
    // The line end before it may be that of DATA.
    const wire = `\r\n${this.unread}`;
    const end = wire.indexOf('\r\n.\r\n');
    const body = unstuffed(this.unread.slice(0, end === -1 ? undefined : end));
    if (body.length > 2 * this.options.bounds.maxMessageBytes) this.endMayCome = true;
    if (end === -1) return false;
    this.body = body;
    this.lines += body.split('\n').length;
    this.unread = this.unread.slice(end + 3);
    this.asked = { kind: 'mail' };
    return true;
  }

  private readChunk(): boolean {
    const octets = this.unread.slice(0, this.chunkLeft);
    this.unread = this.unread.slice(octets.length);
    this.chunkLeft -= octets.length;
    this.runBytes += octets.length;
    if (this.chunks !== null) this.chunks += octets;
    if (this.runBytes > 2 * this.options.bounds.maxMessageBytes) this.endMayCome = true;
    if (this.chunkLeft > 0) return false;
    this.asked = this.pendingChunk;
    return true;
  }

  private pendingChunk: Extract<Asked, { kind: 'chunk' }> = { kind: 'chunk', last: false };

  private readLine(): boolean {
    const end = this.unread.indexOf('\n') + 1;
    if (end === 0) {
      // A line that does not end is not read for ever.
      if (this.unread.length > endlessBytes) this.endMayCome = true;
      return false;
    }
    const line = this.unread.slice(0, end);
    this.unread = this.unread.slice(end);
    this.count();
    const chunk = chunkOf(line);
    if (chunk === null || this.afterRefusedData) {
      this.asked = { kind: 'command', line: readCommand(line, this.view, this.options.bounds) };
      return true;
    }
    this.beginChunk(chunk.sizeBytes, chunk.last);
    return true;
  }

  private beginChunk(sizeBytes: number, last: boolean): void {
    const { view } = this;
    const secret = view.tls !== 'required' || view.encrypted;
    const welcome = secret && this.hello === 'EHLO' && this.mail && this.recipients.length > 0;
    if (this.chunks === null && !this.refusedChunks) this.runBytes = 0;
    if (!welcome) this.refusedChunks = true;
    else if (!this.refusedChunks) this.chunks ??= '';
    this.pendingChunk = { kind: 'chunk', last };
    this.chunkLeft = sizeBytes;
    if (sizeBytes === 0) this.asked = this.pendingChunk;
  }

  private get view(): SessionView {
    const { hello, secure: encrypted, mail } = this;
    const chunking = this.chunks !== null || this.refusedChunks;
    return { hello, encrypted, tls: this.options.tls, mail, recipients: this.recipients.length, chunking };
  }

  private take(reply: Reply): void {
    const { asked } = this;
    const told = `${reply.code} ${reply.lines[0] ?? ''}`;
    if (this.stage === 'over') throw new Error(`a reply behind the last one: ${told}`);
    if (this.stage === 'opening') return this.takeGreeting(reply, told);
    if (asked === null) return this.takeUnasked(reply, told);
    this.asked = null;
    if (reply.code === 421) return this.takeEnd(asked, told);
    if (reply.code >= 400) this.complaints++;
    if (this.complaints > this.options.complaints.mustEnd)
      throw new Error(`${this.complaints} refusals, and it goes on`);
    if (asked.kind === 'command') this.takeCommandReply(asked.line, reply, told);
    else if (asked.kind === 'chunk') this.takeChunkReply(asked.last, reply, told);
    else this.takeMailReply(reply, told);
  }

  private takeGreeting(reply: Reply, told: string): void {
    if (reply.code === 220) {
      this.stage = 'command';
    } else if (reply.code === 554 && this.unread !== '') this.stage = 'over';
    else throw new Error(`no greeting: ${told}`);
  }

  /** Of a mail that is far too large, and of a line without an end, the end is not waited for. */
  private takeUnasked(reply: Reply, told: string): void {
    const inMail = this.stage === 'body' || this.chunkLeft > 0;
    const expected = inMail ? [552] : [500, 421];
    if (!expected.includes(reply.code) || !(inMail ? this.endMayCome : this.unread.length > endlessBytes))
      throw new Error(`a reply nobody asked for: ${told}`);
    this.stage = 'over';
  }

  private takeEnd(asked: Asked, told: string): void {
    const earned =
      this.afterRefusedData ||
      this.complaints >= this.options.complaints.mayEnd ||
      this.excessRecipients >= this.options.maxExcessRecipients ||
      this.idleCommands >= this.options.maxIdleCommands ||
      this.overlongLines > 0;
    if (!earned) throw new Error(`closed without a reason (${this.waitsForOf(asked)}): ${told}`);
    this.stage = 'over';
  }

  private waitsForOf(asked: Asked): string {
    return asked.kind === 'command' ? asked.line.text.slice(0, 80) : asked.kind;
  }

  private takeCommandReply(line: CommandLine, reply: Reply, told: string): void {
    const succeeded = line.success.includes(reply.code);
    const what = `${JSON.stringify(line.text.slice(0, 120))} in ${JSON.stringify(this.view)} was answered ${told}`;
    if (!succeeded && reply.code < 400) throw new Error(`no reply to such a command: ${what}`);
    if (succeeded && line.outcome === 'no') throw new Error(`it must be refused: ${what}`);
    if (!succeeded && line.outcome === 'yes') throw new Error(`it must be taken: ${what}`);
    this.endMayCome = false;
    this.afterRefusedData = false;
    if (line.overlong || line.text.length > 510) this.overlongLines += succeeded ? 0 : 1;
    if (!succeeded) return this.afterRefusal(line);
    if (['NOOP', 'RSET', 'VRFY', 'HELP', 'EHLO', 'HELO'].includes(line.verb)) this.idleCommands++;
    this.afterSuccess(line);
  }

  private afterRefusal(line: CommandLine): void {
    if (line.mustClose) this.stage = 'over';
    if (line.verb === 'RCPT' && this.recipients.length >= this.options.bounds.maxRecipients) this.excessRecipients++;
    this.endMayCome = line.mayClose || (line.overlong && this.overlongLines > 1);
    if (line.verb !== 'DATA' || line.overlong || !line.ended) return;
    // What was sent behind it may be the mail, and must never run: the session may end, and the transaction has.
    this.forgetMail();
    this.refusedChunks = false;
    this.afterRefusedData = true;
    this.endMayCome = true;
  }

  private afterSuccess({ verb, text }: CommandLine): void {
    switch (verb) {
      case 'EHLO':
      case 'HELO':
        this.hello = verb;
        this.forgetMail();
        this.refusedChunks = false;
        break;
      case 'RSET':
        this.forgetMail();
        this.refusedChunks = false;
        break;
      case 'MAIL':
        this.forgetMail();
        this.refusedChunks = false;
        this.mail = true;
        break;
      case 'RCPT':
        this.recipients.push(/^RCPT TO:<([a-z0-9.@]+)>$/i.exec(text)?.[1] ?? null);
        break;
      case 'DATA':
        this.stage = 'body';
        break;
      case 'QUIT':
        this.stage = 'over';
        break;
      case 'STARTTLS':
        this.stage = 'handshake';
        this.hello = null;
        this.unread = '';
        this.forgetMail();
        this.refusedChunks = false;
        break;
      default:
        break;
    }
  }

  private takeChunkReply(last: boolean, reply: Reply, told: string): void {
    this.endMayCome = this.runBytes > 2 * this.options.bounds.maxMessageBytes;
    const refused = reply.code >= 400;
    if (!refused && reply.code !== 250) throw new Error(`no reply to a chunk: ${told}`);
    if (this.refusedChunks) {
      if (!refused) throw new Error(`a chunk of a refused mail was taken: ${told}`);
      this.forgetMail();
      this.refusedChunks = !last;
      return;
    }
    const body = this.chunks ?? '';
    if (last) {
      this.judgeMail(body, reply, told);
      return;
    }
    if (refused && !this.mayBeRefused(body)) throw new Error(`a good chunk was refused: ${told}`);
    if (!refused && body.length > this.options.bounds.maxMessageBytes)
      throw new Error(`a chunk too large was taken: ${told}`);
    if (!refused) return;
    this.forgetMail();
    this.refusedChunks = true;
  }

  private takeMailReply(reply: Reply, told: string): void {
    this.stage = 'command';
    this.endMayCome = this.body.length > 2 * this.options.bounds.maxMessageBytes;
    this.judgeMail(this.body, reply, told);
  }

  /** The final reply of a mail, of either kind. */
  private judgeMail(body: string, reply: Reply, told: string): void {
    const { recipients } = this;
    const taken = reply.code === 250;
    if (!taken && reply.code < 400) throw new Error(`no final reply to a mail: ${told}`);
    if (taken && this.mayBeRefused(body)) throw new Error(`a mail was taken that had to be refused: ${told}`);
    if (!taken && !this.mayBeRefused(body)) throw new Error(`a good mail was refused: ${told}`);
    this.forgetMail();
    if (!taken) return;
    this.acknowledged.push({ acknowledgement: (reply.lines[0] ?? '').replace(/^2\.\d\.\d /, ''), recipients, body });
    this.complaints = 0;
    this.excessRecipients = 0;
    this.idleCommands = 0;
  }

  private mayBeRefused(body: string): boolean {
    return (
      body.length > this.options.bounds.maxMessageBytes || Object.values(marks).some((mark) => body.includes(mark))
    );
  }

  private forgetMail(): void {
    this.mail = false;
    this.recipients = [];
    this.chunks = null;
    this.body = '';
  }

  private count(): void {
    this.commands++;
    this.lines++;
    const name = `${this.secure ? 'TLS ' : ''}${this.stateName}`;
    this.states.set(name, (this.states.get(name) ?? 0) + 1);
  }

  private get stateName(): StateName {
    if (this.afterRefusedData) return 'refused DATA';
    if (this.refusedChunks) return 'refused chunks';
    if (this.chunks !== null) return 'chunks';
    if (this.recipients.length > 0) return 'recipients';
    if (this.mail) return 'mail';
    return this.hello === null ? 'new' : 'greeted';
  }
}

/** RFC 5321 §4.5.2: of a line that begins with a dot, one dot goes. Only CRLF ends a line. */
function unstuffed(wire: string): string {
  return wire.replace(/(^|\r\n)\./g, '$1');
}
