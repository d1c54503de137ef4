/** What mail and jobs work with, the same in every process: the store, the pools, the counting and the tracing. */
import { readHeadersFile } from '../config/secrets.ts';
import type { Settings } from '../config/settings.ts';
import { type Courtesy, createCourtesy } from '../jobs/courtesy.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { ConnectionUrl } from '../ports/renewable-url.ts';
import type { StoreGuard } from '../ports/store-guard.ts';
import { type BoundedLines, createBoundedLines } from '../telemetry/bounded-lines.ts';
import type { Log } from '../telemetry/log.ts';
import { measureObjectStore } from '../telemetry/measured-object-store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { version } from '../version.ts';
import type { Closers } from './closers.ts';
import { openObjectStore } from './object-store.ts';
import type { Pools } from './pools.ts';
import { assertKnownStore, guardStore } from './store-guard.ts';

export interface Parts {
  readonly settings: Settings;
  readonly log: Log;
  /** Of mail and jobs together, so that one bound holds for both. */
  readonly lines: BoundedLines;
  readonly metrics: Metrics;
  readonly tracing: Tracing | undefined;
  readonly objects: ObjectStore;
  readonly storeGuard: StoreGuard;
  readonly pools: Pools;
  readonly courtesy: Courtesy;
  readonly url: ConnectionUrl;
}

/**
 * Opens the rest of them; `closers` closes them. `check`: a store that cannot be used, or that the database does not know, ends
 * the start. Without `trace`: no spans.
 */
export async function openParts(
  o: Omit<Parts, 'tracing' | 'objects' | 'storeGuard' | 'courtesy' | 'lines'>,
  closers: Closers,
  {
    check = false,
    trace = true,
    ...guarding
  }: {
    readonly check?: boolean;
    readonly trace?: boolean;
    /** In the object store, by which it is known again. */
    readonly leaveMarks: boolean;
    /** That asks the database for them: of a pool that this process uses anyway. */
    readonly marksPool: Pools['view'];
  },
): Promise<Parts> {
  const { settings, log, metrics } = o;
  const store = await openObjectStore(settings, log, { check });
  closers.add('object store', store.close);
  const objects = measureObjectStore(store.objects, metrics);
  // Before mail comes: what this database does not remember of the store ends where its own time begins.
  const storeGuard = await guardStore(
    { settings, log, objects, place: store.place, pool: guarding.marksPool, leaveMarks: guarding.leaveMarks },
    closers,
  );
  if (check) assertKnownStore(storeGuard, settings);
  const courtesy = createCourtesy();
  closers.add('courtesy', async () => courtesy.close());
  const tracing = trace ? await openTracing(settings, log, closers) : undefined;
  const lines = createBoundedLines({ log });
  closers.add('log lines', async () => lines.close());
  return { ...o, tracing, objects, storeGuard, courtesy, lines };
}

/** Loaded only where it is used. Closed after mail and jobs, whose last spans it sends. */
async function openTracing({ tracing }: Settings, log: Log, closers: Closers): Promise<Tracing | undefined> {
  if (tracing === null) return undefined;
  const { openTraceExport } = await import('../adapters/opentelemetry/export.ts');
  const { headersFile } = tracing;
  const renewHeaders = headersFile === null ? undefined : () => readHeadersFile(headersFile);
  const opened = openTraceExport({ ...tracing, renewHeaders, version: version(), log });
  closers.add('tracing', opened.close);
  log.info({ url: tracing.url, sampler: tracing.sampler.name }, 'spans are exported');
  return opened;
}
