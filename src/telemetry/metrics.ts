/** The Prometheus metrics. Every label value comes from a closed set or is the id of one of our organisations. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { InboundMessageStatus } from '../ports/message-store.ts';
import { askWithDeadline } from './deadline.ts';
import type { Log } from './log.ts';

export type EmailStatus = 'accepted' | 'duplicate' | 'conflict' | 'rejected';

export const errorTypes = [
  'directory-unavailable',
  'store-unavailable',
  'storage-full',
  'object-missing',
  'database-unavailable',
  'outcome-unknown',
  'deadline',
  'malformed',
  'limit-exceeded',
  'attachment-failed',
  'gave-up',
  'jobs-unavailable',
  'unexpected',
] as const;
export type ErrorType = (typeof errorTypes)[number];

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
  connectionClosed(): void;
  objectStoreOperation(operation: ObjectStoreOperation, durationMs: number): void;
  /** The text of a scrape. Never rejects because of the database: its gauges are then left out of the answer. */
  scrape(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Counts that only the database knows. */
export interface DatabaseCounts {
  readonly messages: readonly { readonly status: InboundMessageStatus; readonly count: number }[];
  readonly jobs: readonly { readonly task: string; readonly count: number }[];
}

export interface MetricsOptions {
  /** Asked at every scrape. */
  readonly databaseCounts?: (signal: AbortSignal) => Promise<DatabaseCounts>;
  readonly databaseDeadlineMs?: number;
  readonly log?: Log;
}

/** Well below Prometheus' default scrape timeout of 10 s. */
const defaultDatabaseDeadlineMs = 2_000;

const statuses: readonly InboundMessageStatus[] = ['RECEIVED', 'STORED', 'PARSED', 'FAILED'];
const ownTasks = ['extract_attachments', 'extract_document'] as const;

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const instruments = createInstruments(registry);
  const refresh = createRefresh(registry, options);
  return {
    emailReceived: (orgId, status) => instruments.received.inc({ org_id: orgLabel(orgId), status }),
    processingError: (orgId, errorType) =>
      instruments.errors.inc({ org_id: orgLabel(orgId), error_type: errorLabel(errorType) }),
    attachmentExtracted: (durationMs) => instruments.extraction.observe(durationMs),
    messageSize: (sizeBytes) => instruments.messageSize.observe(sizeBytes),
    acknowledged: (durationMs) => instruments.acknowledgement.observe(durationMs / 1000),
    connectionOpened: () => instruments.connections.inc(),
    connectionClosed: () => instruments.connections.dec(),
    objectStoreOperation: (op, durationMs) => instruments.objectStore.observe({ op }, durationMs / 1000),
    async scrape() {
      await refresh();
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

/** Never something a sender wrote: what does not look like an id of ours is `unknown`, so series cannot multiply. */
function orgLabel(orgId: string | null): string {
  return orgId !== null && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(orgId) ? orgId : 'unknown';
}

const knownErrorTypes: ReadonlySet<string> = new Set(errorTypes);
const errorLabel = (errorType: ErrorType): ErrorType => (knownErrorTypes.has(errorType) ? errorType : 'unexpected');

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
  const { databaseCounts, log } = options;
  if (databaseCounts === undefined) return async () => {};
  const ask = askWithDeadline(databaseCounts, options.databaseDeadlineMs ?? defaultDatabaseDeadlineMs);
  return async () => {
    messages.reset();
    jobs.reset();
    try {
      const counts = await ask();
      for (const status of statuses) messages.set({ status }, 0);
      for (const task of ownTasks) jobs.set({ task }, 0);
      for (const { status, count } of counts.messages) messages.set({ status }, count);
      for (const { task, count } of counts.jobs) jobs.set({ task }, count);
    } catch (error) {
      log?.warn({ err: error }, 'the database could not be asked for its metrics');
    }
  };
}
