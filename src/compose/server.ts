/**
 * The program `start`: the database, the object store and HTTP, and the roles that were asked for, in this process or
 * in children that it looks after.
 */

import { readDiskSpace } from '../adapters/fs/disk-space.ts';
import { createCommitProbe } from '../adapters/postgres/commit-probe.ts';
import { missingPostmaster } from '../adapters/postgres/examine-postmaster.ts';
import { readDatabaseCounts } from '../adapters/postgres/gauges.ts';
import { migrate as migrateDatabase } from '../adapters/postgres/migrate.ts';
import { createPostgresOrganisations } from '../adapters/postgres/organisations.ts';
import type { Role, RunningServer } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import type { Checks } from '../http/readiness.ts';
import { createHttpServer } from '../http/server.ts';
import { refusals } from '../intake/refusals.ts';
import { type ConnectionUrl, renewable } from '../ports/renewable-url.ts';
import { type ProcessPlan, planProcesses, shareOf } from '../processes/plan.ts';
import { createSupervisor, type Supervisor } from '../processes/supervisor.ts';
import { takeOverConsole } from '../telemetry/library-console.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { version } from '../version.ts';
import { createClosers } from './closers.ts';
import { openDatabase } from './database.ts';
import { asStartError, StopError } from './errors.ts';
import { assertPortsFree } from './free-ports.ts';
import { MAIL_AND_JOBS, takeMailAndJobs } from './mail-and-jobs.ts';
import { openParts, type Parts } from './parts.ts';
import { createPools } from './pools.ts';
import { countGap, detailsOfRestore } from './restored-gap.ts';
import { asNotReady } from './store-guard.ts';
import { createWorker, type Worker } from './worker.ts';

const FIRST_ORGANISATION = 'acme';

export async function startServer(o: {
  readonly settings: Settings;
  readonly roles: readonly Role[];
  /** That take mail on the one port. */
  readonly processes: number;
  readonly log: Log;
}): Promise<RunningServer> {
  const { settings, roles, log } = o;
  const plan = planProcesses(roles, o.processes);
  takeOverConsole(log);
  const closers = createClosers({ log });
  try {
    await assertPortsFree(settings, roles);
    const database = await openDatabase(settings, log, { toWrite: true });
    closers.add('database', database.close);
    await migrateDatabase({ url: database.url, log });
    const pools = createPools(database.url, settings, log);
    closers.add('database connections', pools.close);
    const organisations = createPostgresOrganisations({ pool: pools.view });
    const firstOrganisation = database.embedded ? await createFirstOrganisation(organisations) : null;

    const children = plan.children.length === 0 ? null : createChildren(plan, o, database.url);
    const metrics = createMetrics({
      refusals: Object.values(refusals),
      databaseCounts: () => readDatabaseCounts(pools.view),
      ...(children === null ? {} : { otherProcesses: () => children.metrics() }),
      diskSpace: () => readDiskSpace(settings.dataDir),
      version: version(),
      log,
    });
    const parts = await openParts({ settings, log, metrics, pools, url: database.url }, closers, {
      check: true,
      // With children, they take mail and run jobs, and trace it.
      trace: children === null,
      leaveMarks: roles.includes('smtp'),
      marksPool: pools.view,
    });

    if (roles.includes('smtp')) countGap(parts, closers);

    const worker = plan.here.includes('worker') ? await createWorker(parts) : null;
    // HTTP before the rest, so that /readyz tells of them; it closes last.
    const http = roles.includes('http')
      ? createHttp(parts, readinessOf(parts, roles, worker, children), children)
      : null;
    const httpAddress = (await http?.listen()) ?? null;
    if (http !== null) closers.add('http', http.close);
    if (children !== null) closers.add(MAIL_AND_JOBS, children.stop);
    const here = children === null ? await takeMailAndJobs(parts, roles, worker, closers) : null;
    const smtpAddress = here?.smtp ?? (await children?.start()) ?? null;

    const known = await organisations.list();
    const slugs = known.filter(({ disabled }) => !disabled).map(({ slug }) => slug);
    if (roles.includes('smtp')) warnOfPostmaster(settings, known, log);
    log.info({ roles, processes: o.processes, smtp: smtpAddress, http: httpAddress }, 'started');
    return {
      smtp: smtpAddress,
      http: httpAddress,
      databaseUrl: renewable(database.url).current,
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

function warnOfPostmaster({ smtp }: Settings, known: readonly { readonly slug: string }[], log: Log): void {
  const wanted = smtp.postmasterOrg;
  if (wanted !== null && !known.some(({ slug }) => slug === wanted)) log.warn(missingPostmaster(wanted));
}

async function createFirstOrganisation(
  organisations: ReturnType<typeof createPostgresOrganisations>,
): Promise<string | null> {
  if ((await organisations.list()).length > 0) return null;
  const added = await organisations.add(FIRST_ORGANISATION, 'Acme');
  return 'problem' in added ? null : added.slug;
}

function createChildren(
  plan: ProcessPlan,
  o: { readonly settings: Settings; readonly roles: readonly Role[]; readonly processes: number; readonly log: Log },
  url: ConnectionUrl,
): Supervisor {
  const settings = shareOf(o.settings, o.processes);
  return createSupervisor({
    plans: plan.children,
    // A replacement gets the login of its moment.
    assign: ({ name, roles }) => ({ name, roles, settings, databaseUrl: renewable(url).current }),
    gatherMetrics: o.roles.includes('http'),
    log: o.log,
  });
}

/** What `/readyz` asks of mail and jobs: of the roles that this process, or its children, have. */
function readinessOf(
  { pools }: Parts,
  roles: readonly Role[],
  worker: Worker | null,
  children: Supervisor | null,
): Checks {
  const smtp = children?.checkSmtp ?? createCommitProbe({ pool: pools.intake });
  const jobs = children?.checkJobs ?? (() => worker?.jobs.check() ?? Promise.resolve());
  return { ...(roles.includes('smtp') ? { smtp } : {}), ...(roles.includes('worker') ? { jobs } : {}) };
}

/** One that can be written to, and is ours. A folder that another was mounted over fails first, and is then asked whose it is. */
async function checkStore({ objects, storeGuard }: Parts, signal: AbortSignal): Promise<void> {
  const known = storeGuard.objection();
  if (known !== null) throw asNotReady(known);
  try {
    await objects.check(signal);
  } catch (error) {
    const objection = await storeGuard.ask().catch(() => null);
    throw objection === null ? error : asNotReady(objection);
  }
}

function createHttp(parts: Parts, checks: Checks, children: Supervisor | null) {
  const { settings, log, metrics, pools } = parts;
  return createHttpServer({
    ...settings.http,
    log,
    metrics,
    // Processes that only take mail go on whatever becomes of the one that reads it.
    toldOnly: children === null ? [] : ['jobs'],
    checks: {
      database: pools.checkAcceptance,
      object_store: (signal) => checkStore(parts, signal),
      ...checks,
    },
    details: { database: () => detailsOfRestore(pools) },
  });
}
