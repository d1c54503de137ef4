/**
 * From a stored raw mail to its documents. Runs as a job: any number of times, each time with the same ids and keys, so
 * that a worker that died half-way is simply followed by another.
 *
 * A fault that may pass (store, database) fails the job, which is tried again; only what would fail again tomorrow (a
 * limit of the engine, a mail whose parts cannot be found, the raw object gone), or that no attempt is left, ends the
 * message as FAILED.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseMail } from '../mime/index.ts';
import type {
  DocumentError,
  DocumentErrorCode,
  ExtractionResult,
  ExtractionStore,
  MessageToExtract,
  NewDocument,
  Note,
} from '../ports/extraction-store.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { ErrorType, Metrics } from '../telemetry/metrics.ts';
import type { TraceSpan } from '../telemetry/tracing.ts';
import { type Collected, createCollector } from './collector.ts';
import { PARSER_VERSION } from './parser-version.ts';
import { createPauses } from './pauses.ts';

/**
 * A part that could not be stored this often, while others of the same mail could, is given up alone: the store is
 * there, and the others should not wait for days (RE-002).
 */
const ATTEMPTS_FOR_ONE_PART = 5;

export interface ExtractorOptions {
  readonly objects: ObjectStore;
  readonly store: ExtractionStore;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ExtractionJob {
  readonly inboundMessageId: string;
  readonly orgId: string;
}

/** Which run of the job this is. */
export interface Run {
  /** From 1. */
  readonly attempt: number;
  readonly lastAttempt: boolean;
  readonly signal: AbortSignal;
  readonly span?: TraceSpan | undefined;
}

export interface Extractor {
  /** Errors: whatever a later attempt may not meet. */
  extract(job: ExtractionJob, run: Run): Promise<void>;
  /** No attempt is left. Errors: when that cannot be written down now. */
  giveUp(job: ExtractionJob): Promise<void>;
}

export function createExtractor(o: ExtractorOptions): Extractor {
  return {
    async extract(job, run) {
      const { message, log } = await take(o, job);
      if (message !== null) await finish(o, message, await resultOf(o, message, run, log), log, run.span);
    },
    async giveUp(job) {
      const { message, log } = await take(o, job);
      if (message === null) return;
      o.metrics.processingError(message.orgId, 'gave-up');
      await finish(o, message, failed({ code: 'gave-up', message: 'not extracted by any of all attempts' }), log);
    },
  };
}

/** null: there is nothing to do. */
async function take(
  o: ExtractorOptions,
  { inboundMessageId, orgId }: ExtractionJob,
): Promise<{ message: MessageToExtract | null; log: Log }> {
  const message = await o.store.take(inboundMessageId, orgId);
  if (message === null) {
    o.log.warn({ org_id: orgId, inbound_message_id: inboundMessageId }, 'a job for a message that is not there');
    return { message, log: o.log };
  }
  const log = o.log.child({
    trace_id: message.traceId,
    org_id: message.orgId,
    message_id: message.sourceMessageId,
    inbound_message_id: message.id,
  });
  if (message.status !== 'PARSED' && message.status !== 'FAILED') return { message, log };
  log.debug({ status: message.status }, 'the message is finished already');
  return { message: null, log };
}

async function resultOf(o: ExtractorOptions, message: MessageToExtract, run: Run, log: Log): Promise<ExtractionResult> {
  try {
    const collected = await readMail(o, message, run, log);
    const [first] = collected.unstored;
    if (first !== undefined && !mayGiveUpParts(collected, run)) throw first.cause;
    for (const { document } of collected.unstored) {
      o.metrics.processingError(message.orgId, 'attachment-failed');
      log.error(
        { document_id: document.id, part_path: document.partPath },
        'an attachment could not be stored, giving up',
      );
    }
    return {
      documents: collected.documents,
      parts: collected.parts,
      reading: { parserVersion: PARSER_VERSION, notes: collected.notes },
      failure: collected.failure,
    };
  } catch (error) {
    if (run.signal.aborted) {
      // The process stops, or something hangs: that says nothing about the mail.
      log.warn({ reason: String(run.signal.reason) }, 'extraction interrupted, it will be tried again');
      throw error;
    }
    o.metrics.processingError(message.orgId, error instanceof StoreError ? error.code : 'unexpected');
    if (error instanceof StoreError && error.code === 'object-missing') {
      return failed({ code: 'object-missing', message: 'the raw mail is not in the object store' });
    }
    log.warn({ err: error, attempt: run.attempt }, 'extraction failed, it will be tried again');
    throw error;
  }
}

async function readMail(o: ExtractorOptions, message: MessageToExtract, run: Run, log: Log): Promise<Collected> {
  const bytes = await o.objects.get(message.rawStorageKey, { signal: run.signal });
  const collector = createCollector({
    message,
    objects: o.objects,
    signal: run.signal,
    stored(document, durationMs) {
      o.metrics.attachmentExtracted(durationMs);
      logDocument(log, document);
    },
  });
  try {
    const pause = createPauses();
    for await (const event of parseMail(bytes)) {
      run.signal.throwIfAborted();
      await collector.take(event);
      await pause();
    }
    // A step of its own, as it looks at all parts at once.
    await nextTurn();
    return collector.collected();
  } finally {
    await collector.abandon();
  }
}

function mayGiveUpParts({ documents, unstored }: Collected, run: Run): boolean {
  const storeIsThere = unstored.length > 0 && documents.some(({ status }) => status === 'STORED');
  return run.lastAttempt || (storeIsThere && run.attempt >= ATTEMPTS_FOR_ONE_PART);
}

async function finish(
  o: ExtractorOptions,
  message: MessageToExtract,
  result: ExtractionResult,
  log: Log,
  span?: TraceSpan,
): Promise<void> {
  if (!(await commit(o, message, result, span))) {
    log.info('another worker finished this message first');
    return;
  }
  const notes = loggedNotes(result);
  if (result.failure !== null) {
    const errorType = errorTypeOf(result.failure.code);
    if (errorType !== null) o.metrics.processingError(message.orgId, errorType);
    log.error({ error: result.failure, ...notes }, 'mail failed');
    span?.set({ 'orderflow.outcome': 'FAILED' });
    span?.fail(result.failure);
    return;
  }
  if (result.documents.length === 0) log.warn(notes, 'no attachments in this mail');
  else if (notes.notes !== undefined) log.warn(notes, 'mail parsed with notes');
  log.info({ documents: result.documents.length }, 'mail parsed');
  span?.set({ 'orderflow.outcome': 'PARSED', 'orderflow.documents': result.documents.length });
}

async function commit(
  o: ExtractorOptions,
  message: MessageToExtract,
  result: ExtractionResult,
  span: TraceSpan | undefined,
): Promise<boolean> {
  const committing = span?.child('commit', { 'db.system.name': 'postgresql' });
  try {
    return await o.store.finish(message, result, span?.traceparent);
  } catch (error) {
    committing?.fail(error);
    throw error;
  } finally {
    committing?.end();
  }
}

/** Neither name nor type as sent: both are the sender's words. */
function logDocument(log: Log, document: NewDocument): void {
  log.info(
    {
      document_id: document.id,
      part_path: document.partPath,
      mime_type: document.mimeType,
      size_bytes: document.sizeBytes,
    },
    'document stored',
  );
}

/** Codes and part paths only: the text holds names. Shape: nothing when there is nothing to say. */
function loggedNotes({ reading }: ExtractionResult): { readonly notes?: readonly Pick<Note, 'code' | 'part'>[] } {
  if (reading === null || reading.notes.length === 0) return {};
  return { notes: reading.notes.map(({ code, part }) => ({ code, part })) };
}

/** null: counted where it was met. */
function errorTypeOf(code: DocumentErrorCode): ErrorType | null {
  if (code === 'limit-exceeded') return 'limit-exceeded';
  return code === 'no-part-readable' ? 'malformed' : null;
}

const failed = (failure: DocumentError): ExtractionResult => ({ documents: [], parts: [], reading: null, failure });
