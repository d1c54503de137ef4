/**
 * Writes lines to a file descriptor. It never throws, never ends the process and never waits: a disk that is full under
 * the log, or a reader that stands still or is gone, must not turn a mail that is safe into an error, nor delay one.
 *
 * States:
 *   free       a line is written at once, so that it is out however the process ends.
 *   backed up  the reader of a pipe, a socket or a terminal is slow. Lines are kept in memory, in order, until it reads
 *              on. What is kept is written before an orderly end of the process, for `EXIT_MS` at most.
 *   dropping   more than `maxKeptBytes` would be kept. New lines are dropped and counted until half of what is kept is
 *              out; then they are written again, and a report of how many were dropped is the first of them.
 *   failing    each line is tried; one that cannot be written is dropped and counted. The first that can be is
 *              followed by the report.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { KeptLines } from './kept-lines.ts';

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
  let retrying = false;
  let retryAt = 0;
  let dropping = false;
  let lost = NONE;
  const report = { underWay: false, lost: false };
  /** The last byte that went out was not the end of a line; `torn`: and the rest of that line never will. */
  let lineOpen = false;
  let torn = false;

  const lose = (lines: number, code: string): 'lost' => {
    lost = { lines: lost.lines + lines, code };
    return 'lost';
  };

  /** Shape: what a slow reader left over, or what became of it. */
  const put = (bytes: Buffer, lines: number): Buffer | 'written' | 'lost' => {
    let rest = bytes;
    try {
      if (torn) torn = writeSync(fd, LINE_FEED) === 0;
      while (rest.length > 0) {
        const count = writeSync(fd, rest);
        if (count > 0) lineOpen = rest[count - 1] !== LINE_FEED[0];
        rest = rest.subarray(count);
      }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
      if (code === 'EAGAIN') return rest;
      torn = lineOpen;
      return lose(lines, code);
    }
    return 'written';
  };

  const tellLost = (): void => {
    if (dropping || lost.lines === 0 || report.underWay) return;
    const told = lost;
    lost = NONE;
    Object.assign(report, { underWay: true, lost: false });
    resumed(told);
    report.underWay = false;
    // Nobody misses the report itself: the count stands, without it.
    if (report.lost) lost = { lines: lost.lines - 1 + told.lines, code: lost.code };
  };

  /** Writes what is kept as far as the reader takes it. */
  const drain = (): void => {
    for (let chunk = kept.first(); chunk !== null; chunk = kept.first()) {
      const outcome = put(chunk.bytes, chunk.lines);
      kept.remove(chunk.bytes.length - (typeof outcome === 'string' ? 0 : outcome.length));
      if (typeof outcome !== 'string') {
        retryLater();
        return;
      }
      if (kept.bytes <= maxKeptBytes / 2) dropping = false;
      if (outcome === 'written') tellLost();
    }
  };

  const retryLater = (): void => {
    retryAt = performance.now() + RETRY_MS;
    if (retrying) return;
    retrying = true;
    setTimeout(() => {
      retrying = false;
      drain();
    }, RETRY_MS).unref();
  };

  /** What one write has left over is kept in any case: part of the line is out already. */
  const keep = (bytes: Buffer): 'kept' | 'lost' => {
    dropping ||= kept.bytes > 0 && kept.bytes + bytes.length > maxKeptBytes;
    if (dropping) return lose(1, 'EAGAIN');
    kept.add(bytes);
    retryLater();
    return 'kept';
  };

  const writeOne = (bytes: Buffer): 'written' | 'kept' | 'lost' => {
    if (kept.bytes > 0 && performance.now() >= retryAt) drain();
    if (kept.bytes > 0) return keep(bytes);
    const outcome = put(bytes, 1);
    if (outcome === 'written') tellLost();
    return typeof outcome === 'string' ? outcome : keep(outcome);
  };

  process.once('exit', () => {
    const deadline = performance.now() + EXIT_MS;
    for (drain(); kept.bytes > 0 && performance.now() < deadline; drain()) pause(5);
    dropping = false;
    tellLost();
  });

  return {
    write(line) {
      if (writeOne(Buffer.from(line)) === 'lost' && report.underWay) report.lost = true;
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
