import { Writable } from 'node:stream';
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { Settings } from '../config/settings.ts';
import { boundedError, boundedFacts, boundedLine } from './bounded-facts.ts';
import { createLineWriter, type Lost } from './line-writer.ts';
import { escapeInsideJson } from './visible-text.ts';

/** One JSON line per event; see `docs/operations.md` for the fields. Never mail content, never a secret. */
export type Log = Logger;

/**
 * A line that was logged is out at the end of its turn of the event loop, and before the process ends by itself, as long as
 * its reader keeps up; it never waits for one that does not (`line-writer.ts`).
 * Logging never fails: lines that cannot be written are dropped, counted, and told of when writing works again.
 * What a line may hold is bounded here and nowhere else (`bounded-facts.ts`): callers hand over what they have.
 * Lines carry no process id or host name; whatever collects them knows both better than a container does.
 */
export function createLog(settings: Settings['log'], stream?: DestinationStream): Log {
  const out = stream ?? createLineWriter({ fd: 1, resumed: (lost) => tellLost(log, lost) });
  const shown = settings.format === 'pretty' ? prettyLines(out) : out;
  const log = pino(
    {
      level: settings.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      serializers: { err: boundedError },
      formatters: { level: (label) => ({ level: label }), bindings: boundedFacts, log: boundedFacts },
    },
    { write: (line: string): void => void shown.write(boundedLine(line)) },
  );
  return log;
}

/** Also where warnings are not written: a log with a hole must say so. */
function tellLost(log: Log, { lines, code }: Lost): void {
  const tell = log.isLevelEnabled('warn') ? log.warn : log.isLevelEnabled('error') ? log.error : log.fatal;
  tell.call(log, { lost_lines: lines, code }, 'log lines were lost: they could not be written');
}

/** pino-pretty prints error texts raw; what a sender or peer wrote must not reach the terminal as an escape sequence. */
function prettyLines(out: DestinationStream): DestinationStream {
  const sink = new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      out.write(line);
      done();
    },
  });
  const printer = pretty({ colorize: true, singleLine: true, sync: true, destination: sink });
  return { write: (line: string): void => void printer.write(escapeInsideJson(line)) };
}
