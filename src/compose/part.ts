/** The program of a child process of `start`: mail, or jobs, on a database that its parent keeps. */
import { createCommitProbe } from '../adapters/postgres/commit-probe.ts';
import { openLogin } from '../adapters/postgres/login.ts';
import type { Role, RunningPart } from '../cli/context.ts';
import type { Settings } from '../config/settings.ts';
import { refusals } from '../intake/refusals.ts';
import { takeOverConsole } from '../telemetry/library-console.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics } from '../telemetry/metrics.ts';
import { version } from '../version.ts';
import { createClosers } from './closers.ts';
import { databaseTakesMail } from './database.ts';
import { asStartError } from './errors.ts';
import { takeMailAndJobs } from './mail-and-jobs.ts';
import { openParts } from './parts.ts';
import { createPools } from './pools.ts';
import { createWorker } from './worker.ts';

/** A child process ends before its parent loses patience with it. */
const PART_CLOSE_MS = 18_000;

/** Some roles in a child process: its parent has opened and migrated the database, and answers HTTP for it. */
export async function startPart(o: {
  readonly settings: Settings;
  readonly roles: readonly Role[];
  readonly databaseUrl: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<RunningPart> {
  const { settings, roles, log } = o;
  takeOverConsole(log);
  const closers = createClosers({ log, totalMs: PART_CLOSE_MS });
  try {
    const url = openLogin({ url: o.databaseUrl, secret: settings.databaseSecret, log });
    await databaseTakesMail({ ...o, databaseUrl: url });
    const pools = createPools(url, settings, log);
    closers.add('database connections', pools.close);
    const metrics = createMetrics({ version: version(), refusals: Object.values(refusals), log });
    const parts = await openParts({ settings, log, metrics, pools, url }, closers, {
      leaveMarks: false, // Its parent does.
      marksPool: roles.includes('smtp') ? pools.intake : pools.worker,
    });
    const worker = roles.includes('worker') ? await createWorker(parts) : null;
    const checkSmtp = createCommitProbe({ pool: pools.intake });
    const here = await takeMailAndJobs(parts, roles, worker, closers);
    log.info({ roles, smtp: here.smtp }, 'process started');
    return {
      ...here,
      check: async () => {
        if (roles.includes('smtp')) await checkSmtp();
        await worker?.jobs.check();
      },
      metrics: metrics.snapshot,
      stop: closers.closeAll,
    };
  } catch (error) {
    await closers.closeAll();
    throw asStartError(error);
  }
}
