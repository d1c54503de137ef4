/** Lines that wait to be written, in order and packed: as many bytes of memory as of lines, and few calls to write them. */

/**
 * What POSIX lets a pipe take whole or not at all (PIPE_BUF of Linux): chunks of this size keep the lines of several
 * processes on one pipe apart, also when it is full.
 */
export const CHUNK_BYTES = 4096;

export interface Chunk {
  readonly bytes: Buffer;
  /** How many lines end in it; of one that was added apart, what it was added with. */
  readonly lines: number;
}

interface Held {
  readonly buffer: Buffer;
  begin: number;
  end: number;
  lines: number;
  readonly apart: boolean;
}

export class KeptLines {
  /** A long line is a chunk by itself. */
  private readonly chunks: Held[] = [];
  /** Of the last chunk that was written, for the next. */
  private spare: Buffer | null = null;
  /** Of all lines that wait. */
  bytes = 0;

  add(line: Buffer): void {
    let last = this.chunks.at(-1);
    if (last === undefined || last.apart || last.end + line.length > last.buffer.length) {
      last = this.begin(line.length, false);
    }
    line.copy(last.buffer, last.end);
    last.end += line.length;
    last.lines += 1;
    this.bytes += line.length;
  }

  /** Shares its chunk with no other. */
  addApart(line: Buffer, lines: number): void {
    const chunk = this.begin(line.length, true);
    line.copy(chunk.buffer);
    chunk.end = line.length;
    chunk.lines = lines;
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
    const end = first.begin + count;
    this.bytes -= count;
    if (end === first.end) {
      this.chunks.shift();
      if (first.buffer.length === CHUNK_BYTES) this.spare = first.buffer;
      return;
    }
    if (!first.apart) first.lines -= linesIn(first.buffer.subarray(first.begin, end));
    first.begin = end;
  }

  private begin(bytes: number, apart: boolean): Held {
    let buffer = bytes <= CHUNK_BYTES ? this.spare : null;
    if (buffer !== null) this.spare = null;
    buffer ??= Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, bytes));
    const chunk = { buffer, begin: 0, end: 0, lines: 0, apart };
    this.chunks.push(chunk);
    return chunk;
  }
}

export function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, at + 1)) lines += 1;
  return lines;
}

const LINE_FEED = 10;
