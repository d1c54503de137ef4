import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBoundedLines } from '../../telemetry/bounded-lines.ts';
import { createLog } from '../../telemetry/log.ts';
import { workerLogger } from './logger.ts';

function logged() {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({ format: 'json', level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) });
  return { lines, logger: workerLogger(log).scope({ workerId: 'w', jobId: '7' }) };
}

test('its errors are warnings in our words, with the reason on one short line and never the job', () => {
  const { lines, logger } = logged();
  const error = new Error('Connection terminated\nunexpectedly');
  const job = { payload: 'secret' };
  logger.error(`Failed to release job '7' after success; committing seppuku\n${error.message}`, {
    fatalError: error,
    job,
  });
  logger.error('something new', { job });
  logger.warn('WARNING: having maxPoolSize (1) smaller than concurrency (4) may lead to …');
  assert.deepEqual(
    lines.map(({ time, ...line }) => line),
    [
      {
        level: 'warn',
        worker: 'w',
        job_id: '7',
        reason: 'Connection terminated\\u{a}unexpectedly',
        msg: 'the queue could not be told how a job ended',
      },
      { level: 'warn', worker: 'w', job_id: '7', reason: 'something new', msg: 'the job queue reports a problem' },
    ],
  );
});

test('a thousand jobs that fail are few lines, and counted', () => {
  const written: Record<string, unknown>[] = [];
  const log = createLog({ format: 'json', level: 'info' }, { write: (line) => void written.push(JSON.parse(line)) });
  const lines = createBoundedLines({ log });
  const logger = workerLogger(log, lines);
  for (let n = 0; n < 1000; n++) logger.error(`Failed task ${n}`, { error: new Error('the store is away') });
  const told = written.length;
  lines.close();
  assert.ok(told > 0 && told < 150, String(told));
  assert.deepEqual(written.at(-1)?.left_out, { 'a job failed': 1000 - told });
});

/** Of what we do not use: cron, its local queue, signals, tasks from files, its deprecated calls. */
const NOT_OURS =
  /^(Graphile Worker internal bug in src\/cron|Cron hit|Failed to (read crontab|load task)|Not a valid task|REMOVED|One of the plugins|Emitting |GraphileWorkerInternalError|Failed to return jobs|Error occurred (during fetch|fetching jobs|in event emitter)|Ignoring |Received |Global |Your job batch|DEPRECATED|WARNING: having)/;

test('everything that this version says about what we use has words of ours', () => {
  const dist = dirname(fileURLToPath(import.meta.resolve('graphile-worker')));
  const sources = readdirSync(dist).filter((name) => name.endsWith('.js'));
  const said = sources.flatMap((name) => [
    ...readFileSync(join(dist, name), 'utf8').matchAll(/ogger\s*\.(?:error|warn)\(\s*[`"]((?:[^`"\\$]|\\.)+)/g),
  ]);
  const messages = said.map(([, text = '']) => text).filter((text) => !NOT_OURS.test(text));
  assert.ok(messages.length > 15, `${messages.length}`);
  for (const message of messages) {
    const { lines, logger } = logged();
    logger.error(message);
    assert.notEqual(lines[0]?.msg, 'the job queue reports a problem', message);
  }
});
