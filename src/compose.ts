/**
 * The one place where ports meet adapters. Everything else is given what it needs by the functions here.
 */
import { join } from 'node:path';
import type pg from 'pg';
import {
  EmbeddedPostgresError,
  embeddedDatabaseExists,
  openEmbeddedPostgres,
} from './adapters/embedded-postgres/embedded-postgres.ts';
import { readDiskSpace } from './adapters/fs/disk-space.ts';
import { examineFileStore } from './adapters/fs/examine.ts';
import { createFileStoreMarks } from './adapters/fs/marks.ts';
import { createFileObjectStore, fileObjectStoreExists, removeFileLeftovers } from './adapters/fs/object-store.ts';
import { createGraphileJobRunner } from './adapters/graphile/job-runner.ts';
import { tryReconcileLock } from './adapters/postgres/advisory-lock.ts';
import { checkDatabase, DatabaseConnectError } from './adapters/postgres/connect.ts';
import { examineDatabase } from './adapters/postgres/examine.ts';
import { createPostgresExtractionStore } from './adapters/postgres/extraction-store.ts';
import { readDatabaseCounts } from './adapters/postgres/gauges.ts';
import { createPostgresJobOutbox } from './adapters/postgres/job-outbox.ts';
import { createPostgresMarkMemory } from './adapters/postgres/mark-memory.ts';
import { createPostgresMessageStore } from './adapters/postgres/message-store.ts';
import { createPostgresMessageViews } from './adapters/postgres/message-views.ts';
import { MigrationError, migrate as migrateDatabase, pendingMigrations } from './adapters/postgres/migrate.ts';
import { createPostgresBlockList, createPostgresOrganisations } from './adapters/postgres/organisations.ts';
import { createPool } from './adapters/postgres/pool.ts';
import { createQueuePool, QUEUE_CONNECTIONS } from './adapters/postgres/queue-pool.ts';
import { createPostgresReconciliation } from './adapters/postgres/reconciliation.ts';
import { CertificateError } from './adapters/tls/certificate.ts';
import { examineCertificate } from './adapters/tls/examine.ts';
import { type WatchedCertificate, watchCertificate } from './adapters/tls/watched-certificate.ts';
import type { Reconciler, Role, RunningPart, RunningServer, Toolbox } from './cli/context.ts';
import { type Closers, createClosers } from './closers.ts';
import type { Settings } from './config/settings.ts';
import { hostChecks, settingsChecks } from './doctor/doctor.ts';
import { type Check, runChecks } from './doctor/run-checks.ts';
import { createExtractor } from './documents/extractor.ts';
import { ListenError } from './http/listen-error.ts';
import type { Checks } from './http/readiness.ts';
import { createHttpServer } from './http/server.ts';
import { createIntake } from './intake/intake.ts';
import { createSmtpObserver } from './intake/observer.ts';
import { type Courtesy, createCourtesy } from './jobs/courtesy.ts';
import { createRelay, type Relay } from './jobs/relay.ts';
import { createTasks } from './jobs/tasks.ts';
import { createRecorder } from './messages/recorder.ts';
import { broken, type Finding, ok } from './ports/finding.ts';
import type { JobRunner } from './ports/job-runner.ts';
import { type ObjectStore, StoreError } from './ports/object-store.ts';
import type { StoreMarks } from './ports/store-marks.ts';
import { ChildFailedError } from './processes/child-process.ts';
import { type ProcessPlan, planProcesses, shareOf } from './processes/plan.ts';
import { createSupervisor, type Supervisor } from './processes/supervisor.ts';
import { createRawStore } from './rawstore/index.ts';
import { ClockError, reconcile } from './reconcile/reconcile.ts';
import { createStoreWatch, keepWatch } from './reconcile/store-watch.ts';
import { createRouter } from './routing/index.ts';
import { createSmtpServer } from './smtp/index.ts';
import type { Log } from './telemetry/log.ts';
import { measureObjectStore } from './telemetry/measured-object-store.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';
import type { Tracing } from './telemetry/tracing.ts';
import { version } from './version.ts';

/** Commits go one at a time (group commit), look-ups beside them. */
const INTAKE_CONNECTIONS = 6;
/** Each job may hold one, and so may the relay to Redis. */
const jobConnections = ({ worker }: Settings): number => worker.concurrency + 1;
const workerConnections = (settings: Settings): number => jobConnections(settings) + QUEUE_CONNECTIONS;
/** Readiness, metrics and commands. */
const VIEW_CONNECTIONS = 3;

/**
 * A large mail goes to a remote store after its last byte, in its turn: a hundred of 25 MB are 25 s of a Gbit/s line.
 * RFC 5321 §4.5.3.2.6: the client waits 10 min. A store that does not answer is given up by the store's own limits.
 */
const REMOTE_STORE_TIMEOUT_MS = 120_000;

/** Beside the pools: the worker's lease and the migration. */
const OTHER_CONNECTIONS = 2;

/** It reads whole tables, and nobody waits for a reply. */
const RECONCILE_STATEMENT_MS = 30 * 60_000;
/** A bucket is often used for a moment only, for a try: it gets nothing but mail until then. */
const FIRST_BUCKET_MARK_MS = 5 * 60_000;

/** How long a stop waits for mails in DATA and jobs under way. Container runtimes kill after 30 s or less. */
const STOP_GRACE_MS = 10_000;
const MAIL_AND_JOBS = 'mail and jobs under way';
/** A child process ends before its parent loses patience with it. */
const PART_CLOSE_MS = 18_000;

const FIRST_ORGANISATION = 'acme';

/** The product cannot run as configured; one line or more for the operator. */
export class StartError extends Error {}

/** Something did not come to its end in time; nothing acknowledged is lost by that. */
export class StopError extends StartError {}

/** Only looking, and there is nothing to look at: making an empty database would read like lost mails. */
export class NoDatabaseError extends StartError {}

export async function migrate(o: {
  readonly settings: Settings;
  readonly log: Log;
}): Promise<{ readonly applied: readonly string[] }> {
  const database = await openDatabase(o.settings, o.log);
  try {
    return await migrateDatabase({ url: database.url, log: o.log });
  } catch (error) {
    throw asStartError(error);
  } finally {
    await database.close();
  }
}

/**
 * What the commands work with. Those that only look neither make a database nor change its schema: `create` does both.
 * Errors: `NoDatabaseError`, `StartError`.
 */
export async function openToolbox(o: {
  readonly settings: Settings;
  readonly log: Log;
  readonly create?: boolean;
}): Promise<Toolbox> {
  if (o.create !== true) await assertDatabaseExists(o.settings);
  const database = await openDatabase(o.settings, o.log);
  try {
    if (o.create === true) await migrateDatabase({ url: database.url, log: o.log });
    else await assertMigrated(database.url);
    const pool = createPool({
      url: database.url,
      applicationName: 'orderflow-cli',
      maxConnections: VIEW_CONNECTIONS,
      log: o.log,
    });
    const store = await openObjectStore(o.settings, o.log);
    return {
      organisations: createPostgresOrganisations({ pool }),
      blockList: createPostgresBlockList({ pool }),
      messages: createPostgresMessageViews({ pool }),
      objects: store.objects,
      async close() {
        await pool.end();
        await store.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw asStartError(error);
  }
}

async function assertDatabaseExists({ databaseUrl, dataDir }: Settings): Promise<void> {
  if (databaseUrl !== null || (await embeddedDatabaseExists(dataDir))) return;
  throw new NoDatabaseError(
    `no database in ${join(dataDir, 'postgres')}; is DATA_DIR right? (start, migrate and org add make one)`,
  );
}

async function assertMigrated(url: string): Promise<void> {
  const missing = await pendingMigrations(url);
  if (missing.length === 0) return;
  throw new StartError(`the database's schema is older than this program (${missing.join(', ')}): run migrate first`);
}

export async function startServer(o: {
  readonly settings: Settings;
  readonly roles: readonly Role[];
  /** That take mail on the one port. */
  readonly processes: number;
  readonly log: Log;
}): Promise<RunningServer> {
  const { settings, roles, log } = o;
  const plan = planProcesses(roles, o.processes);
  const closers = createClosers({ log });
  try {
    const database = await openDatabase(settings, log);
    closers.add('database', database.close);
    await migrateDatabase({ url: database.url, log });
    const pools = createPools(database.url, settings, log);
    closers.add('database connections', pools.close);
    const organisations = createPostgresOrganisations({ pool: pools.view });
    const firstOrganisation = database.embedded ? await createFirstOrganisation(organisations) : null;

    const children = plan.children.length === 0 ? null : createChildren(plan, o, database.url);
    const metrics = createMetrics({
      databaseCounts: () => readDatabaseCounts(pools.view),
      ...(children === null ? {} : { otherProcesses: () => children.metrics() }),
      diskSpace: () => readDiskSpace(settings.dataDir),
      version: version(),
      log,
    });
    const store = await openObjectStore(settings, log, { check: true });
    closers.add('object store', store.close);
    const objects = measureObjectStore(store.objects, metrics);
    const courtesy = createCourtesy();
    closers.add('courtesy', async () => courtesy.close());
    // With children, they take mail and run jobs, and trace it.
    const tracing = children === null ? await openTracing(settings, log, closers) : undefined;
    const parts = { settings, log, metrics, tracing, objects, pools, courtesy, url: database.url };

    // Before mail comes: what this database does not remember of the store ends where its own time begins.
    if (roles.includes('smtp')) closers.add('store watch', await watchStore(parts));

    const worker = plan.here.includes('worker') ? await createWorker(parts) : null;
    // HTTP before the rest, so that /readyz tells of them; it closes last.
    const http = roles.includes('http') ? createHttp(parts, readinessOf(roles, worker, children)) : null;
    const httpAddress = (await http?.listen()) ?? null;
    if (http !== null) closers.add('http', http.close);
    if (children !== null) closers.add(MAIL_AND_JOBS, children.stop);
    const here = children === null ? await takeMailAndJobs(parts, roles, worker, closers) : null;
    const smtpAddress = here?.smtp ?? (await children?.start()) ?? null;

    const slugs = (await organisations.list()).filter(({ disabled }) => !disabled).map(({ slug }) => slug);
    log.info({ roles, processes: o.processes, smtp: smtpAddress, http: httpAddress }, 'started');
    return {
      smtp: smtpAddress,
      http: httpAddress,
      databaseUrl: database.url,
      embeddedDatabase: database.embedded,
      firstOrganisation,
      organisations: slugs.slice(0, 5),
      async reload() {
        await Promise.all([here?.reload(), children?.reload()]);
      },
      async replaceProcesses() {
        if (children === null) log.warn('there is one process only: nothing to replace');
        await children?.replaceAll();
      },
      async stop() {
        const unclosed = await closers.closeAll();
        if (unclosed.length > 0) throw new StopError(`stopped, but not in order: ${unclosed.join(', ')} did not end`);
      },
    };
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}

/** Some roles in a child process: its parent has opened and migrated the database, and answers HTTP for it. */
export async function startPart(o: {
  readonly settings: Settings;
  readonly roles: readonly Role[];
  readonly databaseUrl: string;
  readonly log: Log;
}): Promise<RunningPart> {
  const { settings, roles, log } = o;
  const closers = createClosers({ log, totalMs: PART_CLOSE_MS });
  try {
    const pools = createPools(o.databaseUrl, settings, log);
    closers.add('database connections', pools.close);
    const metrics = createMetrics({ version: version(), log });
    const store = await openObjectStore(settings, log);
    closers.add('object store', store.close);
    const objects = measureObjectStore(store.objects, metrics);
    const courtesy = createCourtesy();
    closers.add('courtesy', async () => courtesy.close());
    const tracing = await openTracing(settings, log, closers);
    const parts = { settings, log, metrics, tracing, objects, pools, courtesy, url: o.databaseUrl };
    const worker = roles.includes('worker') ? await createWorker(parts) : null;
    const here = await takeMailAndJobs(parts, roles, worker, closers);
    log.info({ roles, smtp: here.smtp }, 'process started');
    return {
      ...here,
      check: async () => await worker?.jobs.check(),
      metrics: metrics.snapshot,
      stop: closers.closeAll,
    };
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}

interface MailAndJobs extends Pick<RunningPart, 'smtp' | 'reload'> {}

/** In this process. Resolves when both are under way. */
async function takeMailAndJobs(
  parts: Parts,
  roles: readonly Role[],
  worker: Worker | null,
  closers: Closers,
): Promise<MailAndJobs> {
  const certificate = roles.includes('smtp') ? await openCertificate(parts) : null;
  if (certificate !== null) closers.add('certificate', certificate.close);
  const smtp = roles.includes('smtp') ? createSmtp(parts, certificate) : null;
  // All at the same time: none waits for another to finish what it has begun.
  closers.add(MAIL_AND_JOBS, async () => {
    await Promise.all([
      smtp?.close({ graceMs: STOP_GRACE_MS }),
      worker?.jobs.stop(STOP_GRACE_MS),
      worker?.relay?.stop(STOP_GRACE_MS),
    ]);
  });
  await worker?.jobs.start();
  worker?.relay?.start();
  return {
    smtp: smtp === null ? null : await listen(smtp, parts.settings),
    reload: async () => await certificate?.reload(),
  };
}

function createChildren(
  plan: ProcessPlan,
  o: { readonly settings: Settings; readonly roles: readonly Role[]; readonly processes: number; readonly log: Log },
  databaseUrl: string,
): Supervisor {
  const settings = shareOf(o.settings, o.processes);
  return createSupervisor({
    plans: plan.children,
    assign: ({ name, roles }) => ({ name, roles, settings, databaseUrl }),
    gatherMetrics: o.roles.includes('http'),
    log: o.log,
  });
}

/** What `/readyz` asks of mail and jobs. One process that takes mail is not asked: it answers, so it lives. */
function readinessOf(roles: readonly Role[], worker: Worker | null, children: Supervisor | null): Checks {
  if (children === null) return worker === null ? {} : { jobs: () => worker.jobs.check() };
  return { smtp: children.checkSmtp, ...(roles.includes('worker') ? { jobs: children.checkJobs } : {}) };
}

export interface ExamineOptions {
  readonly settings: Settings;
  readonly log: Log;
  /** UV_THREADPOOL_SIZE as this process has it. */
  readonly threadPoolSize: string | undefined;
  readonly createBucket: boolean;
}

/** What `doctor` says. Never rejects: whatever goes wrong is a finding. */
export function examine(o: ExamineOptions): Promise<readonly Finding[]> {
  return runChecks([...hostChecks(o), ...settingsChecks(o.settings, probesOf(o))]);
}

function probesOf(o: ExamineOptions): readonly Check[] {
  return [...certificateChecks(o), databaseCheck(o), objectStoreCheck(o), ...redisChecks(o), ...tracingChecks(o)];
}

/** When the settings are wrong, this is all that can be looked at. */
export function examineHost(o: Pick<ExamineOptions, 'threadPoolSize'>): Promise<readonly Finding[]> {
  return runChecks(hostChecks(o));
}

/** Opens what `reconcile` works with. Errors: `NoDatabaseError`, `StartError`. */
export async function openReconciler(o: { readonly settings: Settings; readonly log: Log }): Promise<Reconciler> {
  const { settings, log } = o;
  await assertDatabaseExists(settings);
  await assertStoreExists(settings);
  const closers = createClosers({ log });
  try {
    const database = await openDatabase(settings, log);
    closers.add('database', database.close);
    await assertMigrated(database.url);
    const lock = await tryReconcileLock(database.url);
    if (lock === null) throw new StartError('another reconcile is at work on this database');
    closers.add('lock', lock.release);
    const pool = createPool({
      url: database.url,
      applicationName: 'orderflow-reconcile',
      maxConnections: VIEW_CONNECTIONS,
      statementTimeoutMs: RECONCILE_STATEMENT_MS,
      log,
    });
    closers.add('database connections', () => pool.end());
    const store = await openObjectStore(settings, log, { check: true, keepLeftovers: true });
    closers.add('object store', store.close);
    const { marks, close } = await openStoreMarks(settings);
    closers.add('store marks', close);
    const memory = createPostgresMarkMemory({ pool });
    const parts = {
      objects: store.objects,
      rows: createPostgresReconciliation({ pool }),
      watch: createStoreWatch({ marks, memory, objects: store.objects, log }),
      memory,
      leftovers: leftoversOf(settings, log),
    };
    return {
      run: (options) =>
        reconcile({ ...parts, ...options }).catch((error: unknown) => {
          if (!(error instanceof StoreError)) throw asStartError(error);
          throw new StartError(`the object store cannot be used: ${error.message}`, { cause: error });
        }),
      close: async () => void (await closers.closeAll()),
    };
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}

/** One that is not mounted would be made anew, and every mail in it would look lost. */
async function assertStoreExists({ objectStorage, dataDir }: Settings): Promise<void> {
  const rootDir = join(dataDir, 'objects');
  if (objectStorage !== null || (await fileObjectStoreExists(rootDir).catch(() => true))) return;
  throw new StartError(`no object store in ${rootDir}; is DATA_DIR right, and is it mounted? (start makes one)`);
}

function leftoversOf({ objectStorage, dataDir }: Settings, log: Log) {
  const rootDir = join(dataDir, 'objects');
  // A put to S3 is one request: nothing unfinished stays there.
  if (objectStorage !== null) return async () => 0;
  return ({ dryRun }: { readonly dryRun: boolean }) => removeFileLeftovers({ rootDir, dryRun, log });
}

async function openStoreMarks(
  settings: Settings,
): Promise<{ readonly marks: StoreMarks; readonly close: () => Promise<void> }> {
  if (settings.objectStorage === null) {
    return { marks: createFileStoreMarks({ rootDir: join(settings.dataDir, 'objects') }), close: async () => {} };
  }
  const { createS3StoreMarks } = await import('./adapters/s3/marks.ts');
  const marks = createS3StoreMarks({ settings: settings.objectStorage });
  return { marks, close: async () => marks.close() };
}

/** Shape: how to stop it. */
async function watchStore({ settings, log, objects, pools }: Parts): Promise<() => Promise<void>> {
  const { marks, close } = await openStoreMarks(settings);
  const firstMarkAfterMs = settings.objectStorage === null ? 0 : FIRST_BUCKET_MARK_MS;
  const memory = createPostgresMarkMemory({ pool: pools.view });
  const watching = await keepWatch({ marks, memory, objects, log, firstMarkAfterMs });
  return async () => {
    await watching.stop();
    await close();
  };
}

/** The embedded server may have to be started first, and to recover. */
const EMBEDDED_DEADLINE_MS = 70_000;
/** Of several requests, each with a deadline of its own. */
const REMOTE_DEADLINE_MS = 30_000;

function databaseCheck({ settings, log }: ExamineOptions): Check {
  const name = 'database';
  const { databaseUrl: url, dataDir } = settings;
  // Of one process with every role.
  const connectionsNeeded = INTAKE_CONNECTIONS + workerConnections(settings) + VIEW_CONNECTIONS + OTHER_CONNECTIONS;
  if (url !== null) {
    return { name, run: () => examineDatabase({ url, embedded: false, connectionsNeeded }) };
  }
  const run = async (): Promise<readonly Finding[]> => {
    if (!(await embeddedDatabaseExists(dataDir))) return [ok(name, 'there is none yet: start makes an embedded one')];
    const server = await openEmbeddedPostgres({ dataDir, log });
    try {
      const facts = { url: server.connectionString, embedded: true, connectionsNeeded };
      return await examineDatabase(facts);
    } finally {
      await server.stop();
    }
  };
  return { name, deadlineMs: EMBEDDED_DEADLINE_MS, run: () => run().catch(embeddedFault) };
}

function embeddedFault(error: unknown): readonly Finding[] {
  if (!(error instanceof EmbeddedPostgresError)) throw error;
  const [found = '', ...mend] = error.message.split('; ');
  return [broken('database', found, mend.join('; ') || 'see postgres.log in DATA_DIR/postgres')];
}

/** As the server does, what is not asked for is not loaded. */
function objectStoreCheck({ settings, createBucket: makeBucket }: ExamineOptions): Check {
  const { objectStorage, dataDir } = settings;
  if (objectStorage === null) {
    return { name: 'object store', run: () => examineFileStore(join(dataDir, 'objects')) };
  }
  const run = async (): Promise<readonly Finding[]> => {
    const { examineObjectStorage } = await import('./adapters/s3/examine.ts');
    return examineObjectStorage(objectStorage, { makeBucket });
  };
  return { name: 'object store', deadlineMs: REMOTE_DEADLINE_MS, run };
}

function certificateChecks({ settings: { smtp } }: ExamineOptions): readonly Check[] {
  const { tls, domains } = smtp;
  return tls === null ? [] : [{ name: 'certificate', run: () => examineCertificate(tls, domains) }];
}

function redisChecks({ settings: { redisUrl } }: ExamineOptions): readonly Check[] {
  if (redisUrl === null) return [];
  const run = async (): Promise<readonly Finding[]> => {
    const { examineRedis } = await import('./adapters/bullmq/examine.ts');
    return examineRedis(redisUrl);
  };
  return [{ name: 'redis', run }];
}

function tracingChecks({ settings: { tracing } }: ExamineOptions): readonly Check[] {
  if (tracing === null) return [];
  const run = async (): Promise<readonly Finding[]> => {
    const { examineCollector } = await import('./adapters/opentelemetry/examine.ts');
    return examineCollector(tracing);
  };
  return [{ name: 'tracing', run }];
}

interface Parts {
  readonly settings: Settings;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly tracing: Tracing | undefined;
  readonly objects: ObjectStore;
  readonly pools: Pools;
  readonly courtesy: Courtesy;
  readonly url: string;
}

/** Loaded only where it is used. Closed after mail and jobs, whose last spans it sends. */
async function openTracing({ tracing }: Settings, log: Log, closers: Closers): Promise<Tracing | undefined> {
  if (tracing === null) return undefined;
  const { openTraceExport } = await import('./adapters/opentelemetry/export.ts');
  const opened = openTraceExport({ ...tracing, version: version(), log });
  closers.add('tracing', opened.close);
  log.info({ url: tracing.url, sampler: tracing.sampler.name }, 'spans are exported');
  return opened;
}

/** null: no TLS is wanted. */
async function openCertificate({ settings, log, metrics }: Parts): Promise<WatchedCertificate | null> {
  if (settings.smtp.tls === null) return null;
  const inUse = ({ notAfter }: { readonly notAfter: Date }): void => metrics.tlsCertificateInUse(notAfter);
  return watchCertificate({ ...settings.smtp.tls, log, inUse });
}

function createSmtp(
  { settings, log, metrics, tracing, objects, pools, courtesy }: Parts,
  certificate: WatchedCertificate | null,
): ReturnType<typeof createSmtpServer> {
  const router = createRouter({
    domains: settings.smtp.domains,
    organisations: createPostgresOrganisations({ pool: pools.intake }),
    blockedSenders: createPostgresBlockList({ pool: pools.intake }),
  });
  return createSmtpServer({
    receiver: createIntake({
      router,
      rawStore: createRawStore({ objects, log }),
      recorder: createRecorder({ store: createPostgresMessageStore({ pool: pools.intake }) }),
      log,
      metrics,
      tracing,
    }),
    hostName: settings.smtp.domains[0] ?? 'localhost',
    limits: {
      maxMessageBytes: settings.smtp.maxMessageBytes,
      maxConnections: settings.smtp.maxConnections,
      maxRecipients: settings.smtp.maxRecipients,
      ...(settings.objectStorage !== null && { receiverTimeoutMs: REMOTE_STORE_TIMEOUT_MS }),
    },
    ...(certificate !== null && {
      tls: { secureContext: certificate.secureContext, required: settings.smtp.requireTls },
    }),
    proxyProtocolFrom: settings.smtp.proxyProtocolFrom,
    observer: createSmtpObserver({ log, metrics, tracing, mailSeen: courtesy.mailSeen }),
  });
}

/** Loaded only where it is used: the Redis libraries take 30 MB. */
async function createRedisRelay({ settings, log, metrics, tracing, pools }: Parts): Promise<Relay | null> {
  if (settings.redisUrl === null) return null;
  const { createBullmqPublisher } = await import('./adapters/bullmq/job-publisher.ts');
  return createRelay({
    outbox: createPostgresJobOutbox({ pool: pools.worker }),
    publisher: createBullmqPublisher({ url: settings.redisUrl, queueName: 'extract_document', log, metrics }),
    log,
    tracing,
  });
}

/** The jobs, and where Redis is configured, what hands over their outcome. */
interface Worker {
  readonly jobs: JobRunner;
  readonly relay: Relay | null;
}

async function createWorker(parts: Parts): Promise<Worker> {
  const relay = await createRedisRelay(parts);
  return { relay, jobs: createJobs(parts, relay) };
}

function createJobs(
  { settings, log, metrics, tracing, objects, pools, courtesy, url }: Parts,
  relay: Relay | null,
): JobRunner {
  return createGraphileJobRunner({
    url,
    pool: pools.queue,
    concurrency: settings.worker.concurrency,
    log,
    tasks: createTasks({
      courtesy,
      tracing,
      ...(relay === null ? {} : { documentsReady: relay.wake }),
      extractor: createExtractor({
        objects,
        store: createPostgresExtractionStore({ pool: pools.worker }),
        log,
        metrics,
      }),
    }),
  });
}

function createHttp({ settings, log, metrics, objects, pools }: Parts, checks: Checks) {
  return createHttpServer({
    ...settings.http,
    log,
    metrics,
    checks: {
      database: async () => void (await pools.view.query('SELECT')),
      object_store: (signal) => objects.check(signal),
      ...checks,
    },
  });
}

interface Pools {
  readonly intake: pg.Pool;
  readonly worker: pg.Pool;
  readonly queue: pg.Pool;
  readonly view: pg.Pool;
  close(): Promise<void>;
}

/** Apart, so that a worker that is busy never keeps a commit waiting for a connection. */
function createPools(url: string, settings: Settings, log: Log): Pools {
  const open = (purpose: string, maxConnections: number, how: { repeatable?: boolean; byKeyOnly?: boolean } = {}) =>
    createPool({ url, applicationName: `orderflow-${purpose}`, maxConnections, ...how, log });
  const pools = {
    intake: open('intake', INTAKE_CONNECTIONS, { byKeyOnly: true }),
    // An extraction that a crash of the database forgets is done again, with the same ids.
    worker: open('worker', jobConnections(settings), { byKeyOnly: true, repeatable: true }),
    queue: createQueuePool({ url, log }),
    view: open('view', VIEW_CONNECTIONS),
  };
  return {
    ...pools,
    async close() {
      await Promise.all(Object.values(pools).map((pool) => pool.end()));
    },
  };
}

interface Database {
  readonly url: string;
  readonly embedded: boolean;
  close(): Promise<void>;
}

async function openDatabase(settings: Settings, log: Log): Promise<Database> {
  try {
    if (settings.databaseUrl !== null) {
      await checkDatabase(settings.databaseUrl);
      return { url: settings.databaseUrl, embedded: false, close: async () => {} };
    }
    const embedded = await openEmbeddedPostgres({ dataDir: settings.dataDir, log });
    return { url: embedded.connectionString, embedded: true, close: () => embedded.stop() };
  } catch (error) {
    throw asStartError(error);
  }
}

interface OpenedObjectStore {
  readonly objects: ObjectStore;
  close(): Promise<void>;
}

/** With `check`, a store that cannot be used ends the start. */
async function openObjectStore(
  settings: Settings,
  log: Log,
  { check = false, keepLeftovers = false }: { readonly check?: boolean; readonly keepLeftovers?: boolean } = {},
): Promise<OpenedObjectStore> {
  if (settings.objectStorage === null) {
    try {
      const objects = await createFileObjectStore({ rootDir: join(settings.dataDir, 'objects'), log, keepLeftovers });
      return { objects, close: async () => {} };
    } catch (error) {
      throw asStartError(error);
    }
  }
  // Loaded when it is asked for: the SDK takes 40 MB and a moment.
  const { createS3ObjectStore } = await import('./adapters/s3/object-store.ts');
  try {
    const spoolDir = join(settings.dataDir, 'spool');
    const objects = await createS3ObjectStore({ settings: settings.objectStorage, spoolDir, log });
    if (check) await objects.check();
    return { objects, close: async () => objects.close() };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new StartError(`the object store cannot be used: ${error.message}`, { cause: error });
  }
}

async function createFirstOrganisation(
  organisations: ReturnType<typeof createPostgresOrganisations>,
): Promise<string | null> {
  if ((await organisations.list()).length > 0) return null;
  const added = await organisations.add(FIRST_ORGANISATION, 'Acme');
  return 'problem' in added ? null : added.slug;
}

async function listen(
  smtp: ReturnType<typeof createSmtpServer>,
  settings: Settings,
): Promise<{ readonly host: string; readonly port: number }> {
  const { host, port } = settings.smtp;
  try {
    const bound = await smtp.listen({ host, port });
    return { host: bound.address, port: bound.port };
  } catch (error) {
    const reason = LISTEN_REASONS[(error as NodeJS.ErrnoException).code ?? ''];
    if (reason === undefined) throw error;
    throw new StartError(`SMTP_HOST, SMTP_PORT: cannot listen on ${host}:${port}: ${reason}`, { cause: error });
  }
}

const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program, or this server already running, has that port; choose a free SMTP_PORT',
  EACCES: 'no permission for that port; choose an SMTP_PORT of 1024 or more, or allow the process to bind low ports',
  EADDRNOTAVAIL: 'it is not an address of this machine; choose 127.0.0.1, 0.0.0.0 or one that is',
  ENOTFOUND: 'the name cannot be resolved; choose 127.0.0.1, 0.0.0.0 or a name that can',
};

/** Errors whose message is made for the operator become `StartError`; others are ours and stay what they are. */
function asStartError(error: unknown): unknown {
  if (error instanceof StoreError) {
    return new StartError(`DATA_DIR: the object store cannot be used: ${error.message}`, { cause: error });
  }
  const forTheOperator =
    error instanceof EmbeddedPostgresError ||
    error instanceof DatabaseConnectError ||
    error instanceof MigrationError ||
    error instanceof ClockError ||
    error instanceof CertificateError ||
    (error instanceof ChildFailedError && error.forOperator) ||
    error instanceof ListenError;
  return forTheOperator ? new StartError(error.message, { cause: error }) : error;
}
