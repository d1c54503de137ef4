/** Runs the checks behind `/readyz` and says in words what is wrong, without a secret and without an address. */
import { askWithDeadline, DeadlineError } from '../telemetry/deadline.ts';
import type { Log } from '../telemetry/log.ts';

/** Resolves when the dependency can do its work now. */
export type Check = (signal: AbortSignal) => Promise<void>;

/** What somebody should hear of a part that works all the same; null: nothing. Where it cannot be asked, nothing is said. */
export type Details = () => Promise<PartDetails | null>;

type PartDetails = Readonly<Record<string, unknown>>;

/** Shape: by the names `/readyz` shows: `database`, `object_store`, `jobs`; `smtp` where other processes take mail. */
export type Checks = Readonly<Record<string, Check>>;

export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, PartReadiness>>;
}

/** `since`: when it was last known to work, or was first asked in vain; ISO 8601. */
export interface PartReadiness {
  readonly ready: boolean;
  readonly reason?: string;
  readonly since?: string;
  readonly details?: PartDetails;
}

export interface ReadinessOptions {
  readonly checks: Checks;
  /** Names of checks that, once they have passed, are told and decide no more. */
  readonly toldOnly?: readonly string[];
  /** By the same names. */
  readonly details?: Readonly<Record<string, Details>>;
  readonly deadlineMs: number;
  readonly log: Log;
}

export function createReadiness(options: ReadinessOptions): () => Promise<Readiness> {
  const decisive = new Set(Object.keys(options.checks));
  const probes = Object.entries(options.checks).map(([name, check]) => ({
    name,
    ask: askWithDeadline((signal) => withDetails(check(signal), options.details?.[name]), options.deadlineMs),
    report: createReporter(name, options.log),
    failing: createSince(),
  }));
  return async () => {
    const outcomes = await Promise.all(
      probes.map(async ({ name, ask, report, failing }): Promise<readonly [string, PartReadiness]> => {
        try {
          const details = await ask();
          report(null);
          failing.over();
          if (options.toldOnly?.includes(name)) decisive.delete(name);
          return [name, details === null ? { ready: true } : { ready: true, details }];
        } catch (error) {
          const reason = inWords(error, options.deadlineMs);
          report({ error, reason });
          return [name, { ready: false, reason, since: failing.since(error) }];
        }
      }),
    );
    return {
      ready: outcomes.every(([name, { ready }]) => ready || !decisive.has(name)),
      checks: Object.fromEntries(outcomes),
    };
  };
}

async function withDetails(checked: Promise<void>, details: Details | undefined): Promise<PartDetails | null> {
  await checked;
  return (await details?.().catch(() => null)) ?? null;
}

/** Since when a part is not ready: by its own word where it has one, otherwise since it was first asked in vain. */
function createSince(): { since(error: unknown): string; over(): void } {
  let first: number | null = null;
  return {
    since(error) {
      const own = (error as { since?: unknown }).since;
      first = Math.min(first ?? Date.now(), own instanceof Date ? own.getTime() : Number.POSITIVE_INFINITY);
      return new Date(first).toISOString();
    },
    over() {
      first = null;
    },
  };
}

/** Probes come every few seconds: only a change is worth a line, and the full cause stands only there. */
function createReporter(name: string, log: Log): (failure: { error: unknown; reason: string } | null) => void {
  let last: string | null = null;
  return (failure) => {
    const reason = failure?.reason ?? null;
    if (reason === last) return;
    last = reason;
    if (failure === null) log.info({ check: name }, 'ready again');
    else log.warn({ check: name, err: failure.error }, `not ready: ${failure.reason}`);
  };
}

/** By error code of Node, PostgreSQL or the object store port. Never the error's own text: it may name anything. */
const reasonsByCode: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections: it is not running, or not at the configured address',
  ECONNRESET: 'closed the connection',
  EPIPE: 'closed the connection',
  ETIMEDOUT: 'cannot be reached: the connection timed out',
  EHOSTUNREACH: 'cannot be reached: no route to the host',
  ENETUNREACH: 'cannot be reached: no route to the network',
  ENOTFOUND: 'cannot be found: its host name does not resolve',
  EAI_AGAIN: 'cannot be found: the name service does not answer',
  ENOENT: 'is not there: its directory or socket is missing',
  EACCES: 'denies access: permissions',
  EPERM: 'denies access: permissions',
  EROFS: 'is read-only',
  ENOSPC: 'has no room left',
  EDQUOT: 'has no room left: quota',
  ESRCH: 'has no process at the moment: its successor is being started',
  EMFILE: 'cannot be opened: too many open files in this process',
  '28P01': 'refuses our user name or password',
  '28000': 'refuses our user name or password',
  '3D000': 'has no database of the configured name',
  '42501': 'denies access: permissions',
  '42P01': 'has not been brought up to date: run migrate',
  '53100': 'has no room left',
  '53300': 'has too many connections open',
  '57P01': 'is shutting down',
  '57P02': 'has crashed and is restarting',
  '57P03': 'is starting up or shutting down',
  '25006': 'is read-only',
  'storage-full': 'has no room left',
  'store-unavailable': 'cannot be reached or written to',
  'jobs-not-running': 'do not run: their worker has stopped and is started again',
  'jobs-starting': 'do not run yet: their worker has finished none since it started',
  'store-unmarked': 'is not the one that the database knows: no mark of it is there (empty, new or not mounted)',
  'store-foreign': 'is not the one that the database knows: it holds the marks of another',
  'store-outdated': 'is an older copy of the one that the database knows: the last mark is not in it',
  'store-unasked': 'could not be asked yet whether it is the one that the database knows',
  'no-job-finished': 'do not run: none was finished for 30 s, not even a heartbeat',
};

/** What node-postgres says without a code when a server is silent. */
const SILENT: ReadonlySet<string> = new Set([
  'Query read timeout',
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Connection terminated due to connection timeout',
]);

function inWords(error: unknown, deadlineMs: number): string {
  for (const one of causes(error)) {
    if (SILENT.has(one.message)) return 'gives no answer';
    if (one instanceof DeadlineError || one.name === 'TimeoutError') return `gave no answer within ${deadlineMs} ms`;
    const code = (one as { code?: unknown }).code;
    const reason = typeof code === 'string' && Object.hasOwn(reasonsByCode, code) ? reasonsByCode[code] : undefined;
    if (reason !== undefined) return reason;
  }
  return 'failed; the log says more';
}

/** The most specific first: a store's `store-unavailable` is caused by something more telling. */
function causes(error: unknown, depth = 0): Error[] {
  if (!(error instanceof Error) || depth > 5) return [];
  const inner = error instanceof AggregateError ? error.errors.slice(0, 3) : [error.cause];
  return [...inner.flatMap((one) => causes(one, depth + 1)), error];
}
