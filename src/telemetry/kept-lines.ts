/**
 * Lines that wait for a slow reader, in order and packed: as many bytes of memory as there are bytes of lines, and few
 * calls to write them.
 */

/**
 * What POSIX lets a pipe take whole or not at all (PIPE_BUF of Linux): chunks of this size keep the lines of several
 * processes on one pipe apart, also when it is full.
 */
export const CHUNK_BYTES = 4096;

export interface Chunk {
  readonly bytes: Buffer;
  /** How many lines end in it. */
  readonly lines: number;
}

export class KeptLines {
  /** The first may be larger than the others: a long line is a chunk by itself. */
  private readonly chunks: { buffer: Buffer; begin: number; end: number; lines: number }[] = [];
  /** Of all lines that wait. */
  bytes = 0;

  add(line: Buffer): void {
    let last = this.chunks.at(-1);
    if (last === undefined || last.end + line.length > last.buffer.length) {
      const buffer = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, line.length));
      last = { buffer, begin: 0, end: 0, lines: 0 };
      this.chunks.push(last);
    }
    line.copy(last.buffer, last.end);
    last.end += line.length;
    last.lines += 1;
    this.bytes += line.length;
  }

  first(): Chunk | null {
    const [first] = this.chunks;
    return first === undefined ? null : { bytes: first.buffer.subarray(first.begin, first.end), lines: first.lines };
  }

  /** So many bytes of the first chunk are out, or are given up. */
  remove(count: number): void {
    const [first] = this.chunks;
    if (first === undefined) return;
    first.begin += count;
    this.bytes -= count;
    if (first.begin === first.end) this.chunks.shift();
  }
}
