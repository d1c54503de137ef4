/**
 * What several processes have counted, as one: of the living what each said last, of the dead what never falls.
 *
 * prom-client's own `clusterMetrics()` is not used: it leaves out the process that asks, fails whole when one child does
 * not answer within five seconds, and forgets what a child that died had counted, so that totals go backwards.
 */
import { AggregatorRegistry, type Registry } from 'prom-client';

/** Everything that a process has counted, as its registry tells it. Crosses between processes as plain data. */
export type MetricsSnapshot = readonly SnapshotMetric[];
type SnapshotMetric = Awaited<ReturnType<Registry['getMetricsAsJSON']>>[number];

export interface ProcessMetrics<Process> {
  /** What a living process said just now. */
  learn(process: Process, snapshot: MetricsSnapshot): void;
  /** It is gone: its counters and histograms stay in the totals, its gauges vanish. */
  depart(process: Process): void;
  /** One for each living process that has said anything, and one for all that are gone. */
  snapshots(): readonly MetricsSnapshot[];
}

export function createProcessMetrics<Process>(): ProcessMetrics<Process> {
  const living = new Map<Process, MetricsSnapshot>();
  let departed: MetricsSnapshot = [];
  return {
    learn: (process, snapshot) => void living.set(process, snapshot),
    depart(process) {
      const last = living.get(process) ?? [];
      living.delete(process);
      departed = merged([departed, last.filter(neverFalls)]);
    },
    snapshots: () => [departed, ...living.values()],
  };
}

/** The text of a scrape over several processes; `own` is of the one that answers it. */
export function combinedText(own: MetricsSnapshot, others: readonly MetricsSnapshot[]): Promise<string> {
  return aggregate([own.map(keptHere), ...others]).metrics();
}

function aggregate(snapshots: readonly MetricsSnapshot[]): Registry {
  return AggregatorRegistry.aggregate([...snapshots]);
}

/** What the aggregate holds has its values beside it, which its declaration does not say. */
function merged(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  return aggregate(snapshots).getMetricsAsArray() as SnapshotMetric[];
}

/** prom-client drops what cannot be summed, the start time above all; that of the first process is that of the whole. */
function keptHere(metric: SnapshotMetric): SnapshotMetric {
  return metric.aggregator === 'omit' ? { ...metric, aggregator: 'first' } : metric;
}

/** As JSON its type is a word; the declared enum is of another shape. */
function neverFalls({ type }: SnapshotMetric): boolean {
  return ['counter', 'histogram'].includes(String(type));
}
