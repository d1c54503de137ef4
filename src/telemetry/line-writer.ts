/**
 * Writes lines to a file descriptor, and never throws nor ends the process: a disk that is full under the log, or a
 * reader that is gone, must not turn a mail that is safe into an error.
 *
 * States:
 *   free       a line is written at once, so that it is out however the process ends.
 *   backed up  the reader of a pipe is slow. Lines wait in memory, in order, until it reads on; beyond
 *              `maxBacklogBytes` they are dropped. What waits is written before an orderly end of the process.
 *   failing    each line is tried; one that cannot be written is dropped and counted. The first that can be is
 *              followed by a report of how many were.
 */
import { writeSync } from 'node:fs';

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
  readonly maxBacklogBytes?: number;
}

/** Some ten thousand lines. */
const defaultMaxBacklogBytes = 4 * 1024 * 1024;
/** A reader that lives empties a pipe within this; longer would keep every mail waiting for one that sleeps. */
const slowReaderWaitMs = 100;
const slowReaderWaitAtExitMs = 1_000;
const retryMs = 50;

const none: Lost = { lines: 0, code: '' };
const lineFeed = Buffer.from('\n');

export function createLineWriter(options: LineWriterOptions): LineWriter {
  const { fd, resumed, maxBacklogBytes = defaultMaxBacklogBytes } = options;
  const backlog: Buffer[] = [];
  let backlogBytes = 0;
  let retry: NodeJS.Timeout | null = null;
  let lost = none;
  const report = { underWay: false, lost: false };
  /** The last byte that went out was not the end of a line; `torn`: and the rest of that line never will. */
  let lineOpen = false;
  let torn = false;

  /** Shape: what a slow reader left over, or what became of it. */
  function put(bytes: Buffer): Buffer | 'written' | 'lost' {
    let rest = torn ? Buffer.concat([lineFeed, bytes]) : bytes;
    torn = false;
    try {
      while (rest.length > 0) {
        const count = writeSync(fd, rest);
        if (count > 0) lineOpen = rest[count - 1] !== lineFeed[0];
        rest = rest.subarray(count);
      }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
      if (code === 'EAGAIN') return rest;
      lost = { lines: lost.lines + 1, code };
      torn = lineOpen;
      return 'lost';
    }
    tellLost();
    return 'written';
  }

  function putWithin(bytes: Buffer, waitMs: number): Buffer | 'written' | 'lost' {
    const deadline = performance.now() + waitMs;
    let outcome = put(bytes);
    while (typeof outcome !== 'string' && performance.now() < deadline) {
      pause(5);
      outcome = put(outcome);
    }
    return outcome;
  }

  function tellLost(): void {
    if (lost.lines === 0 || report.underWay) return;
    const told = lost;
    lost = none;
    Object.assign(report, { underWay: true, lost: false });
    resumed(told);
    report.underWay = false;
    // Nobody misses the report itself: the count stands, without it.
    if (report.lost) lost = { lines: lost.lines - 1 + told.lines, code: lost.code };
  }

  function drain(waitMs: number): void {
    for (let bytes = backlog.shift(); bytes !== undefined; bytes = backlog.shift()) {
      backlogBytes -= bytes.length;
      const outcome = putWithin(bytes, waitMs);
      if (typeof outcome === 'string') continue;
      backlog.unshift(outcome);
      backlogBytes += outcome.length;
      retryLater();
      return;
    }
  }

  function retryLater(): void {
    if (retry !== null) return;
    retry = setTimeout(() => {
      retry = null;
      drain(0);
    }, retryMs).unref();
  }

  /** Into an empty backlog in any case: part of it may be out already. */
  function keep(bytes: Buffer): 'kept' | 'lost' {
    if (backlog.length > 0 && backlogBytes + bytes.length > maxBacklogBytes) {
      lost = { lines: lost.lines + 1, code: 'EAGAIN' };
      return 'lost';
    }
    backlog.push(bytes);
    backlogBytes += bytes.length;
    retryLater();
    return 'kept';
  }

  process.once('exit', () => drain(slowReaderWaitAtExitMs));

  return {
    write(line) {
      drain(0);
      const bytes = Buffer.from(line);
      const outcome = backlog.length > 0 ? bytes : putWithin(bytes, slowReaderWaitMs);
      const done = typeof outcome === 'string' ? outcome : keep(outcome);
      if (done === 'lost' && report.underWay) report.lost = true;
    },
  };
}

/** Blocks. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
