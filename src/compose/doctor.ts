/** The program `doctor`: its own checks, and for each part behind a port a probe by its adapter. */
import {
  EmbeddedPostgresError,
  embeddedDatabaseExists,
  openEmbeddedPostgres,
} from '../adapters/embedded-postgres/embedded-postgres.ts';
import { examineFileStore } from '../adapters/fs/examine.ts';
import { examineDatabase } from '../adapters/postgres/examine.ts';
import { openLogin } from '../adapters/postgres/login.ts';
import { examineCertificate } from '../adapters/tls/examine.ts';
import type { Role } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { hostChecks, settingsChecks } from '../doctor/doctor.ts';
import { type Check, runChecks } from '../doctor/run-checks.ts';
import { broken, type Finding, ok } from '../ports/finding.ts';
import type { Log } from '../telemetry/log.ts';
import { objectsDir } from './object-store.ts';
import { connectionNeed } from './pools.ts';
import { examineMarks } from './store-guard.ts';

export interface ExamineOptions {
  readonly settings: Settings;
  readonly log: Log;
  /** UV_THREADPOOL_SIZE as this process has it. */
  readonly threadPoolSize: string | undefined;
  readonly createBucket: boolean;
  /** The store that is there now is this database's, whatever its marks say. */
  readonly adoptStore: boolean;
  /** As `start` is given them. */
  readonly roles: readonly Role[];
  readonly processes: number;
}

/** What `doctor` says. Never rejects: whatever goes wrong is a finding. */
export function examine(o: ExamineOptions): Promise<readonly Finding[]> {
  return runChecks([...hostChecks(o), ...settingsChecks(o.settings, probesOf(o))]);
}

function probesOf(o: ExamineOptions): readonly Check[] {
  return [
    ...certificateChecks(o),
    databaseCheck(o),
    objectStoreCheck(o),
    marksCheck(o),
    ...redisChecks(o),
    ...tracingChecks(o),
  ];
}

/** When the settings are wrong, this is all that can be looked at. */
export function examineHost(o: Pick<ExamineOptions, 'threadPoolSize'>): Promise<readonly Finding[]> {
  return runChecks(hostChecks(o));
}

/** The embedded server may have to be started first, and to recover. */
const EMBEDDED_DEADLINE_MS = 70_000;
/** Of several requests, each with a deadline of its own. */
const REMOTE_DEADLINE_MS = 30_000;

function databaseCheck({ settings, log, roles, processes }: ExamineOptions): Check {
  const name = 'database';
  const { databaseUrl, databaseSecret, dataDir } = settings;
  const { postmasterOrg } = settings.smtp;
  const needed = connectionNeed(settings, roles, processes);
  if (databaseUrl !== null) {
    const url = openLogin({ url: databaseUrl, secret: databaseSecret, log });
    const run = () => examineDatabase({ url, embedded: false, needed, postmasterOrg });
    return { name, deadlineMs: REMOTE_DEADLINE_MS, run };
  }
  const run = async (): Promise<readonly Finding[]> => {
    if (!(await embeddedDatabaseExists(dataDir))) return [ok(name, 'there is none yet: start makes an embedded one')];
    const server = await openEmbeddedPostgres({ dataDir, log });
    try {
      return await examineDatabase({ url: server.connectionString, embedded: true, needed, postmasterOrg });
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
  const { objectStorage } = settings;
  if (objectStorage === null) {
    return { name: 'object store', run: () => examineFileStore(objectsDir(settings)) };
  }
  const run = async (): Promise<readonly Finding[]> => {
    const { examineObjectStorage } = await import('../adapters/s3/examine.ts');
    return examineObjectStorage(objectStorage, { makeBucket });
  };
  return { name: 'object store', deadlineMs: REMOTE_DEADLINE_MS, run };
}

/** Do database and object store know each other? Only where both are there. */
function marksCheck({ settings, log, adoptStore }: ExamineOptions): Check {
  const name = 'store marks';
  const run = async (): Promise<readonly Finding[]> => {
    const there = settings.databaseUrl !== null || (await embeddedDatabaseExists(settings.dataDir));
    if (!there) return [ok(name, 'there is no database yet to know the object store')];
    return examineMarks({ settings, log, adoptStore });
  };
  return { name, deadlineMs: EMBEDDED_DEADLINE_MS, run };
}

function certificateChecks({ settings: { smtp } }: ExamineOptions): readonly Check[] {
  const { tls, domains } = smtp;
  return tls === null ? [] : [{ name: 'certificate', run: () => examineCertificate(tls, domains) }];
}

function redisChecks({ settings: { redisUrl } }: ExamineOptions): readonly Check[] {
  if (redisUrl === null) return [];
  const run = async (): Promise<readonly Finding[]> => {
    const { examineRedis } = await import('../adapters/bullmq/examine.ts');
    return examineRedis(redisUrl);
  };
  return [{ name: 'redis', run }];
}

function tracingChecks({ settings: { tracing } }: ExamineOptions): readonly Check[] {
  if (tracing === null) return [];
  const run = async (): Promise<readonly Finding[]> => {
    const { examineCollector } = await import('../adapters/opentelemetry/examine.ts');
    return examineCollector(tracing);
  };
  return [{ name: 'tracing', run }];
}
