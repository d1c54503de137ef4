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
import { type StoreGuard, StoreNotKnownError } from '../ports/store-guard.ts';
import type { BoundedLine, BoundedLines } from '../telemetry/bounded-lines.ts';
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
/** In the line of the mail: 2 KB of ids. The rest is in the database, where the mail is found by its own id. */
const MAX_LOGGED_DOCUMENTS = 50;

export interface ExtractorOptions {
  readonly objects: ObjectStore;
  readonly store: ExtractionStore;
  /** Asked before a raw mail is called missing: in another store all are. */
  readonly storeGuard?: Pick<StoreGuard, 'ask'> | undefined;
  readonly log: Log;
  readonly lines: BoundedLines;
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
    for (const _ of collected.unstored) o.metrics.processingError(message.orgId, 'attachment-failed');
    if (first !== undefined) {
      const facts = idsOf(collected.unstored.map(({ document }) => document));
      o.lines.write({ level: 'error', log, facts, message: 'attachments could not be stored, giving up' });
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
      const facts = { reason: String(run.signal.reason) };
      o.lines.write({ level: 'warn', log, facts, message: 'extraction interrupted, it will be tried again' });
      throw error;
    }
    const errorType = error instanceof StoreError ? error.code : 'unexpected';
    o.metrics.processingError(message.orgId, errorType);
    if (error instanceof StoreError && error.code === 'object-missing') {
      if (!(await isGone(o, message, log))) throw error;
      return failed({ code: 'object-missing', message: 'the raw mail is not in the object store' });
    }
    const facts = { err: error, attempt: run.attempt };
    o.lines.write({ level: 'warn', log, facts, message: 'extraction failed, it will be tried again', kind: errorType });
    throw error;
  }
}

/**
 * One look decides nothing that is final: is this the store that the database knows, is the object still not there, and is it that
 * store still? Errors: `StoreNotKnownError`, and those of who cannot be asked; the job is then tried again.
 */
async function isGone(o: ExtractorOptions, message: MessageToExtract, log: Log): Promise<boolean> {
  await assertKnownStore(o, log);
  if ((await o.objects.head(message.rawStorageKey)) !== null) return false;
  // It may have been taken away between the two.
  await assertKnownStore(o, log);
  return true;
}

async function assertKnownStore(o: ExtractorOptions, log: Log): Promise<void> {
  const objection = (await o.storeGuard?.ask()) ?? null;
  if (objection === null) return;
  log.warn({ reason: objection.code }, 'a raw mail is missing from a store that is not the known one: the job waits');
  throw new StoreNotKnownError(objection);
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
  const { orgId, traceId, sizeBytes } = message;
  o.lines.received({ bytes: sizeBytes, payFor: 'reading', orgId, traceId });
  const tell = (level: BoundedLine['level'], text: string, facts: BoundedLine['facts']): void =>
    void o.lines.write({ level, log, facts, message: text, orgId });
  if (!(await commit(o, message, result, span))) return tell('info', 'another worker finished this message first', {});
  const notes = loggedNotes(result);
  if (result.failure !== null) {
    const errorType = errorTypeOf(result.failure.code);
    if (errorType !== null) o.metrics.processingError(message.orgId, errorType);
    tell('error', 'mail failed', { error: result.failure, ...notes });
    span?.set({ 'orderflow.outcome': 'FAILED' });
    span?.fail(result.failure);
    return;
  }
  if (result.documents.length === 0) tell('warn', 'no attachments in this mail', notes);
  else if (notes.notes !== undefined) tell('warn', 'mail parsed with notes', notes);
  tell('info', 'mail parsed', idsOf(result.documents));
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

/** So that Message-ID → message → document is one grep. */
const idsOf = (documents: readonly NewDocument[]) => ({
  documents: documents.length,
  document_ids: documents.slice(0, MAX_LOGGED_DOCUMENTS).map(({ id }) => id),
});

/** Neither name nor type as sent: both are the sender's words. */
function logDocument(log: Log, document: NewDocument): void {
  log.debug(
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
