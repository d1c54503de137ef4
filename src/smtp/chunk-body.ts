/**
 * A mail that comes by BDAT: counts the octets of the chunk in hand, and puts together again what command lines took
 * apart. The pieces of one read come out as one, moved down over the lines between them, so that a client sending
 * one octet a chunk makes no object of each.
 * Spec: RFC 3030 §2
 */
import type { Charge } from './error-budget.ts';

export class ChunkBody {
  /** Of the chunk in hand, still to come. */
  leftBytes = 0;
  /** The chunk in hand ends the mail. */
  last = false;
  /** Refused before it began: every chunk of it costs the client this. */
  readonly charge: Charge;

  // Of the read in hand: [base, written) is what was taken and not given out yet.
  private read: Buffer | null = null;
  private base = 0;
  private written = 0;

  constructor(charge: Charge) {
    this.charge = charge;
  }

  begin(sizeBytes: number, last: boolean): void {
    this.leftBytes = sizeBytes;
    this.last = last;
  }

  /**
   * Takes what of [start, end of `read`) belongs to the chunk and returns the index behind it.
   * Owns: `read` up to that index, which is rewritten.
   */
  take(read: Buffer, start: number): number {
    const end = Math.min(read.length, start + this.leftBytes);
    this.leftBytes -= end - start;
    if (this.read === null) {
      this.read = read;
      this.base = start;
      this.written = end;
    } else {
      read.copyWithin(this.written, start, end);
      this.written += end - start;
    }
    return end;
  }

  /** What was taken of the read in hand; null when nothing was. To be called before another read is taken from. */
  give(): Buffer | null {
    const { read, base, written } = this;
    this.read = null;
    if (read === null || base === written) return null;
    const piece = read.subarray(base, written);
    // A few octets must not keep a whole read alive.
    return 2 * piece.length < read.length ? Buffer.from(piece) : piece;
  }
}
