/**
 * The figures of docs/operations.md that take minutes, or many mails, to see: each stands in the page as it stands in the
 * code. That the code keeps to its constants is held beside it; that nobody changes one and forgets the page, here.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jobOptions } from '../../src/adapters/bullmq/job-options.ts';
import { defaultLimits } from '../../src/smtp/limits.ts';
import { placeBytes } from '../../src/smtp/memory-places.ts';
import { textOf } from './pages.ts';

/** Units: as the constants, milliseconds and bytes. */
type Figure = readonly [says: string, file: string, constants: Readonly<Record<string, number>>];

const KIB = 1024;
const MIB = 1024 * KIB;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ADAPTERS = 'src/adapters';

const FIGURES: readonly Figure[] = [
  ['a job under way ends (ten seconds for both together)', 'src/compose/mail-and-jobs.ts', { STOP_GRACE_MS: 10_000 }],
  ['it ends within 25 seconds with exit 1', 'src/compose/closers.ts', { TOTAL_MS: 25_000 }],
  ['after a growing delay (ten seconds at most)', 'src/processes/supervisor.ts', { MAX_DELAY_MS: 10_000 }],
  [
    'Connections to the database: 6 for each process that takes mail',
    'src/compose/pools.ts',
    { INTAKE_CONNECTIONS: 6 },
  ],
  ['3 for the first, 1 to migrate', 'src/compose/pools.ts', { VIEW_CONNECTIONS: 3, MIGRATION_CONNECTIONS: 1 }],
  ['asked for at most 900 ms', 'src/http/server.ts', { defaultCheckDeadlineMs: 900 }],
  ['at most every five seconds', `${ADAPTERS}/postgres/commit-probe.ts`, { PROBE_EVERY_MS: 5_000 }],
  ['finished in the last 30 seconds', `${ADAPTERS}/graphile/heartbeat.ts`, { STILL_AFTER_MS: 30_000 }],
  ['added every ten seconds while no mail is read', `${ADAPTERS}/graphile/heartbeat.ts`, { BEAT_EVERY_MS: 10_000 }],
  [
    'given up after 17 seconds',
    `${ADAPTERS}/postgres/pool.ts`,
    { STATEMENT_TIMEOUT_MS: 15_000, QUERY_GRACE_MS: 2_000 },
  ],
  [
    'asked every ten seconds and given five to answer',
    `${ADAPTERS}/graphile/idle-connection.ts`,
    { ASK_EVERY_MS: 10_000, ANSWER_WITHIN_MS: 5_000 },
  ],
  ['S3 are closed after 15 idle seconds', `${ADAPTERS}/s3/client.ts`, { IDLE_CONNECTION_MS: 15_000 }],
  ['costs a request ten', `${ADAPTERS}/s3/client.ts`, { answerTimeoutMs: 10_000 }],
  ['Redis is given up after eight', `${ADAPTERS}/bullmq/connection.ts`, { COMMAND_TIMEOUT_MS: 8_000 }],
  [
    '100 of one address (IPv6: one /64) may wait for a request, 1,000 may be open',
    'src/http/connection-bounds.ts',
    { waitingPerAddress: 100, inAll: 1_000 },
  ],
  ['one line a minute, `too many HTTP', 'src/http/connection-bounds.ts', { WARNING_INTERVAL_MS: MINUTE_MS }],
  ['for all who ask within a second', 'src/http/server.ts', { metricsMaxAgeMs: 1_000 }],
  ['Counted to 100,000, an estimate', `${ADAPTERS}/postgres/gauges.ts`, { COUNTED_JOBS: 100_000 }],
  ['Counted to 100,000 a status', `${ADAPTERS}/postgres/document-gauges.ts`, { COUNTED_DOCUMENTS: 100_000 }],
  ['the ids of its first fifty documents', 'src/documents/extractor.ts', { MAX_LOGGED_DOCUMENTS: 50 }],
  [
    'A text in a line has 256 characters at most (a stack 2,500)',
    'src/telemetry/bounded-facts.ts',
    { MAX_TEXT_CHARACTERS: 256, MAX_STACK_CHARACTERS: 2_500 },
  ],
  ['A second signal, half a second later or more', 'src/cli/start.ts', { sameWishMs: 500 }],
  [
    'has 12 KB a minute, all together 16 KB, faults of ours 14 KB',
    'src/telemetry/bounded-lines.ts',
    { SHARE_BYTES: 12 * KIB, CLIENTS_BYTES: 16 * KIB, FAULTS_BYTES: 14 * KIB },
  ],
  ['the first ten of each', 'src/telemetry/bounded-lines.ts', { MAX_TOLD_CAUSES: 10 }],
  ['1 MiB of lines is kept in each process', 'src/telemetry/line-writer.ts', { MAX_KEPT_BYTES: MIB }],
  ['An end waits for the reader for one second', 'src/telemetry/line-writer.ts', { EXIT_MS: 1_000 }],
  ['Up to 2,048 spans wait in memory', `${ADAPTERS}/opentelemetry/export.ts`, { MAX_WAITING_SPANS: 2_048 }],
  ['for two seconds at most', `${ADAPTERS}/opentelemetry/export.ts`, { lastSpansMs: 2_000 }],
  ['at most 50 notes of its reading', 'src/documents/bounds.ts', { MAX_NOTES: 50 }],
  [
    '`refusals` has the first ten, each with the command as it was sent (200 characters',
    'src/intake/session-refusals.ts',
    { MAX_TOLD_REFUSALS: 10, MAX_TEXT_CHARACTERS: 200 },
  ],
  ['tells its refusals within 40 seconds', 'src/intake/observer.ts', { TELL_WITHIN_MS: 30_000, LOOK_EVERY_MS: 10_000 }],
  ['more than 500 documents is PARSED', 'src/documents/bounds.ts', { MAX_DOCUMENTS: 500 }],
  ['the addresses of From (ten at most)', 'src/intake/intake.ts', { MAX_JUDGED_SENDERS: 10 }],
  ['effective for the next mail within three seconds', 'src/routing/router.ts', { CACHE_MS: 3_000 }],
  ['The files are read every two seconds', `${ADAPTERS}/tls/watched-certificate.ts`, { pollMs: 2_000 }],
  ['expires within 14 days', `${ADAPTERS}/tls/judgement.ts`, { soonMs: 14 * DAY_MS }],
  ['more than 32 KB share', 'src/smtp/limits.ts', { maxSmallHeldBytes: 32 * KIB }],
  ['128 MiB of memory', 'src/config/load.ts', { MAX_HELD_BYTES: 128 * MIB }],
  ['has waited for five seconds', 'src/smtp/limits.ts', { placeWaitMs: 5_000 }],
  ['one below 8 KiB a second', 'src/smtp/limits.ts', { minPlaceBytesPerSecond: 8 * KIB }],
  ['waited for three minutes', 'src/smtp/limits.ts', { dataTimeoutMs: 3 * MINUTE_MS }],
  ['the connection is closed after ten seconds', 'src/smtp/limits.ts', { proxyHeaderTimeoutMs: 10_000 }],
  ['larger than 256 KiB waits', `${ADAPTERS}/s3/upload.ts`, { PIECE_BYTES: 256 * KIB }],
  ['At most 16 large bodies are sent', `${ADAPTERS}/s3/object-store.ts`, { MAX_LARGE_UPLOADS: 16 }],
  ['up to two minutes for its 250', 'src/compose/smtp.ts', { REMOTE_STORE_TIMEOUT_MS: 2 * MINUTE_MS }],
  [
    'within 10 s or is tried anew, three times in 25 s at most (large bodies: one second more per MB)',
    `${ADAPTERS}/s3/client.ts`,
    { answerTimeoutMs: 10_000, maxAttempts: 3, operationTimeoutMs: 25_000, minBytesPerMs: 1_000 },
  ],
  ['tries every two seconds; one log line', `${ADAPTERS}/bullmq/connection.ts`, { RECONNECT_MS: 2_000 }],
  ['they flow, a hundred at a time', 'src/jobs/relay.ts', { BATCH: 100 }],
  [
    'a few minutes, ten thousand a minute',
    'src/jobs/lost-jobs.ts',
    { PAGE: 500, PAGES_AT_ONCE: 20, LOOK_EVERY_MS: MINUTE_MS },
  ],
  ["PgBouncer's `default_pool_size` is 20", `${ADAPTERS}/postgres/pooler.ts`, { PGBOUNCER_DEFAULT_POOL_SIZE: 20 }],
  ['wants PostgreSQL 15 or newer', `${ADAPTERS}/postgres/connect.ts`, { MIN_VERSION: 15 }],
  ['for a minute after a failover', `${ADAPTERS}/graphile/failover.ts`, { LOOK_FOR_MS: MINUTE_MS }],
  [
    'gives up after two seconds, lets the mail behind it pass, and tries again, for half an hour',
    `${ADAPTERS}/postgres/migrate.ts`,
    { TABLE_LOCK_TIMEOUT_MS: 2_000, TABLE_LOCK_PATIENCE_MS: 30 * MINUTE_MS },
  ],
  [
    'every 30 seconds; each process looks for itself, and every two seconds while it is not found',
    'src/reconcile/store-guard.ts',
    { VISIT_INTERVAL_MS: 30_000, ANXIOUS_INTERVAL_MS: 2_000 },
  ],
  ['removed at a start, or by `reconcile`, a day later', `${ADAPTERS}/fs/incoming.ts`, { LEFTOVER_AGE_MS: DAY_MS }],
  ['(16 questions at a time', 'src/reconcile/missing-objects.ts', { QUESTIONS_AT_ONCE: 16 }],
  [
    'more than 10 objects and more than 1 % are missing',
    'src/reconcile/missing-objects.ts',
    { BELIEVABLE_MISSING: 10, BELIEVABLE_SHARE: 0.01 },
  ],
  ['are an hour apart, nothing is removed', 'src/reconcile/reconcile.ts', { CLOCKS_MAY_DIFFER_MS: HOUR_MS }],
  ['younger than 20 seconds it waits', 'src/reconcile/redeliver.ts', { COMMITTED_WITHIN_MS: 20_000 }],
  ['but for the last quarter of an hour', 'src/reconcile/gap.ts', { UNDER_WAY_MS: 15 * MINUTE_MS }],
  ['five minutes after the first start', 'src/compose/store-guard.ts', { FIRST_BUCKET_MARK_MS: 5 * MINUTE_MS }],
  ['has the first 1,000 with what was expected', 'src/ports/verification.ts', { MAX_KEPT_PROBLEMS: 1_000 }],
  ['four objects are read at a time', 'src/reconcile/verify.ts', { READS_AT_ONCE: 4 }],
  ["killed, it repeats a second's work", 'src/reconcile/verify.ts', { SAVE_INTERVAL_MS: 1_000 }],
];

const UNITS: Readonly<Record<string, number>> = { minuteMs: MINUTE_MS, dayMs: DAY_MS };

/** Of a constant that is a number, or numbers with `*` and `/` between them. */
function constantOf(file: string, name: string): number {
  const written = new RegExp(`\\b${name}(?:: number)?(?: =|:) ((?:\\d|[a-z]+Ms )[\\w.*/ ]*)`).exec(textOf(file))?.[1];
  assert.ok(written !== undefined, `${file} has a constant ${name}`);
  return written.split(/(?=[*/])/).reduce((product, factor) => {
    const [, operator, text = ''] = /^([*/]?)\s*(\S+)\s*$/.exec(factor) ?? [];
    const value = UNITS[text] ?? Number(text.replaceAll('_', ''));
    return operator === '/' ? product / value : product * value;
  }, 1);
}

test('docs/operations.md: the figures of the page are those of the code', () => {
  const page = textOf('docs/operations.md').replaceAll(/\s+/g, ' ');
  for (const [says, file, constants] of FIGURES) {
    assert.ok(page.includes(says), `the page says "${says}"`);
    for (const [name, value] of Object.entries(constants))
      assert.equal(constantOf(file, name), value, `${file} ${name}: the page says "${says}"`);
  }
});

test('docs/operations.md: how many large mails are read at the same time, and for how long a job is tried', () => {
  assert.equal(Math.floor(defaultLimits.maxHeldBytes / placeBytes(defaultLimits)), 186);
  const { attempts, backoff, removeOnComplete } = jobOptions;
  assert.deepEqual([attempts, removeOnComplete], [12, { age: 24 * 3_600, count: 100_000 }]);
  const overMs = backoff.delay * (2 ** (attempts - 1) - 1);
  assert.ok(overMs > 2.75 * HOUR_MS && overMs < 3 * HOUR_MS);
});
