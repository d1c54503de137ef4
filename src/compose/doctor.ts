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
import {
  checkDomains,
  checkPort25,
  checkStartTls,
  EXAMPLE_DOMAIN,
  judgeRoute,
  mxHostNames,
} from '../doctor/mail-arrival.ts';
import { createMailDns } from '../doctor/mail-dns.ts';
import { findMailRoute, type MailRoute } from '../doctor/mail-route.ts';
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
  /** Asked for by name: only where their mail goes is looked at. Empty: all is, for the domains of the settings. */
  readonly mailDomains: readonly string[];
  /** Name servers, with a port where it is not 53; null: those of this machine. */
  readonly dnsServers: readonly string[] | null;
}

/** What `doctor` says. Never rejects: whatever goes wrong is a finding. */
export function examine(o: ExamineOptions): Promise<readonly Finding[]> {
  const arrival = mailChecks(o);
  if (o.mailDomains.length > 0) return runChecks(arrival);
  return runChecks([...hostChecks(o), ...settingsChecks(o.settings, [...arrival, ...probesOf(o)])]);
}

function probesOf(o: ExamineOptions): readonly Check[] {
  return [databaseCheck(o), objectStoreCheck(o), marksCheck(o), ...redisChecks(o), ...tracingChecks(o)];
}

/** When the settings are wrong, this is all that can be looked at. */
export function examineHost(o: Pick<ExamineOptions, 'threadPoolSize'>): Promise<readonly Finding[]> {
  return runChecks(hostChecks(o));
}

/** Four seconds for DNS, three each for who answers at an MX host and on our own port 25. */
const MAIL_DEADLINE_MS = 15_000;

/** DNS is asked once, for MX records and certificate. */
function mailChecks({ settings, mailDomains, dnsServers }: ExamineOptions): readonly Check[] {
  const { smtp } = settings;
  const firstDomain = smtp.domains[0] ?? EXAMPLE_DOMAIN;
  // Of the example's domain nobody has to ask, unless somebody wants to know.
  const asked = mailDomains.length > 0 ? mailDomains : smtp.domains.filter((domain) => domain !== EXAMPLE_DOMAIN);
  const dns = createMailDns({ servers: dnsServers });
  const routes: Promise<readonly MailRoute[]> = Promise.all(
    asked.map((domain) => findMailRoute(domain, { dns, announcedName: firstDomain })),
  );
  const judge = (route: MailRoute) => judgeRoute(route, { ours: smtp.domains.includes(route.domain), firstDomain });
  const { tls } = smtp;
  const deadlineMs = MAIL_DEADLINE_MS;
  const certificate = async (): Promise<readonly Finding[]> => {
    if (tls === null) return checkStartTls(smtp);
    const mxHosts = mxHostNames(await routes);
    return examineCertificate(tls, mxHosts === null ? { hostNames: smtp.domains } : { hostNames: [], mxHosts });
  };
  return [
    { name: 'domain', run: async () => checkDomains(mailDomains.length > 0 ? mailDomains : smtp.domains) },
    { name: 'mx', deadlineMs, run: async () => (await routes).flatMap(judge) },
    { name: 'port 25', deadlineMs, run: async () => checkPort25(smtp, firstDomain, await routes) },
    { name: 'certificate', deadlineMs, run: certificate },
  ];
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
