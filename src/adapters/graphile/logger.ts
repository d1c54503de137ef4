import { Logger } from 'graphile-worker';
import type { BoundedLines } from '../../telemetry/bounded-lines.ts';
import type { Log } from '../../telemetry/log.ts';
import { visibleBeginning } from '../../telemetry/visible-text.ts';

/** Its connections are few on purpose: jobs use those of the worker (adapters/postgres/queue-pool.ts). */
const EXPECTED_WARNING = /maxPoolSize \(\d+\) smaller than concurrency/;

/** Of an error, or of words of the library's that we have none for. */
const MAX_REASON_CHARACTERS = 500;
const NO_WORDS = 'the job queue reports a problem';

/** What graphile-worker 0.18 says, by its beginning, and what we say for it. Its words name its own parts, not what is wrong. */
const IN_OUR_WORDS: readonly (readonly [RegExp, string])[] = [
  [/^Failed task /, 'a job failed'],
  [/^Failed to (complete|fail) jobs /, 'the queue could not be told how jobs ended'],
  [/^Failed to release job /, 'the queue could not be told how a job ended'],
  [/^PostgreSQL (idle|active) client generated error/, 'a connection of the job queue broke'],
  [/^Error with notify listener/, 'the connection that announces jobs broke, connecting again'],
  [
    /^Error occurred (whilst releasing listening client|releasing client|attempting to UNLISTEN)/,
    'a connection of the job queue could not be given back',
  ],
  [/^(Failed to reset locked|Error occurred resetting locked)/, 'jobs that nobody works on could not be looked for'],
  [/^Worker exited/, 'a worker of the job queue ended'],
  [
    /^(Stopping worker due to an error|Error occurred, but worker is already stopping)/,
    'the job queue stops: an error',
  ],
  [
    /^(Releasing |Deactivation failed|Error occurred (during (graceful|forceful) shutdown|whilst attempting to release)|(gracefulShutdown|forcefulShutdown) called|onDeactivate raised)/,
    'the job queue did not stop in order',
  ],
  [
    /^Graphile Worker detected breaking migration/,
    'another program has changed the schema of the job queue: the worker stops',
  ],
  [/^Database is using Graphile Worker schema revision/, 'the schema of the job queue is newer than this program'],
];

/**
 * graphile-worker's own lines in our log and our words. Its `info` is chatter of every job, hence debug; its errors name
 * a job that will be tried again, hence warnings: what became of a mail is logged by the rooms themselves. With `lines`
 * they are bounded as faults of ours are: where every job fails, each mail would have one.
 */
export function workerLogger(log: Log | undefined, lines?: BoundedLines): Logger {
  return new Logger((scope) => (level, message, meta) => {
    const facts = { worker: scope.workerId, task: scope.taskIdentifier, job_id: scope.jobId };
    const matters = level === 'error' || (level === 'warning' && !EXPECTED_WARNING.test(message));
    if (!matters) return log?.debug(facts, message);
    const words = IN_OUR_WORDS.find(([said]) => said.test(message))?.[1] ?? null;
    const reason = reasonIn(meta) ?? (words === null ? message : undefined);
    const told = { ...facts, ...(reason !== undefined && { reason: cut(reason) }) };
    if (lines === undefined) log?.warn(told, words ?? NO_WORDS);
    else lines.write({ level: 'warn', facts: told, message: words ?? NO_WORDS });
  });
}

/** Never the job itself, which is beside it. */
function reasonIn(meta: { readonly error?: unknown; readonly fatalError?: unknown } = {}): string | undefined {
  const error = meta.error ?? meta.fatalError;
  return error === undefined ? undefined : error instanceof Error ? error.message : String(error);
}

const cut = (text: string): string => visibleBeginning(text, MAX_REASON_CHARACTERS);
