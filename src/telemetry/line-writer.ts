/**
 * Writes lines to a file descriptor. It never throws, never ends the process and never waits: a disk that is full under
 * the log, or a reader that stands still or is gone, must not turn a mail that is safe into an error, nor delay one.
 *
 * Lines that are logged in one turn of the event loop are written together at its end, which saves a system call for each;
 * a chunk that is full sooner, at once. A process that is killed loses the lines of that turn, and no others; what is kept
 * is written before any other end, for `EXIT_MS` at most.
 *
 * States:
 *   free       each turn's lines go out at its end.
 *   backed up  the reader of a pipe, a socket or a terminal is slow. Lines are kept in memory, in order, until it reads on.
 *   dropping   more than `maxKeptBytes` would be kept. New lines are dropped and counted until half of what is kept is
 *              out; then they are written again, and a report of how many were dropped is the first of them.
 *   failing    each chunk is tried; the lines of one that cannot be written are dropped and counted. The first that can be
 *              is followed by the report.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { CHUNK_BYTES, KeptLines, linesIn } from './kept-lines.ts';

export interface LineWriter {
  /** Shape: ends with a line feed. */
  write(line: string): void;
}

export interface Lost {
  readonly lines: number;
  /** Of the last one: `ENOSPC`, `EPIPE`; `EAGAIN` when the reader was too slow for too long. */
  readonly code: string;
}

export interface LineWriterOptions {
  readonly fd: number;
  /** Tells what was lost, once writing works again, by writing a line. */
  readonly resumed: (lost: Lost) => void;
  readonly maxKeptBytes?: number;
}

/** Some two thousand lines. */
const MAX_KEPT_BYTES = 1024 * 1024;
const EXIT_MS = 1_000;
/** A pipe holds 64 KB, so a reader that lives gets 6 MB a second of what is kept. */
const RETRY_MS = 10;

const NONE: Lost = { lines: 0, code: '' };
const LINE_FEED = Buffer.from('\n');

export function createLineWriter(options: LineWriterOptions): LineWriter {
  const { resumed, maxKeptBytes = MAX_KEPT_BYTES } = options;
  const fd = withoutWaiting(options.fd);
  const kept = new KeptLines();
  /** When what is kept is written next; null while nothing is. */
  let next: 'end of turn' | 'retry' | null = null;
  let ending = false;
  let dropping = false;
  let lost = NONE;
  /** The report that is just being given. */
  let report: Lost | null = null;
  /** The last byte that went out was not the end of a line; `torn`: and the rest of that line never will. */
  let lineOpen = false;
  let torn = false;

  const lose = (lines: number, code: string): void => {
    lost = { lines: lost.lines + lines, code };
  };

  /** Shape: how many bytes went out, and why not all of them: null, `EAGAIN` of a slow reader, `ENOSPC`. */
  const put = (bytes: Buffer): { readonly count: number; readonly code: string | null } => {
    let count = 0;
    try {
      if (torn) torn = writeSync(fd, LINE_FEED) === 0;
      while (count < bytes.length) {
        count += writeSync(fd, bytes, count);
        lineOpen = bytes[count - 1] !== LINE_FEED[0];
      }
    } catch (error) {
      return { count, code: (error as NodeJS.ErrnoException).code ?? 'unknown' };
    }
    return { count, code: null };
  };

  const tellLost = (): void => {
    if (dropping || lost.lines === 0 || report !== null) return;
    report = lost;
    lost = NONE;
    resumed(report);
    report = null;
  };

  /** Writes what is kept as far as the reader takes it. */
  const drain = (): void => {
    next = null;
    for (let chunk = kept.first(); chunk !== null; chunk = kept.first()) {
      const { count, code } = put(chunk.bytes);
      if (code === 'EAGAIN') {
        kept.remove(count);
        retryLater();
        return;
      }
      if (code !== null) {
        torn = lineOpen;
        lose(chunk.lines - linesIn(chunk.bytes.subarray(0, count)), code);
      }
      kept.remove(chunk.bytes.length);
      if (kept.bytes <= maxKeptBytes / 2) dropping = false;
      if (code === null) tellLost();
    }
  };

  const retryLater = (): void => {
    next = 'retry';
    setTimeout(drain, RETRY_MS).unref();
  };

  const atEndOfTurn = (): void => {
    next = 'end of turn';
    setImmediate(drain);
  };

  process.once('exit', () => {
    const deadline = performance.now() + EXIT_MS;
    ending = true;
    for (drain(); kept.bytes > 0 && performance.now() < deadline; drain()) pause(5);
    dropping = false;
    tellLost();
  });

  return {
    write(line) {
      const bytes = Buffer.from(line);
      const lines = report?.lines ?? 1;
      dropping ||= kept.bytes > 0 && kept.bytes + bytes.length > maxKeptBytes;
      if (dropping) {
        lose(lines, 'EAGAIN');
        return;
      }
      // A report stands for the lines it tells of: with it they would be lost for good.
      if (report === null) kept.add(bytes);
      else kept.addApart(bytes, lines);
      if (ending || (next !== 'retry' && kept.bytes >= CHUNK_BYTES)) drain();
      else if (next === null) atEndOfTurn();
    },
  };
}

/**
 * A write to a pipe, socket or terminal that is full must fail instead of waiting. O_NONBLOCK belongs to what was opened,
 * which other programs may have as well and may change: on Linux a pipe or terminal is opened once more, for us alone. A
 * socket (systemd's journal) cannot be, nor a pipe that another account has made: there Node sets it, for all.
 */
function withoutWaiting(fd: number): number {
  try {
    const opened = fstatSync(fd);
    if (!opened.isFIFO() && !opened.isSocket() && !isatty(fd)) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    if (fd === 1) void process.stdout;
    return fd;
  }
}

/** Blocks: only while the process ends. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
