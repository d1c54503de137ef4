/**
 * Cuts command lines out of chunks. Holds at most one line of the longest kind; a longer one is read to its end
 * without being stored.
 * Spec: RFC 5321 §2.3.8 (only CRLF ends a line), §4.5.3.1.4
 */
import { maxMailLineBytes } from './limits.ts';

export type ReadLine =
  | { readonly kind: 'line'; readonly line: Buffer; readonly lineBytes: number }
  /** A line that ended with a bare LF: never run, but answered, so that the client is not left waiting. */
  | { readonly kind: 'bare-line-feed'; readonly beginning: string }
  | { readonly kind: 'too-long'; readonly beginning: string }
  /** The line goes on past what we are willing to read through. */
  | { readonly kind: 'endless' };

const lf = 0x0a;
const cr = 0x0d;

export class CommandReader {
  /** Index behind what the last `read` used. */
  next = 0;
  private partial: Buffer | null = null;
  /** Of a line that is being discarded. */
  private beginning = '';
  private discardedBytes = 0;
  private readonly maxDiscardedBytes: number;

  constructor(maxDiscardedBytes: number) {
    this.maxDiscardedBytes = maxDiscardedBytes;
  }

  /** A line has begun and not ended. */
  get midLine(): boolean {
    return this.partial !== null || this.discardedBytes > 0;
  }

  /** null when the chunk, used up, holds no line end. */
  read(chunk: Buffer, start: number): ReadLine | null {
    const end = chunk.indexOf(lf, start);
    if (end === -1) {
      this.next = chunk.length;
      return this.hold(chunk.subarray(start));
    }
    this.next = end + 1;
    const tail = chunk.subarray(start, end);
    const discardedBytes = this.discardedBytes + tail.length;
    if (discardedBytes > this.maxDiscardedBytes) return { kind: 'endless' };
    if (this.discardedBytes > 0) {
      this.discardedBytes = 0;
      return { kind: 'too-long', beginning: this.beginning };
    }
    const line = this.partial === null ? tail : Buffer.concat([this.partial, tail]);
    this.partial = null;
    const lineBytes = line.length + 1;
    if (lineBytes > maxMailLineBytes) return { kind: 'too-long', beginning: beginningOf(line) };
    if (line[line.length - 1] !== cr) return { kind: 'bare-line-feed', beginning: beginningOf(line) };
    return { kind: 'line', line: line.subarray(0, -1), lineBytes };
  }

  private hold(piece: Buffer): ReadLine | null {
    const heldBytes = (this.partial?.length ?? this.discardedBytes) + piece.length;
    if (heldBytes <= maxMailLineBytes && this.discardedBytes === 0) {
      // A copy, so that a few bytes do not keep a whole chunk alive.
      this.partial = this.partial === null ? Buffer.from(piece) : Buffer.concat([this.partial, piece]);
      return null;
    }
    if (this.discardedBytes === 0)
      this.beginning = beginningOf(this.partial === null ? piece : joined(this.partial, piece));
    this.partial = null;
    this.discardedBytes = heldBytes;
    return heldBytes > this.maxDiscardedBytes ? { kind: 'endless' } : null;
  }
}

/** Enough to see what command it was meant to be, and from whom or to whom. */
const beginningBytes = 200;

const beginningOf = (line: Buffer): string => line.toString('latin1', 0, beginningBytes);

/** As much of both as a beginning needs, so that it does not depend on how the line was cut. */
function joined(first: Buffer, second: Buffer): Buffer {
  return Buffer.concat([first, second.subarray(0, beginningBytes)]);
}
