/** The Prometheus metrics. Every label value comes from a closed set or is the id of one of our organisations. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { InboundMessageStatus } from '../ports/message-store.ts';
import { type Reply, replies } from '../smtp/index.ts';
import { askWithDeadline } from './deadline.ts';
import type { Log } from './log.ts';
import { combinedText, type MetricsSnapshot } from './process-metrics.ts';

export type EmailStatus = 'accepted' | 'duplicate' | 'conflict' | 'rejected';

export const errorTypes = [
  'directory-unavailable',
  'store-unavailable',
  'storage-full',
  'object-missing',
  'database-unavailable',
  'outcome-unknown',
  'row-refused',
  'deadline',
  'malformed',
  'limit-exceeded',
  'attachment-failed',
  'gave-up',
  'redis-unavailable',
  'unexpected',
] as const;
export type ErrorType = (typeof errorTypes)[number];

export const tlsOutcomes = ['completed', 'failed', 'timeout'] as const;
export type TlsOutcome = (typeof tlsOutcomes)[number];

export const tlsVersions = ['none', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3', 'other'] as const;

export const objectStoreOperations = ['put', 'get', 'head', 'copy', 'remove', 'list', 'check'] as const;
export type ObjectStoreOperation = (typeof objectStoreOperations)[number];

/** `orgId` is the id of an organisation of ours, or null: nobody's, or unknown. */
export interface Metrics {
  emailReceived(orgId: string | null, status: EmailStatus): void;
  processingError(orgId: string | null, errorType: ErrorType): void;
  /** Once for each document. */
  attachmentExtracted(durationMs: number): void;
  messageSize(sizeBytes: number): void;
  /** From the end of DATA to the reply. */
  acknowledged(durationMs: number): void;
  connectionOpened(): void;
  /** `tlsVersion`: null for one that stayed in the clear. */
  connectionClosed(tlsVersion: string | null): void;
  tlsHandshake(outcome: TlsOutcome): void;
  tlsCertificateInUse(notAfter: Date): void;
  replied(reply: Pick<Reply, 'code' | 'condition'>): void;
  objectStoreOperation(operation: ObjectStoreOperation, durationMs: number): void;
  /** Of each part of `/readyz`, by its name there: can it do its work now? */
  readiness(parts: Readonly<Record<string, { readonly ready: boolean }>>): void;
  /** The text of a scrape. Never rejects because of the database: its gauges are then left out of the answer. */
  scrape(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** What this process has counted, for the one that answers scrapes. */
  snapshot(): Promise<MetricsSnapshot>;
}

export const documentStatuses = ['UPLOADED', 'STORED', 'PROCESSING', 'EXTRACTED', 'FAILED'] as const;

/** `oldestStoredSeconds`: how long the document that has been STORED for longest has waited; 0 when there is none. */
export interface DocumentCounts {
  readonly counts: readonly { readonly status: (typeof documentStatuses)[number]; readonly count: number }[];
  readonly oldestStoredSeconds: number;
}

/** Counts that only the database knows. */
export interface DatabaseCounts {
  readonly documents: DocumentCounts;
  readonly messages: readonly { readonly status: InboundMessageStatus; readonly count: number }[];
  /** `oldestAgeSeconds`: since it was added, however often it was tried. */
  readonly jobs: readonly { readonly task: string; readonly count: number; readonly oldestAgeSeconds: number }[];
  /** Objects that a restore has made rowless; null where they are not counted yet. */
  readonly gap?: { readonly mails: number; readonly documents: number } | null;
}

/** Of the file system that a folder is on. `freeBytes`: what a process without privileges may still write. */
export interface DiskSpace {
  readonly freeBytes: number;
  readonly sizeBytes: number;
}

export interface MetricsOptions {
  /** Asked at every scrape. */
  readonly databaseCounts?: (signal: AbortSignal) => Promise<DatabaseCounts>;
  readonly databaseDeadlineMs?: number;
  /** Of the data folder, asked at every scrape. Shape: null when there is no such folder. */
  readonly diskSpace?: () => Promise<DiskSpace | null>;
  /** Of the program. */
  readonly version?: string;
  /** Those of the application, beside the protocol's: told from the first scrape on. */
  readonly refusals?: readonly Reply[];
  /** What other processes of ours have counted, asked at every scrape. Never rejects. */
  readonly otherProcesses?: () => Promise<readonly MetricsSnapshot[]>;
  readonly log?: Log;
}

/** Well below Prometheus' default scrape timeout of 10 s. */
const defaultDatabaseDeadlineMs = 2_000;
const diskDeadlineMs = 2_000;

const statuses: readonly InboundMessageStatus[] = ['RECEIVED', 'STORED', 'PARSED', 'FAILED'];
const ownTasks = ['extract_attachments', 'extract_document'] as const;

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const instruments = createInstruments(registry);
  const replied = createReplyCounter(registry, [...Object.values(replies), ...(options.refusals ?? [])]);
  const tls = createTlsInstruments(registry);
  createBuildInfo(registry, options.version ?? 'unknown');
  const refreshers = [createRefresh(registry, options), createDiskRefresh(registry, options)];
  const refreshAll = () => Promise.all(refreshers.map((refresh) => refresh()));
  return {
    emailReceived: (orgId, status) => instruments.received.inc({ org_id: orgLabel(orgId), status }),
    processingError: (orgId, errorType) =>
      instruments.errors.inc({ org_id: orgLabel(orgId), error_type: errorLabel(errorType) }),
    attachmentExtracted: (durationMs) => instruments.extraction.observe(durationMs),
    messageSize: (sizeBytes) => instruments.messageSize.observe(sizeBytes),
    acknowledged: (durationMs) => instruments.acknowledgement.observe(durationMs / 1000),
    connectionOpened: () => instruments.connections.inc(),
    connectionClosed(tlsVersion) {
      instruments.connections.dec();
      tls.connections.inc({ tls_version: tlsVersionLabel(tlsVersion) });
    },
    tlsHandshake: (outcome) => tls.handshakes.inc({ outcome }),
    tlsCertificateInUse: (notAfter) => tls.notAfter.set(notAfter.getTime() / 1000),
    replied,
    readiness(parts) {
      for (const [part, { ready }] of Object.entries(parts)) instruments.ready.set({ part }, ready ? 1 : 0);
    },
    objectStoreOperation: (op, durationMs) => instruments.objectStore.observe({ op }, durationMs / 1000),
    async scrape() {
      const [others] = await Promise.all([options.otherProcesses?.(), refreshAll()]);
      const text = others ? await combinedText(await registry.getMetricsAsJSON(), others) : await registry.metrics();
      return { contentType: registry.contentType, text };
    },
    async snapshot() {
      await refreshAll(); // Takes out what only the process that answers scrapes may tell.
      return await registry.getMetricsAsJSON();
    },
  };
}

/** Never something a sender wrote: what does not look like an id of ours is `unknown`, so series cannot multiply. */
function orgLabel(orgId: string | null): string {
  return orgId !== null && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(orgId) ? orgId : 'unknown';
}

const knownErrorTypes: ReadonlySet<string> = new Set(errorTypes);
const errorLabel = (errorType: ErrorType): ErrorType => (knownErrorTypes.has(errorType) ? errorType : 'unexpected');

const knownTlsVersions: ReadonlySet<string> = new Set(tlsVersions);

function tlsVersionLabel(version: string | null): string {
  if (version === null) return 'none';
  return knownTlsVersions.has(version) ? version : 'other';
}

function createTlsInstruments(registry: Registry) {
  const registers = [registry];
  const handshakes = new Counter({
    name: 'smtp_tls_handshakes_total',
    help: 'Handshakes after STARTTLS by outcome: completed, failed, timeout',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of tlsOutcomes) handshakes.inc({ outcome }, 0);
  const connections = new Counter({
    name: 'smtp_connections_total',
    help: 'SMTP connections by TLS version (none: in the clear), counted when they end',
    labelNames: ['tls_version'],
    registers,
  });
  for (const version of tlsVersions) connections.inc({ tls_version: version }, 0);
  const notAfter = new Gauge({
    name: 'smtp_tls_certificate_not_after_seconds',
    help: 'Unix time at which the certificate in use expires; 0 without TLS',
    registers,
    // All processes use the same files; of those that do not take mail it is 0.
    aggregator: 'max',
  });
  return { handshakes, connections, notAfter };
}

/** Over several processes a gauge is summed, unless it names another `aggregator`. */
function createInstruments(registry: Registry) {
  const registers = [registry];
  return {
    received: new Counter({
      name: 'smtp_emails_received_total',
      help: 'Mails by organisation and outcome: accepted, duplicate, conflict, rejected',
      labelNames: ['org_id', 'status'],
      registers,
    }),
    extraction: new Histogram({
      name: 'smtp_attachment_extraction_duration_ms',
      help: 'Milliseconds to extract and store one attachment: observed once for each document',
      buckets: [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000],
      registers,
    }),
    errors: new Counter({
      name: 'smtp_processing_errors_total',
      help: 'Faults while taking in or reading mail, by organisation and kind',
      labelNames: ['org_id', 'error_type'],
      registers,
    }),
    ready: new Gauge({
      name: 'ready',
      help: 'Whether a part of /readyz can do its work: 1 or 0',
      labelNames: ['part'],
      registers,
      aggregator: 'first',
    }),
    connections: new Gauge({ name: 'smtp_connections', help: 'SMTP connections open now', registers }),
    messageSize: new Histogram({
      name: 'smtp_message_size_bytes',
      help: 'Bytes of the mails taken in',
      buckets: [1_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000, 26_214_400, 104_857_600],
      registers,
    }),
    acknowledgement: new Histogram({
      name: 'smtp_ack_duration_seconds',
      help: 'Seconds from the end of DATA to the reply',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    objectStore: new Histogram({
      name: 'object_store_duration_seconds',
      help: 'Seconds an operation on the object store takes',
      labelNames: ['op'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
  };
}

/**
 * Several replies for each mail: they are counted in plain numbers, and in the registry's terms only when it is asked.
 * Every reply stands there from the first scrape: the first 451 is then a rise, not the beginning of a series.
 */
function createReplyCounter(registry: Registry, known: readonly Reply[]): Metrics['replied'] {
  const counts = new Map(known.map(({ condition, code }) => [condition, { code: String(code), count: 0 }]));
  new Counter({
    name: 'smtp_replies_total',
    help: 'SMTP replies by code and by the condition they answer; docs/replies.md lists them',
    labelNames: ['code', 'condition'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [condition, { code, count }] of counts) this.inc({ code, condition }, count);
    },
  });
  return ({ condition, code }) => {
    const counted = counts.get(condition);
    if (counted === undefined) counts.set(condition, { code: String(code), count: 1 });
    else counted.count++;
  };
}

function createBuildInfo(registry: Registry, version: string): void {
  new Gauge({
    name: 'orderflow_build_info',
    help: 'Always 1; its labels name the running program and its Node',
    labelNames: ['version', 'node'],
    registers: [registry],
    aggregator: 'first',
  }).set({ version, node: process.versions.node }, 1);
}

/** A file system that does not answer costs its own gauges only. */
function createDiskRefresh(registry: Registry, options: MetricsOptions): () => Promise<void> {
  const gauge = (name: string, help: string): Gauge =>
    new Gauge({ name, help, registers: [registry], aggregator: 'first' });
  const free = gauge('data_dir_free_bytes', 'Bytes that can still be written to DATA_DIR');
  const size = gauge('data_dir_size_bytes', 'Bytes of the file system that DATA_DIR is on');
  const { diskSpace, log } = options;
  const ask = diskSpace === undefined ? null : askWithDeadline(diskSpace, diskDeadlineMs);
  return async () => {
    free.remove();
    size.remove();
    try {
      const space = (await ask?.()) ?? null;
      if (space === null) return;
      free.set(space.freeBytes);
      size.set(space.sizeBytes);
    } catch (error) {
      log?.warn({ err: error }, 'DATA_DIR could not be asked for its free space');
    }
  };
}

/** Sets the gauges that the database knows; when it cannot be asked they vanish rather than show yesterday's truth. */
function createRefresh(registry: Registry, options: MetricsOptions): () => Promise<void> {
  const registers = [registry];
  const messages = new Gauge({
    name: 'inbound_messages',
    help: 'Messages in the database by status',
    labelNames: ['status'],
    registers,
  });
  const jobs = new Gauge({
    name: 'jobs_waiting',
    help: 'Jobs not yet done by task',
    labelNames: ['task'],
    registers,
  });
  const oldest = new Gauge({
    name: 'jobs_oldest_waiting_seconds',
    help: 'Age of the oldest job not yet done by task; 0 when there is none',
    labelNames: ['task'],
    registers,
    aggregator: 'max',
  });
  const documents = createDocumentGauges(registry);
  const gap = new Gauge({
    name: 'store_gap_objects',
    help: 'Objects without a row of a time that a restored database does not remember, by kind: mail, document',
    labelNames: ['kind'],
    registers,
  });
  const { databaseCounts, log } = options;
  if (databaseCounts === undefined) return async () => {};
  const ask = askWithDeadline(databaseCounts, options.databaseDeadlineMs ?? defaultDatabaseDeadlineMs);
  return async () => {
    messages.reset();
    jobs.reset();
    oldest.reset();
    documents.forget();
    gap.reset();
    try {
      const counts = await ask();
      for (const status of statuses) messages.set({ status }, 0);
      for (const task of ownTasks) {
        jobs.set({ task }, 0);
        oldest.set({ task }, 0);
      }
      for (const { status, count } of counts.messages) messages.set({ status }, count);
      for (const { task, count, oldestAgeSeconds } of counts.jobs) {
        jobs.set({ task }, count);
        oldest.set({ task }, oldestAgeSeconds);
      }
      documents.tell(counts.documents);
      if (counts.gap) {
        gap.set({ kind: 'mail' }, counts.gap.mails);
        gap.set({ kind: 'document' }, counts.gap.documents);
      }
    } catch (error) {
      log?.warn({ err: error }, 'the database could not be asked for its metrics');
    }
  };
}

function createDocumentGauges(registry: Registry) {
  const registers = [registry];
  const byStatus = new Gauge({
    name: 'documents',
    help: 'Documents in the database by status',
    labelNames: ['status'],
    registers,
  });
  const oldest = new Gauge({
    name: 'document_oldest_stored_seconds',
    help: 'Age of the oldest document that is STORED, waiting for the next stage; 0 when there is none',
    registers,
    aggregator: 'max',
  });
  return {
    forget() {
      byStatus.reset();
      oldest.remove();
    },
    tell({ counts, oldestStoredSeconds }: DocumentCounts) {
      for (const status of documentStatuses) byStatus.set({ status }, 0);
      for (const { status, count } of counts) byStatus.set({ status }, count);
      oldest.set(oldestStoredSeconds);
    },
  };
}
