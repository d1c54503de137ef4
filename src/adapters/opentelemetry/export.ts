/**
 * Sends spans to an OTLP receiver over HTTP, in batches, beside the mail: what cannot be sent is dropped, and told of once.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { Log } from '../../telemetry/log.ts';
import { reasonOf } from './reason.ts';
import { createTracing, type OpenedTracing } from './tracing.ts';

/** What waits to be sent; more is dropped. A span takes about 2 KB: 4 MB at most, and as much again on its way. */
const MAX_WAITING_SPANS = 2_048;
const BATCH_SPANS = 512;
/** All that waits at a stop, and one batch that was on its way. */
const MAX_REQUESTS = MAX_WAITING_SPANS / BATCH_SPANS + 1;
/** As the SDK says it, by a name in a package that is not ours to import. */
const EXPORTED = 0;

const timing = {
  batchEveryMs: 2_000,
  /** With all its repetitions. */
  sendTimeoutMs: 10_000,
  /** A stop has more to do than this. */
  lastSpansMs: 2_000,
};

export type SamplerName =
  | 'always_on'
  | 'always_off'
  | 'traceidratio'
  | 'parentbased_always_on'
  | 'parentbased_always_off'
  | 'parentbased_traceidratio';

export interface TraceExportOptions {
  /** Where the spans are posted. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Asked when they are refused: others, where there are some by now. null: none can be had. */
  readonly renewHeaders?: (() => Readonly<Record<string, string>> | null) | undefined;
  readonly serviceName: string;
  readonly resourceAttributes: Readonly<Record<string, string>>;
  readonly sampler: { readonly name: SamplerName; readonly ratio: number };
  readonly version: string;
  readonly log: Log;
  /** For tests. */
  readonly timing?: Partial<typeof timing>;
}

/** `close` sends what is left, for as long as a stop can wait. It never rejects. */
export function openTraceExport(o: TraceExportOptions): OpenedTracing & { close(): Promise<void> } {
  const tracing = createTracing({
    version: o.version,
    provider: { spanProcessors: [batches(o, reporter(o))], resource: resourceOf(o), sampler: samplerOf(o.sampler) },
  });
  return {
    ...tracing,
    async close() {
      const over = new AbortController();
      const late = sleep(o.timing?.lastSpansMs ?? timing.lastSpansMs, 'late', { signal: over.signal }).catch(() => {});
      // What goes wrong has been told by the exporter.
      const outcome = await Promise.race([tracing.shutdown().catch(() => {}), late]);
      over.abort();
      if (outcome === 'late') o.log.warn('the last spans could not be exported in time');
    },
  };
}

/** The SDK's own batches, and a count of what they would drop without a word. */
function batches(o: TraceExportOptions, report: Reporter): SpanProcessor {
  const { sendTimeoutMs, batchEveryMs } = { ...timing, ...o.timing };
  let headers = o.headers;
  const exporter = new OTLPTraceExporter({
    url: o.url,
    headers: async () => ({ ...headers }),
    timeoutMillis: sendTimeoutMs,
    concurrencyLimit: MAX_REQUESTS,
  });
  let waiting = 0;
  const processor = new BatchSpanProcessor({
    exporter: {
      export(spans, done) {
        waiting -= spans.length;
        exporter.export(spans, (result) => {
          if (result.code === EXPORTED) report.sent();
          else report.lost(spans.length, reasonOf(result.error));
          if (isRefusal(result.error)) headers = o.renewHeaders?.() ?? headers;
          done(result);
        });
      },
      shutdown: () => exporter.shutdown(),
    },
    maxQueueSize: MAX_WAITING_SPANS,
    maxExportBatchSize: BATCH_SPANS,
    scheduledDelayMillis: batchEveryMs,
    exportTimeoutMillis: sendTimeoutMs + 1_000,
  });
  return {
    onStart: (span, context) => processor.onStart(span, context),
    onEnd(span) {
      if (waiting >= MAX_WAITING_SPANS) return report.lost(1, 'more spans than the receiver takes');
      waiting += 1;
      processor.onEnd(span);
    },
    forceFlush: () => processor.forceFlush(),
    shutdown: () => processor.shutdown(),
  };
}

const isRefusal = (error: unknown): boolean => [401, 403].includes(Number((Object(error) as { code?: unknown }).code));

/** One life of a process is one instance; what else is worth knowing of it, its platform says in OTEL_RESOURCE_ATTRIBUTES. */
const resourceOf = ({ serviceName, resourceAttributes, version }: TraceExportOptions) =>
  resourceFromAttributes({
    'service.version': version,
    'service.instance.id': randomUUID(),
    'process.pid': process.pid,
    ...resourceAttributes,
    'service.name': serviceName,
  });

function samplerOf({ name, ratio }: TraceExportOptions['sampler']): Sampler {
  const byParent = (root: Sampler): Sampler => new ParentBasedSampler({ root });
  const samplers: Readonly<Record<SamplerName, () => Sampler>> = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
    parentbased_always_on: () => byParent(new AlwaysOnSampler()),
    parentbased_always_off: () => byParent(new AlwaysOffSampler()),
    parentbased_traceidratio: () => byParent(new TraceIdRatioBasedSampler(ratio)),
  };
  return samplers[name]();
}

interface Reporter {
  sent(): void;
  lost(spans: number, reason: string): void;
}

/** Attempts go on for as long as the receiver is away: only a change is worth a line. */
function reporter({ url, log }: TraceExportOptions): Reporter {
  const endpoint = new URL(url).origin;
  let lostSpans = 0;
  return {
    sent() {
      if (lostSpans > 0) log.info({ endpoint, lost_spans: lostSpans }, 'spans are exported again');
      lostSpans = 0;
    },
    lost(spans, reason) {
      if (lostSpans === 0) log.warn({ endpoint, reason }, 'spans cannot be exported, they are dropped; mail goes on');
      lostSpans += spans;
    },
  };
}
