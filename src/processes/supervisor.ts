/**
 * Keeps the children: starts all, puts another in the place of one that dies, stops them in order, and gathers what they
 * have counted.
 *
 * A place is: starting, ready, waiting (its child died; the next is due after a delay), or, when everything stops, over.
 * A child that does not become ready ends the start; later it is tried again for as long as it takes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../telemetry/log.ts';
import { createProcessMetrics, type MetricsSnapshot } from '../telemetry/process-metrics.ts';
import { type Child, type ChildEnd, startChild } from './child-process.ts';
import type { ChildPlan } from './plan.ts';
import type { Address, Assignment } from './protocol.ts';

/** Mails and jobs under way have ten seconds, what is then to be closed some more; then the process is killed. */
const STOP_MS = 20_000;
/** One that lived this long did not die of starting: another takes its place at once. */
const SETTLED_MS = 10_000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;
/** Prometheus gives up after 10 s; a busy child that is later than this is told with what it said last. */
const METRICS_DEADLINE_MS = 2_000;
/** What a child counts between two questions is lost when it is killed. */
const METRICS_INTERVAL_MS = 5_000;

export interface Supervisor {
  /** Resolves with the SMTP address when all are ready. Errors: `ChildFailedError` of the first that is not. */
  start(): Promise<Address | null>;
  /** Of all, living and gone. Never rejects. */
  metrics(): Promise<readonly MetricsSnapshot[]>;
  /** Resolves when a process takes mail and could accept one. */
  checkSmtp(): Promise<void>;
  /** Resolves when jobs are done. */
  checkJobs(): Promise<void>;
  /** Another takes the place of each, one after the other, and is ready before the old one stops. Never rejects. */
  replaceAll(): Promise<void>;
  /** Every child reads again what may change. */
  reload(): Promise<void>;
  /** Resolves when no child is left. Errors: says which had to be killed, or did not end in order. */
  stop(): Promise<void>;
}

interface Place {
  readonly plan: ChildPlan;
  /** null while waiting. */
  child: Child | null;
  ready: boolean;
  /** Its successor is being started while it still works. */
  giving: boolean;
  /** Ends in a row of children that had not settled. */
  failures: number;
  retry: NodeJS.Timeout | null;
}

export interface SupervisorOptions {
  readonly plans: readonly ChildPlan[];
  readonly assign: (plan: ChildPlan) => Assignment;
  /** Whether anybody will ask for metrics. */
  readonly gatherMetrics: boolean;
  readonly log: Log;
}

export function createSupervisor(o: SupervisorOptions): Supervisor {
  const { log } = o;
  const places = o.plans.map(
    (plan): Place => ({ plan, child: null, ready: false, giving: false, failures: 0, retry: null }),
  );
  const living = new Set<Child>();
  const counted = createProcessMetrics<Child>();
  let phase: 'starting' | 'running' | 'stopping' = 'starting';
  let replacing: Promise<void> | null = null;
  let asking: Promise<void> | null = null;

  // However this process ends, a second Ctrl-C or a fault of ours: nobody is left behind. (Where even this cannot run,
  // after SIGKILL, the children see their channel close.)
  const killAll = (): void => {
    for (const child of living) child.signal('SIGKILL');
  };
  process.once('exit', killAll);

  function begin(plan: ChildPlan): Child {
    const child = startChild(o.assign(plan));
    living.add(child);
    void child.ended.then(() => {
      living.delete(child);
      const last = child.lastMetrics();
      if (last !== undefined) counted.learn(child, last as MetricsSnapshot);
      counted.depart(child);
    });
    return child;
  }

  function settle(place: Place, child: Child): void {
    place.child = child;
    place.ready = true;
    void child.ended.then((end) => {
      if (place.child === child) lost(place, end);
    });
  }

  function lost(place: Place, end: ChildEnd): void {
    place.child = null;
    place.ready = false;
    if (phase !== 'running' || place.giving) return;
    place.failures = end.livedMs >= SETTLED_MS ? 0 : place.failures + 1;
    const delayMs = place.failures === 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (place.failures - 1));
    const facts = { child: place.plan.name, reason: end.reason, delay_ms: delayMs };
    // Somebody has asked it to: with SIGTERM, to it alone.
    if (end.clean) log.warn(facts, 'a process ended, another takes its place');
    else log.error(facts, 'a process ended, another takes its place');
    place.retry = setTimeout(() => {
      place.retry = null;
      const child = begin(place.plan);
      place.child = child;
      child.ready.then(
        () => {
          log.info({ child: place.plan.name, child_pid: child.pid }, 'the process is replaced');
          settle(place, child);
        },
        // Its end says why, once it has come.
        async () => lost(place, await child.ended),
      );
    }, delayMs);
  }

  async function startAll(): Promise<Address | null> {
    const addresses = await Promise.all(
      places.map(async (place) => {
        const child = begin(place.plan);
        const address = await child.ready;
        settle(place, child);
        return address;
      }),
    );
    return addresses.find((address) => address !== null) ?? null;
  }

  async function askMetrics(): Promise<void> {
    await Promise.all(
      [...living].map(async (child) => {
        try {
          counted.learn(child, (await child.ask('metrics', METRICS_DEADLINE_MS)) as MetricsSnapshot);
        } catch {
          // What it said last stands.
        }
      }),
    );
  }

  /** Callers at the same time share one question, so that an older answer never comes after a newer. */
  function refreshMetrics(): Promise<void> {
    asking ??= askMetrics().finally(() => {
      asking = null;
    });
    return asking;
  }
  const gathering = o.gatherMetrics ? setInterval(() => void refreshMetrics(), METRICS_INTERVAL_MS).unref() : undefined;

  async function replaceInTurn(): Promise<void> {
    for (const place of places) {
      const old = place.child;
      // One that is waiting for its successor anyway gets it by itself.
      if (phase !== 'running' || old === null || !place.ready) continue;
      const next = begin(place.plan);
      place.giving = true;
      try {
        await next.ready;
      } catch (error) {
        log.error(
          { child: place.plan.name, reason: (error as Error).message },
          'a process cannot be replaced, it goes on',
        );
        place.giving = false;
        if (place.child === null) lost(place, await next.ended);
        return;
      }
      place.giving = false;
      settle(place, next);
      log.info({ child: place.plan.name, child_pid: next.pid }, 'the process is replaced');
      await stopOne(old);
    }
  }

  return {
    async start() {
      const address = await startAll();
      const early = places.find(({ ready }) => !ready);
      if (early) throw new Error(`process ${early.plan.name} ended while others were starting`);
      phase = 'running';
      return address;
    },
    async metrics() {
      await refreshMetrics();
      return counted.snapshots();
    },
    async checkSmtp() {
      const takers = places.filter(({ plan, ready }) => ready && plan.roles.includes('smtp'));
      if (takers.length === 0) throw Object.assign(new Error('no process takes mail'), { code: 'ESRCH' });
      try {
        // One is enough, whatever keeps the others from answering.
        await Promise.any(takers.map(({ child }) => child?.ask('check', STOP_MS)));
      } catch (error) {
        throw (error as AggregateError).errors[0];
      }
    },
    async checkJobs() {
      const place = places.find(({ plan }) => plan.roles.includes('worker'));
      if (!place?.child || !place.ready) throw Object.assign(new Error('no process runs jobs'), { code: 'ESRCH' });
      await place.child.ask('check', STOP_MS);
    },
    replaceAll() {
      replacing ??= replaceInTurn().finally(() => {
        replacing = null;
      });
      return replacing;
    },
    async reload() {
      for (const child of living) child.reload();
    },
    async stop() {
      const started = phase === 'running';
      phase = 'stopping';
      clearInterval(gathering);
      for (const { retry } of places) if (retry !== null) clearTimeout(retry);
      const problems = (await Promise.all([...living].map(stopOne))).flat();
      process.off('exit', killAll);
      // What keeps one from starting is told by `start`.
      if (started && problems.length > 0) throw new Error(`not in order: ${problems.join(', ')}`);
    },
  };
}

/** Never rejects. Shape: what did not end in order. */
async function stopOne(child: Child): Promise<readonly string[]> {
  child.stop();
  const over = new AbortController();
  const late = sleep(STOP_MS, null, { signal: over.signal }).catch(() => null);
  let end = await Promise.race([child.ended, late]);
  over.abort();
  if (end === null) {
    child.signal('SIGKILL');
    end = await child.ended;
  }
  if (end.clean) return [];
  return [`${child.name} (${end.unclosed.join(', ') || end.reason})`];
}
