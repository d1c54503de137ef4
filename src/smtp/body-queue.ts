// biome-ignore-all lint/correctness/noVoidTypeReturn: a guard that leaves with a call reads best on one line.
/**
 * The mail on its way from the socket to the receiver, for one reader, who is woken by its first bytes, and then when the
 * queue is full or the mail has ended.
 * Owns: the chunks; their memory is freed once they are copied out. Bounded by its filler, which stops the socket on `full`
 * and goes on when `onEmpty` says so.
 */
import { maxBufferedChunks } from './limits.ts';
import type { AbortReason, MailBody } from './receiver.ts';

/** The mail will not arrive whole; whatever was taken of it is to be thrown away. */
export class MailIncomplete extends Error {
  readonly reason: AbortReason;
  constructor(reason: AbortReason) {
    super(`the mail did not arrive whole: ${reason}`);
    this.name = 'MailIncomplete';
    this.reason = reason;
  }
}

interface Waiting {
  readonly into: Uint8Array;
  readonly resolve: (count: number) => void;
  readonly reject: (error: MailIncomplete) => void;
}

export class BodyQueue implements MailBody {
  /** The reader was given the last bytes and was told so. */
  delivered = false;
  /** Not handed over yet. */
  bytes = 0;
  private readonly chunks: Buffer[] = [];
  /** Of the first chunk, so many are handed over. */
  private offset = 0;
  private ended = false;
  /** The reader has seen the first of it. */
  private begun = false;
  private cancelled = false;
  private failure: MailIncomplete | null = null;
  private waiting: Waiting | null = null;
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
    if (this.cancelled || this.failure !== null) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    // Not for every chunk: many clients send a mail in pieces of a few kilobytes, and waking the reader costs more than they do.
    if (this.full || !this.begun) this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  fail(reason: AbortReason): void {
    if (this.failure !== null || this.delivered) return;
    this.failure = new MailIncomplete(reason);
    this.drop();
    const { waiting } = this;
    this.waiting = null;
    waiting?.reject(this.failure);
  }

  read(into: Uint8Array): Promise<number> {
    if (this.failure !== null) return Promise.reject(this.failure);
    if (this.waiting !== null || into.length === 0)
      return Promise.reject(new TypeError('the body is read by one reader, one read at a time, some bytes each time'));
    if (this.chunks.length > 0) {
      const count = this.fill(into);
      if (this.empty) this.onEmpty();
      return Promise.resolve(count);
    }
    if (this.ended || this.cancelled) {
      this.delivered ||= this.ended;
      return Promise.resolve(0);
    }
    return new Promise((resolve, reject) => {
      this.waiting = { into, resolve, reject };
      this.onEmpty();
    });
  }

  cancel(): void {
    this.cancelled = true;
    this.waiting = null;
    this.drop();
    this.onEmpty();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const into = Buffer.allocUnsafeSlow(Math.min(this.maxBytes, chunkBytes));
    try {
      for (let count = await this.read(into); count > 0; count = await this.read(into)) {
        yield Uint8Array.from(into.subarray(0, count));
      }
    } finally {
      if (!this.delivered) this.cancel();
    }
  }

  private wake(): void {
    const { waiting } = this;
    if (waiting === null) return;
    this.waiting = null;
    if (this.empty) this.delivered = true;
    waiting.resolve(this.fill(waiting.into));
  }

  private fill(into: Uint8Array): number {
    let filled = 0;
    for (let chunk = this.chunks[0]; chunk !== undefined && filled < into.length; chunk = this.chunks[0]) {
      const count = Math.min(chunk.length - this.offset, into.length - filled);
      into.set(chunk.subarray(this.offset, this.offset + count), filled);
      filled += count;
      this.offset += count;
      if (this.offset < chunk.length) break;
      this.chunks.shift();
      this.offset = 0;
      freeMemory(chunk);
    }
    this.bytes -= filled;
    this.begun = true;
    return filled;
  }

  private drop(): void {
    this.chunks.length = 0;
    this.offset = 0;
    this.bytes = 0;
  }
}

/** Of an iteration: what a socket gives at once. */
const chunkBytes = 64 * 1024;

/**
 * Now, and not when the collector finds out: it counts these bytes, and would search the whole heap for the sake of some
 * megabytes of mail. Only where the chunk is all there is in its buffer, so that nothing else can lie there.
 */
function freeMemory(chunk: Buffer): void {
  if (chunk.buffer instanceof ArrayBuffer && chunk.length === chunk.buffer.byteLength) chunk.buffer.transfer(0);
}
