/**
 * The product under a steady load of every kind, looked at each second: memory behind a collection, descriptors, what keeps the
 * event loop, series of metrics. After a warm-up none of them may have a slope; each bound says why it is what it is.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { makeCertificateIn, opensslProblem } from '../../src/testing/certificate.ts';
import { cleanUp } from '../../src/testing/clean-up.ts';
import { scrape } from '../../src/testing/scrape.ts';
import { temporaryFolder } from '../../src/testing/temporary-folder.ts';
import { openFrontDoor, SLUGS } from '../durability/front-door.ts';
import { PROBE_VARIABLE, type ProbeSample } from './probe.ts';
import { fitLine, type Line, type Sample } from './slope.ts';
import { startSteadyLoad } from './steady-load.ts';

export type Measure = 'heap' | 'external' | 'rss' | 'descriptors' | 'resources' | 'series';

/** What a fitted line may rise. */
export interface Bound {
  /** From the first window to the last, whatever the time between. */
  readonly rise: number;
  /** More than that, for each action of the load; what stays of a session stays of each. */
  readonly perAction: number;
}

const mib = 2 ** 20;

/**
 * heap         An entry of a Map for each session takes 120 bytes and more: 30 would be one of four. The rise is for what V8
 *              compiles and learns late: 0.50 MiB in seven minutes (2026-11-29). What jobs left for 15 minutes was 1.3 MiB.
 * external     Buffers of mails are pooled and reused; a single one of 4 KiB that stays of every tenth session is 400.
 * rss          The allocator keeps and splits what it was given; only a guard for what the two above do not count.
 * descriptors  Connections of a pool that were never all in use before, folders that are kept open. One that stays of every
 *              fiftieth action rises by hundreds in ten minutes.
 * resources    The same, with the timers of what is under way; those that keep nothing going are seen by the heap alone.
 * series       Values of closed sets that are met late. A label for each mail rises by thousands.
 */
export const bounds: Readonly<Record<Measure, Bound>> = {
  heap: { rise: 0.6 * mib, perAction: 30 },
  external: { rise: 1 * mib, perAction: 30 },
  rss: { rise: 16 * mib, perAction: 100 },
  descriptors: { rise: 20, perAction: 0 },
  resources: { rise: 20, perAction: 0 },
  series: { rise: 24, perAction: 0 },
};

export interface SoakOptions {
  readonly warmUpMs: number;
  readonly measuredMs: number;
  /** Default: all. */
  readonly judged?: readonly Measure[];
  readonly told?: (line: string) => void;
}

export interface Finding {
  readonly measure: Measure;
  readonly line: Line;
  readonly rise: number;
  readonly allowed: number;
}

export interface SoakReport {
  readonly actions: number;
  /** Actions by kind, the warm-up with them. */
  readonly done: ReadonlyMap<string, number>;
  readonly surprises: readonly string[];
  /** Scrapes that were not answered in time. */
  readonly missed: number;
  readonly fitted: readonly Finding[];
  readonly samples: Readonly<Record<Measure, readonly Sample[]>>;
  /** Of the last sample. */
  readonly resources: Readonly<Record<string, number>>;
  /** The metrics with most series at the end. */
  readonly largestMetrics: readonly string[];
}

const actionsPerSecond = 40;

export async function soak(t: TestContext, options: SoakOptions): Promise<SoakReport> {
  const folder = await temporaryFolder(t);
  const probeFile = join(folder, 'probe.jsonl');
  const tls = opensslProblem() === null ? makeCertificateIn(join(folder, 'tls')) : null;
  const door = await openFrontDoor(t, {
    env: {
      LOG_LEVEL: 'error',
      NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'probe.ts')).href}`,
      [PROBE_VARIABLE]: probeFile,
      ...(tls === null ? {} : { SMTP_TLS_CERT_FILE: tls.certFile, SMTP_TLS_KEY_FILE: tls.keyFile }),
    },
  });
  const { pid, httpUrl } = door.product;
  const load = startSteadyLoad({
    smtpPort: door.port,
    httpUrl,
    slug: SLUGS[0] ?? '',
    tls: tls !== null,
    actionsPerSecond,
  });
  cleanUp(t, () => load.stop());
  await sleep(options.warmUpMs);
  const before = load.total;
  const samples = emptySamples();
  let metrics = '';
  let missed = 0;
  let resources: SoakReport['resources'] = {};
  const begun = performance.now();
  while (performance.now() - begun < options.measuredMs) {
    try {
      metrics = await scrape(httpUrl);
    } catch {
      missed++; // Also this process may have got no turn for seconds.
      continue;
    }
    const sample = lastSample(probeFile, pid);
    resources = sample.resources;
    const values = valuesOf(sample, pid, metrics);
    for (const [measure, value] of Object.entries(values) as [Measure, number][])
      samples[measure].push({ atMs: performance.now() - begun, value });
    if (samples.heap.length % 60 === 0) options.told?.(progress(values));
  }
  const actions = load.total - before;
  await load.stop();
  const judged = options.judged ?? (Object.keys(bounds) as Measure[]);
  return {
    actions,
    done: load.done,
    surprises: load.surprises,
    fitted: judged.map((measure) => judge(measure, samples[measure], actions)),
    samples,
    missed,
    resources,
    largestMetrics: largestMetrics(metrics),
  };
}

export function judge(measure: Measure, samples: readonly Sample[], actions: number): Finding {
  const line = fitLine(samples);
  const { rise, perAction } = bounds[measure];
  return { measure, line, rise: line.last - line.first, allowed: rise + perAction * actions };
}

/** The lines of a report, and what is too much first. */
export function describeSoak(report: SoakReport): string {
  const shown = (measure: Measure, value: number): string =>
    ['heap', 'external', 'rss'].includes(measure) ? `${(value / mib).toFixed(2)} MiB` : value.toFixed(1);
  const rows = report.fitted.map(({ measure, line, rise, allowed }) =>
    [
      measure,
      shown(measure, line.first),
      shown(measure, line.last),
      shown(measure, rise),
      shown(measure, allowed),
      `${shown(measure, line.perMinute)}/min`,
      rise > allowed ? 'RISES' : 'ok',
    ].map((cell, index) => (index === 0 ? cell.padEnd(12) : cell.padStart(14))),
  );
  const head = ['measure', 'at first', 'at last', 'rise', 'allowed', 'slope', ''];
  return [
    head.map((cell, index) => (index === 0 ? cell.padEnd(12) : cell.padStart(14))).join(''),
    ...rows.map((row) => row.join('')),
    `${report.actions} actions while measured; all: ${[...report.done].map(([name, count]) => `${name} ${count}`).join(', ')}`,
    `${report.samples.heap.length} samples, ${report.missed} missed`,
    `resources at the end: ${JSON.stringify(report.resources)}`,
    `most series: ${report.largestMetrics.join(', ')}`,
    `${report.surprises.length} answers not expected${report.surprises.length > 0 ? `: ${report.surprises.slice(0, 5).join('; ')}` : ''}`,
  ].join('\n');
}

function emptySamples(): Record<Measure, Sample[]> {
  return { heap: [], external: [], rss: [], descriptors: [], resources: [], series: [] };
}

function valuesOf(sample: ProbeSample, pid: number, metrics: string): Record<Measure, number> {
  return {
    heap: sample.heapBytes,
    external: sample.externalBytes,
    rss: sample.rssBytes,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    resources: Object.values(sample.resources).reduce((sum, count) => sum + count, 0),
    series: seriesOf(metrics).length,
  };
}

/** The last whole line of the server's own process. */
function lastSample(file: string, pid: number): ProbeSample {
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  for (const line of lines.toReversed()) {
    const sample = JSON.parse(line) as ProbeSample;
    if (sample.pid === pid) return sample;
  }
  throw new Error('the probe has told nothing');
}

const seriesOf = (metrics: string): readonly string[] =>
  metrics.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

function largestMetrics(metrics: string): readonly string[] {
  const counts = new Map<string, number>();
  for (const line of seriesOf(metrics)) {
    const name = line.split(/[{ ]/, 1)[0] ?? '';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a);
  return sorted.slice(0, 5).map(([name, count]) => `${name} ${count}`);
}

function progress(values: Record<Measure, number>): string {
  const { heap, rss, descriptors, resources, series } = values;
  return `heap ${(heap / mib).toFixed(2)} MiB, rss ${(rss / mib).toFixed(0)} MiB, ${descriptors} descriptors, ${resources} resources, ${series} series`;
}
