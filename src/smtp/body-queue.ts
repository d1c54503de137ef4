// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * The mail on its way from the socket to the receiver: an async iterable for one reader, who is woken by its first
 * chunk, and then when it is full or the mail has ended.
 * Owns: the chunks; the one handed over is the reader's until it asks for the next, and then its memory is taken back. Bounded by its filler, which stops the socket on `full` and goes on when
 * `onEmpty` says so.
 * Errors: the iteration throws `MailIncomplete` when the mail does not arrive whole.
 */
import { maxBufferedChunks } from './limits.ts';
import type { AbortReason } from './receiver.ts';

/** The mail will not arrive whole; whatever was taken of it is to be thrown away. */
export class MailIncomplete extends Error {
  readonly reason: AbortReason;
  constructor(reason: AbortReason) {
    super(`the mail did not arrive whole: ${reason}`);
    this.name = 'MailIncomplete';
    this.reason = reason;
  }
}

type Result = IteratorResult<Uint8Array, undefined>;

const finished: Result = { done: true, value: undefined };

export class BodyQueue implements AsyncIterableIterator<Uint8Array> {
  /** The reader was given the last chunk and was told so. */
  delivered = false;
  /** Not handed over yet. */
  bytes = 0;
  private readonly chunks: Buffer[] = [];
  private ended = false;
  /** The reader has seen the first of it. */
  private begun = false;
  private readerLeft = false;
  private failure: MailIncomplete | null = null;
  /** Handed over last. */
  private lent: Buffer | null = null;
  private waiting: { resolve: (result: Result) => void; reject: (error: MailIncomplete) => void } | null = null;
  private readonly maxBytes: number;
  private readonly onEmpty: () => void;

  constructor({ maxBytes, onEmpty }: { maxBytes: number; onEmpty: () => void }) {
    this.maxBytes = maxBytes;
    this.onEmpty = onEmpty;
  }

  get full(): boolean {
    return this.bytes >= this.maxBytes || this.chunks.length >= maxBufferedChunks;
  }

  get empty(): boolean {
    return this.chunks.length === 0;
  }

  /** The reader asks for what the client has not sent yet, or has sent too little of to be woken. */
  get readerWaits(): boolean {
    return this.waiting !== null;
  }

  push(chunk: Buffer): void {
    if (this.readerLeft || this.failure !== null) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    // Not for every chunk: many clients send a mail in pieces of a few kilobytes, and waking the reader costs more than they do.
    if (this.waiting !== null && (this.full || !this.begun)) this.settle(this.takeAll());
  }

  end(): void {
    this.ended = true;
    if (this.waiting === null) return;
    if (this.chunks.length > 0) return this.settle(this.takeAll());
    this.delivered = true;
    this.settle(finished);
  }

  fail(reason: AbortReason): void {
    if (this.failure !== null || this.delivered) return;
    this.failure = new MailIncomplete(reason);
    this.drop();
    const { waiting } = this;
    this.waiting = null;
    waiting?.reject(this.failure);
  }

  next(): Promise<Result> {
    if (this.lent !== null) freeMemory(this.lent);
    this.lent = null;
    if (this.failure !== null) return Promise.reject(this.failure);
    if (this.chunks.length > 0) {
      const all = this.takeAll();
      this.onEmpty();
      return Promise.resolve(all);
    }
    if (this.readerLeft) return Promise.resolve(finished);
    if (this.ended) {
      this.delivered = true;
      return Promise.resolve(finished);
    }
    if (this.waiting !== null)
      return Promise.reject(new TypeError('the body is read by one reader, one chunk at a time'));
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.onEmpty();
    });
  }

  /** The reader has seen enough: what still comes is dropped. */
  return(): Promise<Result> {
    this.readerLeft = true;
    this.drop();
    this.onEmpty();
    return Promise.resolve(finished);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** All that is there, as one chunk. */
  private takeAll(): Result {
    const [first] = this.chunks;
    const all = this.chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.chunks, this.bytes);
    if (all !== first) for (const chunk of this.chunks) freeMemory(chunk);
    this.drop();
    this.begun = true;
    this.lent = all;
    return { done: false, value: all };
  }

  private settle(result: Result): void {
    const { waiting } = this;
    this.waiting = null;
    waiting?.resolve(result);
  }

  private drop(): void {
    this.chunks.length = 0;
    this.bytes = 0;
  }
}

/**
 * Now, and not when the collector finds out: it counts these bytes, and would search the whole heap for the sake of some
 * megabytes of mail. Only where the chunk is all there is in its buffer, so that nothing else can lie there.
 */
function freeMemory(chunk: Buffer): void {
  if (chunk.buffer instanceof ArrayBuffer && chunk.length === chunk.buffer.byteLength) chunk.buffer.transfer(0);
}
