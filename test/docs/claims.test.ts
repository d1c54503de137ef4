/**
 * What README.md and docs/operations.md say, heading by heading, and the tests that hold it: of each section its main
 * sentences, eight tests at most. A heading that is new, or gone, fails until this table says who holds it.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { assertHolds, headingsOf, pages, ROOT, textOf } from './pages.ts';

/** By file, the beginnings of titles. `…` as in pages.ts. */
type Held = Readonly<Record<string, readonly string[]>>;

const MOST_TESTS = 8;
const ADVICE = 'Sentences in the imperative are advice; tests hold the others';

const README: Readonly<Record<string, Held>> = {
  'OrderFlow Ingest': {
    'test/durability/kill-server.test.ts': ['kill -9 of the server at any moment under load'],
    'test/durability/call-order.test.ts': ['system calls, mail by mail'],
    'test/specification/deduplication.test.ts': ['SC-003, TC-003: twenty of the same mail'],
    'src/adapters/postgres/tenancy.test.ts': ['row-level security: an organisation and the rows of another'],
    'test/specification/user-stories.test.ts': ['FR-002: only the envelope routes'],
    'test/specification/requirements.test.ts': ['FR-ORQ-001: extract_document(document_id, org_id) is enqueued'],
  },
  'The first mail, in a minute': {
    'test/packaging/package.test.ts': ['works when it is installed into an empty folder'],
    'src/cli/launcher.test.ts': ['an old Node hands over to the one that came with the package'],
    'src/cli/start.test.ts': ['the banner says where everything is', "the embedded database's password is shown"],
    'src/cli/send.test.ts': ['a slug becomes its address, the reply is printed, the message followed'],
    'test/specification/end-to-end.test.ts': ['by swaks: a mail with'],
    'src/testing/product.test.ts': ['a product on its embedded database is ready'],
  },
  'Installing it': {
    'test/packaging/package.test.ts': [
      'holds the program as plain JavaScript, its migrations, documentation',
      'works when it is installed into an empty folder',
      'works for another user than the one who installed it for all',
    ],
    'src/cli/own-command.test.ts': ['of a package in a folder npx finds it'],
  },
  Commands: {
    'scripts/generate-docs.test.ts': ['a README edited by hand inside the markers'],
    'src/cli/program.test.ts': [
      'the commands are those of the design',
      '…" explains on stdout and ends with 0',
      '"…" is used wrongly: 2, explained on stderr, nothing opened',
      'wrong settings are used wrongly: 2',
      'an error meant for the user is printed as it is',
    ],
    'src/cli/launcher.test.ts': ['--help is data: stdout, 0, nothing on stderr'],
  },
  Settings: {
    'scripts/generate-docs.test.ts': ['a README edited by hand inside the markers'],
    'src/config/document.test.ts': ['the example file sets nothing', 'the table has one row of three cells'],
    'src/config/load.test.ts': [
      '.env is read, the real environment wins',
      'every problem is told at once',
      'a near miss of any setting',
      'in .env, which nobody else reads, every unknown name is a problem',
    ],
    'src/cli/launcher.test.ts': ['wrong settings in the environment and in .env are 2, one line each'],
  },
  Tests: { 'src/testing/database.test.ts': ['a test database is migrated'] },
  'Read on': { 'test/docs/claims.test.ts': ['every link of README.md and docs/ leads somewhere'] },
};

const OPERATIONS: Readonly<Record<string, Held>> = {
  Operations: { 'test/docs/figures.test.ts': ['docs/operations.md: the figures of the page are those of the code'] },
  'Starting and stopping': {
    'test/specification/reliability.test.ts': ['SIGTERM: a mail in DATA gets its reply'],
    'test/durability/silences.test.ts': ['for good: SIGTERM ends with 0 in time'],
    'src/processes/processes.test.ts': [
      'a process that hangs is killed when all end',
      'a second signal ends all at once',
    ],
    'test/durability/kill-server.test.ts': ['kill -9 of the server at any moment under load'],
    'src/cli/launcher.test.ts': ['an old Node that is killed outright takes its server along'],
    'test/deployment/systemd.test.ts': ['what the unit names is in the package, and a stop has the time it needs'],
    'src/processes/scheduling.test.ts': ['the server that runs is a batch, with the PostgreSQL'],
  },
  'Several processes': {
    'src/processes/processes.test.ts': [
      'two processes take mail on one port, their metrics are one',
      'SIGUSR2 replaces every process, SIGTERM one of them',
      'where no successor can start, each try is told',
      'a worker that is dead takes no process out of rotation',
      'when the first process is killed the others finish',
      'settings are read once',
    ],
    'src/processes/plan.test.ts': ['connections and their memory are divided'],
    'src/doctor/doctor.test.ts': ['a pooler in transaction mode is seen through, and its size'],
  },
  'Is it ready?': {
    'src/http/server.test.ts': [
      'each part says since when it is not ready',
      '/metrics asks the parts of /readyz itself',
    ],
    'src/adapters/postgres/commit-probe.test.ts': ['whether a mail could be accepted'],
    'src/adapters/graphile/job-runner.test.ts': ['a worker says whether it works'],
    'test/durability/silences.test.ts': ['twice for a while: mail is accepted and read again'],
    'src/adapters/s3/silence.test.ts': ['a store whose connections are forgotten twice'],
    'test/durability/redis-relay.test.ts': ['the connection to Redis is forgotten twice'],
    'src/http/connection-bounds.test.ts': ['4,000 connections of one address …'],
  },
  'Is everything in order?': {
    'src/doctor/doctor.test.ts': [
      'before the first start all is in order, and nothing is made',
      'beside a running server it says so',
      'wrong settings are findings, all at once',
      'a database that …: …',
      'an S3 store that refuses, hangs, lacks the bucket',
      'a disk that says "written" before it is',
    ],
    'src/doctor/host.test.ts': ['the limit of open files is found out'],
    'src/doctor/mail-arrival.test.ts': ['a domain with …'],
  },
  'What to watch': {
    'test/deployment/monitoring.test.ts': [
      'docs/operations.md: each metric to watch is the product’s, and has an alert',
      'every alert has a test in which it fires',
      'what the rules and the dashboard ask for is what the product says',
    ],
    'src/telemetry/metrics.test.ts': ['10,000 unknown organisations and made-up error types'],
    'src/adapters/postgres/gauges.test.ts': ['of very many jobs are an estimate'],
    'src/adapters/postgres/document-gauges.test.ts': ['are counted up to a bound, and estimated beyond it'],
  },
  'The log': {
    'test/docs/claims.test.ts': ['docs/operations.md: every line of its tables is one of the program'],
    'test/log.test.ts': ['a mail has a line when it is accepted and one when it is read', 'keeps no mail waiting'],
    'test/specification/requirements.test.ts': [
      'FR-014, RE-004: every log line of a mail',
      'FR-012: every email is logged',
    ],
    'src/telemetry/bounded-lines.test.ts': [
      'over any minute no more than 64 KB',
      'a mail of ordinary size has its lines',
    ],
    'src/telemetry/line-writer.test.ts': ['a … that nobody reads makes nobody wait'],
  },
  Tracing: {
    'test/tracing.test.ts': [
      'from its connection to the queue of the next stage',
      'with a collector that is away costs no mail',
      'that is not asked for loads no SDK',
    ],
    'src/adapters/opentelemetry/export.test.ts': [
      'go on behind a traceparent',
      'are a share of the traces',
      'costs a bounded number of spans',
    ],
    'src/config/load.test.ts': ['the settings of tracing are read as OpenTelemetry writes them'],
  },
  'Where is my order?': {
    'src/cli/messages.test.ts': ['every filter reaches the question', 'every part of the mail is shown'],
    'src/adapters/postgres/message-views.test.ts': [
      'each filter finds what it is for',
      'the newest, of one organisation',
    ],
    'src/cli/times.test.ts': ['a person sees the time of here'],
    'src/intake/observer.test.ts': ['a session that stays open tells its refusals soon'],
    'test/log.test.ts': ['the log at debug: every session has two lines'],
    'src/smtp/command-text.test.ts': ['credentials are never told'],
  },
  'A share for each organisation': {
    'src/jobs/fair-share.test.ts': [
      'the one mail of another is read among the first',
      'what fails when it is read ahead',
    ],
    'src/documents/bounds.test.ts': ['… documents are stored; the parts beyond are listed'],
  },
  'Organisations and blocked senders': {
    'src/intake/intake.test.ts': [
      '… keeps "…" out, and nothing is left',
      'is recorded for the organisations that do not block it',
    ],
    'src/routing/router.test.ts': ['never remembers a no: a new organisation works at once'],
    'test/specification/tenancy-and-commands.test.ts': ['block add for all: 550', 'a disabled organisation: 550 5.2.1'],
    'src/cli/real-parts.test.ts': ['a command that only looks makes no database', 'only what adds something may make'],
  },
  TLS: {
    'test/specification/tls.test.ts': [
      'swaks --tls: version and cipher',
      'SIGHUP: a renewed certificate',
      'SMTP_REQUIRE_TLS: 530',
    ],
    'src/adapters/tls/watched-certificate.test.ts': [
      'files that change are served soon',
      'a broken new pair is told once',
      'one that grows old while it is in use is told',
    ],
    'src/cli/start-tls.test.ts': ['a certificate that cannot be used ends the start with one line'],
    'src/adapters/tls/old-devices.test.ts': ['with … set, … are spoken and counted, and no other'],
  },
  'Mail to postmaster': {
    'test/specification/odd-senders.test.ts': [
      'postmaster, bare and at our domains, is recorded',
      'postmaster without anybody: 550 without the setting',
    ],
    'src/doctor/doctor.test.ts': ['an organisation named for postmaster that …'],
  },
  'A share of the connections for each': {
    'src/smtp/connection-shares.test.ts': [
      '1,000 idle connections of one address',
      'the longest idle one goes first, and never one in the middle of a mail',
      'below half of all connections an address may have any number',
      'a balancer that sends no headers leaves room for another',
    ],
    'src/smtp/proxy-gate.test.ts': ['what waits for its header is bounded too'],
    'src/smtp/memory-places.test.ts': [
      'of an address with more places the slowest goes',
      'who waits for memory as long as',
      'a place that is free goes to the address with fewest',
    ],
  },
  'Behind a balancer': {
    'src/smtp/proxy-gate.test.ts': [
      'version …: the client of the header',
      'from anybody else a header is no header',
      'without a header, with a wrong one',
      'a balancer that only looks whether the port is open',
    ],
    'test/specification/proxy-protocol.test.ts': [
      "log and record have the client's address",
      'health checks leave nothing',
    ],
  },
  'Objects as files': {
    'src/adapters/fs/access.test.ts': [
      'object files are those of their owner alone',
      'with the group as reader it may read files',
      'a group that a folder hands on (setgid) stays',
    ],
  },
  'Objects in a bucket (S3)': {
    'test/object-storage/s3.test.ts': [
      'takes mails and extracts them',
      'answers 451 while the store is away',
      'does not start on a store that cannot be used',
      'speaks to a store whose certificate a private authority has signed',
    ],
    'src/config/load.test.ts': ['names of other software in our ranges are left alone'],
    'src/adapters/s3/faults.test.ts': ['a real S3 store that fails'],
    'src/adapters/s3/deadlines.test.ts': ['…: a store that accepts and never answers is given up in time'],
    'src/doctor/doctor.test.ts': ['an S3 store that refuses, hangs, lacks the bucket'],
  },
  'Redis for the next stage': {
    'src/jobs/relay.test.ts': [
      'publishes what waits and what comes',
      'leaves the database alone while the queue cannot be',
    ],
    'src/adapters/bullmq/job-publisher.test.ts': ['adds none a second time', 'warns of a Redis that throws jobs away'],
    'test/durability/redis-relay.test.ts': ['kill -9 of the worker while jobs go to Redis'],
    'test/specification/reliability.test.ts': ['Redis failure (queue email for retry)'],
    'src/jobs/lost-jobs.test.ts': [
      'all that Redis has forgotten are queued again',
      'adds what is missing, wakes what has',
    ],
  },
  'Backup and restore': {
    'test/durability/restore.test.ts': ['a backup under load, the database first and then the objects'],
    'test/durability/dump.test.ts': [
      'a dump is restored on a new server',
      'a dump is restored into the embedded database',
    ],
    'test/durability/redelivery.test.ts': ['files: acknowledged mails of a gap'],
    'src/adapters/postgres/message-store.test.ts': ['waits for the disk where the database is set to'],
    'src/reconcile/reconcile.test.ts': ['after a restore of the database, mails acknowledged since'],
  },
  'Secrets from files': {
    'src/config/secrets.test.ts': [
      'every setting that is a secret has a file form',
      'a secret in both forms is refused',
      'a file that cannot be used is one line',
      'a name alone is that of a credential of systemd',
    ],
    'test/durability/rotated-secrets.test.ts': [
      'the password of PostgreSQL changes three times',
      'the password of Redis changes: jobs wait',
    ],
    'test/object-storage/shared-bucket.test.ts': ['goes on without a restart or a 451 when its keys'],
    'src/adapters/opentelemetry/export.test.ts': ['have other headers after those of before were refused'],
  },
  'A database of your own': {
    'test/deployment/database.test.ts': [
      'a database that … has made as the page says',
      'without one of the statements',
    ],
    'test/durability/unfit-database.test.ts': [
      'a pooler in transaction mode ends the start',
      'TLS to the database, with libpq’s variables',
      'TLS to the database: with a client certificate',
      'a standby ends the first start',
    ],
    'src/config/database-url.test.ts': ['any other variable of libpq is refused by name'],
    'test/durability/failover.test.ts': ['mail is taken and read again without a restart'],
  },
  Upgrade: {
    'test/upgrade/upgrade.test.ts': [
      'says the same things on any database of its schema',
      'is reached from …, with data in it',
      'is waited for by a migration without holding up',
    ],
    'test/upgrade/migration-rules.test.ts': ['each migration can run while processes of the version before'],
    'src/adapters/postgres/migrate.test.ts': ['is done by one of many processes at once'],
    'test/upgrade/later-queue.test.ts': ['a breaking migration of the job queue'],
  },
  'The wrong store': {
    'test/durability/wrong-store.test.ts': [
      'an unmounted folder at the start: refused in one line',
      'unmounted while …',
      'a store that is another on purpose',
    ],
    'src/reconcile/store-watch.test.ts': [
      'an empty store, and one of another installation',
      'an older database that knows one',
    ],
    'test/object-storage/s3.test.ts': ['does not take the bucket of another installation'],
    'src/adapters/fs/object-store.test.ts': ['another folder in the place of the root takes nothing'],
    'src/adapters/postgres/message-retries.test.ts': ['messages put back'],
  },
  'What a crash can leave': {
    'src/reconcile/reconcile.test.ts': [
      'objects without a row go after a day',
      'a message whose raw mail is gone becomes FAILED',
    ],
    'src/adapters/fs/object-store.test.ts': ['removes at the start what a crash left a day ago'],
    'src/adapters/graphile/job-runner.test.ts': ['jobs of a worker that was killed'],
    'test/durability/worker-faults.test.ts': ['worker killed half-way through the attachments'],
    'src/reconcile/verify.test.ts': ['of each kind, also of a FAILED mail'],
  },
  reconcile: {
    'src/reconcile/reconcile.test.ts': [
      'a dry run says the same and changes nothing',
      'a store that goes away fails the run and no message',
      'where too many are missing, nothing at all is changed',
      'after a restore of the database, mails acknowledged since',
      'what a gap has lost is removed on purpose only',
      'two at once: the second one says so',
    ],
    'test/durability/reconcile-under-load.test.ts': ['reconcile beside a server under load'],
    'test/durability/redelivery.test.ts': ['kill -9 while mails are handed in'],
  },
  'reconcile --verify': {
    'src/reconcile/verify.test.ts': [
      'of each kind, also of a FAILED mail',
      'stopped by a signal it saves its place',
      'killed, it goes on where it last said to be',
      '--rate holds it back',
      'of many problems the first thousand are kept',
      'a row that changes with its object is held to what it says now',
      'a store that is not ours is refused in words',
    ],
    'src/reconcile/verify-s3.test.ts': ['damage of each sort is found'],
  },
  'The embedded database': {
    'src/adapters/embedded-postgres/embedded-postgres.test.ts': [
      'a new cluster is durable, for this machine only',
      'processes share one server, and the last to leave stops it',
      'a server whose process was killed is taken over',
    ],
    'src/adapters/embedded-postgres/endpoint.test.ts': [
      'a cluster of the release before starts',
      'a server on TCP that somebody uses is left alone',
      'where the path is too long for a socket',
      'its command line overrules what the files say',
    ],
    'src/cli/start.test.ts': ["the embedded database's password is shown to a terminal only"],
  },
};

for (const [page, sections] of Object.entries({ 'README.md': README, 'docs/operations.md': OPERATIONS })) {
  test(`${page}: every section has tests that hold what it says`, () => {
    assert.deepEqual(Object.keys(sections), headingsOf(page));
    assert.ok(textOf(page).includes(ADVICE), `the page says "${ADVICE}"`);
    for (const [heading, held] of Object.entries(sections)) {
      const holders = Object.entries(held).flatMap(([file, titles]) => titles.map((title) => ({ file, title })));
      assert.ok(holders.length > 0 && holders.length <= MOST_TESTS, `${heading}: ${holders.length} tests`);
      holders.forEach(assertHolds);
    }
  });
}

/** As GitHub makes it of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

test('every link of README.md and docs/ leads somewhere', () => {
  const links = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].map(([link, path, anchor]) => ({
      link: `${page}: ${link}`,
      target: path ? join(dirname(page), path) : page,
      anchor,
    })),
  );
  assert.ok(links.length > 50);
  for (const { link, target, anchor } of links) {
    assert.ok(existsSync(join(ROOT, target)), link);
    assert.ok(anchor === undefined || headingsOf(target).map(anchorOf).includes(anchor), link);
  }
});

/** What the tables of lines say, without what changes (`…`). */
function toldLines(): readonly string[] {
  const tables = textOf('docs/operations.md').matchAll(/^\| line \|.*\n\|[ -|]+\n((?:\|.*\n)+)/gm);
  return [...tables].flatMap(([, rows = '']) =>
    [...rows.matchAll(/^\| `([^`]+)` \|/gm)].map(([, text = '']) => text.replaceAll('…', '').trim()),
  );
}

test('docs/operations.md: every line of its tables is one of the program', () => {
  const sources = globSync('src/**/*.ts', { cwd: ROOT }).filter((path) => !/\.test\.ts$|\/testing\//.test(path));
  const code = sources.map(textOf).join('\n');
  const lines = toldLines();
  assert.ok(lines.length > 25);
  for (const line of lines) assert.ok(code.includes(line), `nothing writes "${line}"`);
});
