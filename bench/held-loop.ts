/**
 * How long one step holds the event loop: from one turn of the loop to the next. Other programs on the machine are not to
 * count, so it is the processor time of this thread, and the tick by which kernels may count that too short; or the time on
 * the clock, where that is less. What the garbage collector took of a step on this thread is told beside it: it is part
 * of the wait of others, and no work of the step.
 */
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Units: milliseconds. */
export interface LongestStep {
  readonly ms: number;
  /** Of these, in the garbage collector. */
  readonly collectingMs: number;
}

interface Step extends LongestStep {
  readonly from: number;
  readonly to: number;
}

/** Of a kernel with 250 Hz. */
const TICK_MS = 4;

/** So many of the longest are kept: one that was mostly collecting may not be the longest without that. */
const KEPT_STEPS = 50;

/** The longest step while `work` is under way, by what it took without the collector. */
export async function longestStep(work: () => Promise<void>): Promise<LongestStep> {
  const collections: { readonly from: number; readonly to: number }[] = [];
  const keep = (entries: readonly PerformanceEntry[]): void => {
    for (const { startTime, duration } of entries) collections.push({ from: startTime, to: startTime + duration });
  };
  const observer = new PerformanceObserver((list) => keep(list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  const steps: Step[] = [];
  let over = false;
  let [from, cpu] = [performance.now(), threadMs()];
  const turn = (): void => {
    const [to, now] = [performance.now(), threadMs()];
    steps.push({ ms: Math.min(to - from, now - cpu + TICK_MS), collectingMs: 0, from, to });
    if (steps.length > 20 * KEPT_STEPS) keepLongest(steps);
    [from, cpu] = [to, now];
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  try {
    await work();
  } finally {
    over = true;
    await nextTurn();
    await nextTurn();
    keep(observer.takeRecords());
    observer.disconnect();
  }
  keepLongest(steps);
  const told = steps.map((step) => ({ ms: step.ms, collectingMs: Math.min(step.ms, overlap(step, collections)) }));
  return told.reduce((a, b) => (b.ms - b.collectingMs > a.ms - a.collectingMs ? b : a), { ms: 0, collectingMs: 0 });
}

function keepLongest(steps: Step[]): void {
  steps.sort((a, b) => b.ms - a.ms).splice(KEPT_STEPS);
}

function overlap(step: Step, collections: readonly { readonly from: number; readonly to: number }[]): number {
  return collections.reduce(
    (sum, { from, to }) => sum + Math.max(0, Math.min(to, step.to) - Math.max(from, step.from)),
    0,
  );
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
