/**
 * Takes the events of one mail and makes documents of them: a decision for every leaf part, an object for every document.
 *
 * Parts overlap: a forwarded mail is kept whole while its own attachments go by. Of messages inside one that is kept, no
 * further copy is made, so two files at most are written at the same time, and each byte of a mail twice.
 */
import { v5 as uuidV5 } from 'uuid';
import { createDocumentRule, type Defect, type MailEvent, type PartBegin } from '../mime/index.ts';
import type { DocumentError, MessageToExtract, NewDocument, Note, PartDecision } from '../ports/extraction-store.ts';
import { documentKey } from '../ports/keys.ts';
import { type ObjectStore, StoreError } from '../ports/object-store.ts';
import { comparePartPaths } from '../ports/part-path.ts';
import { listedName, MAX_DOCUMENTS } from './bounds.ts';
import { defectsOfBytes } from './byte-defects.ts';
import { distinctFileNames } from './distinct-names.ts';
import { documentFileName } from './file-name.ts';
import { effectiveMediaType } from './media-type.ts';
import { createNoteCollector, notedOf } from './notes.ts';
import { openPartFile, type PartFile, type StoredPart } from './part-file.ts';
import { createReadability } from './readability.ts';

export interface Collected {
  /** In the order of the parts, FAILED ones too. */
  readonly documents: readonly NewDocument[];
  /** In the order of the parts. */
  readonly parts: readonly PartDecision[];
  readonly notes: readonly Note[];
  /** Those of the documents that could not be stored. */
  readonly unstored: readonly UnstoredPart[];
  /** What is wrong with the mail itself: a bound of the engine was reached, or none of its parts could be found. */
  readonly failure: DocumentError | null;
}

export interface UnstoredPart {
  readonly document: NewDocument;
  readonly cause: StoreError;
}

export interface Collector {
  /** Errors: what is no fault of a single part. */
  take(event: MailEvent): Promise<void>;
  /** After the last event. */
  collected(): Collected;
  /** Closes what is open; to be called however the reading ended. */
  abandon(): Promise<void>;
}

interface OpenPart {
  readonly part: PartBegin;
  readonly reason: string;
  /** null: not a document. */
  readonly file: PartFile | null;
  readonly startedAt: number;
}

export function createCollector(o: {
  readonly message: MessageToExtract;
  readonly objects: ObjectStore;
  readonly signal: AbortSignal;
  readonly stored: (document: NewDocument, durationMs: number) => void;
}): Collector {
  const { message } = o;
  const rule = createDocumentRule();
  const open = new Map<string, OpenPart>();
  const documents = new Map<string, NewDocument>();
  const parts = new Map<string, PartDecision>();
  const unsettled: PartBegin[] = [];
  const unstored: UnstoredPart[] = [];
  const notes = createNoteCollector();
  const readability = createReadability();
  let limit: DocumentError | null = null;
  let begun = 0;
  let beyondLimit = 0;

  const idOf = (path: string): string => uuidV5(path, message.id);

  const begin = (part: PartBegin): void => {
    const { document, reason, settled } = rule.verdict(part);
    const refusal = document ? refusalOf(part) : null;
    if (refusal !== null) {
      if (refusal === 'document-limit') beyondLimit++;
      open.set(part.path, { part, reason: refusal, file: null, startedAt: 0 });
      return;
    }
    if (!settled) unsettled.push(part);
    if (document) begun++;
    open.set(part.path, { part, reason, file: document ? fileFor(part) : null, startedAt: performance.now() });
  };

  /** Why a part that could be a document does not become one; null when it does. */
  const refusalOf = (part: PartBegin): 'within-message' | 'document-limit' | null => {
    if (isMessage(part) && isInsideKept(part)) return 'within-message';
    return begun >= MAX_DOCUMENTS ? 'document-limit' : null;
  };

  /** A message around it is kept whole, and so is this. */
  const isInsideKept = ({ messagePath }: PartBegin): boolean => {
    for (const [path, { file }] of open) {
      if (file !== null && (messagePath === `${path}.m` || messagePath.startsWith(`${path}.m.`))) return true;
    }
    return false;
  };

  const fileFor = (part: PartBegin): PartFile => {
    const { declaredMediaType, fileName } = part.header;
    return openPartFile({
      objects: o.objects,
      signal: o.signal,
      async destination(firstBytes) {
        const mimeType = await effectiveMediaType(declaredMediaType, fileName, firstBytes);
        const { orgId, receivedAt } = message;
        return { mimeType, storageKey: documentKey({ orgId, receivedAt, documentId: idOf(part.path), mimeType }) };
      },
    });
  };

  const decide = (
    part: PartBegin,
    sizeBytes: number,
    reason: string,
    documentId: string | null,
    codes: readonly string[] = [],
  ): void => {
    parts.set(
      part.path,
      decision(part, listedName(part.header.fileName, parts.size), sizeBytes, reason, documentId, codes),
    );
  };

  const end = async (path: string, sizeBytes: number, defects: readonly Defect[]): Promise<void> => {
    const one = open.get(path);
    if (one === undefined) return;
    const { part, reason, file, startedAt } = one;
    open.delete(path);
    const documentId = idOf(path);
    decide(part, sizeBytes, reason, file === null ? null : documentId, codesOf(notedOf(defects)));
    if (file === null) return;
    try {
      const document = storedDocument(documentId, part, await file.finish(), defectsOfBytes(defects));
      documents.set(path, document);
      o.stored(document, performance.now() - startedAt);
    } catch (cause) {
      if (!(cause instanceof StoreError)) throw cause;
      const error: DocumentError = { code: 'gave-up', message: `could not be stored: ${cause.code}` };
      unstored.push({ document: failedDocument(documentId, part, error), cause });
    }
  };

  /** No further event comes for what is open: the mail is cut off there. */
  const stopAtLimit = async (name: string, value: number): Promise<void> => {
    limit = {
      code: 'limit-exceeded',
      limit: name,
      message: `more than ${value} (${name}); the mail was not read further`,
    };
    for (const [path, { part, file }] of open) {
      decide(part, 0, `cut off: ${name}`, file === null ? null : idOf(path));
      if (file !== null) documents.set(path, failedDocument(idOf(path), part, limit));
    }
    await abandonOpen();
  };

  /** Images that HTML behind them shows were taken for documents, as far as one could see then. */
  const settle = async (): Promise<void> => {
    for (const part of unsettled) {
      const { document, reason } = rule.verdict(part);
      const taken = documents.get(part.path);
      const before = parts.get(part.path);
      if (document || taken === undefined || before === undefined) continue;
      documents.delete(part.path);
      decide(part, before.sizeBytes, reason, null, before.notes);
      if (taken.storageKey !== null) await o.objects.remove(taken.storageKey);
    }
  };

  const abandonOpen = async (): Promise<void> => {
    const files = [...open.values()].map(({ file }) => file?.abandon());
    open.clear();
    await Promise.all(files);
  };

  const collected = (): Collected => {
    const found = [...documents.values(), ...unstored.map(({ document }) => document)];
    const names = distinctFileNames(found);
    const named = found.map((document) => ({
      ...document,
      fileName: names.get(document.partPath) ?? document.fileName,
    }));
    return {
      documents: named.sort((a, b) => comparePartPaths(a.partPath, b.partPath)),
      parts: [...parts.values()].sort((a, b) => comparePartPaths(a.path, b.path)),
      notes: notes.notes((path) => names.get(path) ?? parts.get(path)?.fileName ?? null, beyondLimit),
      unstored,
      failure: limit ?? readability.failure(),
    };
  };

  return {
    async take(event) {
      rule.observe(event);
      notes.observe(event);
      readability.observe(event);
      if (event.type === 'part-begin') begin(event.part);
      else if (event.type === 'part-data') await open.get(event.path)?.file?.write(event.bytes);
      else if (event.type === 'part-end') await end(event.path, event.sizeBytes, event.defects);
      else if (event.type === 'limit') await stopAtLimit(event.limit, event.value);
      else if (event.type === 'end') await settle();
    },
    collected,
    abandon: abandonOpen,
  };
}

function decision(
  part: PartBegin,
  fileName: string | null,
  sizeBytes: number,
  reason: string,
  documentId: string | null,
  notes: readonly string[],
): PartDecision {
  const { mediaType, disposition } = part.header;
  const noted = notes.length === 0 ? {} : { notes };
  const facts = { path: part.path, mediaType, fileName, disposition, sizeBytes, reason, ...noted };
  return documentId === null ? { ...facts, decision: 'skipped' } : { ...facts, decision: 'document', documentId };
}

function storedDocument(id: string, part: PartBegin, stored: StoredPart, defects: readonly Defect[]): NewDocument {
  return {
    id,
    ...described(part, stored.mimeType),
    sizeBytes: stored.sizeBytes,
    sha256: stored.sha256,
    storageKey: stored.storageKey,
    status: 'STORED',
    error: defects.length === 0 ? null : { code: 'decoded-with-defects', message: summary(defects) },
  };
}

function failedDocument(id: string, part: PartBegin, error: DocumentError): NewDocument {
  const nothing = { sizeBytes: null, sha256: null, storageKey: null };
  return { id, ...described(part, part.header.mediaType), ...nothing, status: 'FAILED', error };
}

function described(
  part: PartBegin,
  mimeType: string,
): Pick<NewDocument, 'partPath' | 'fileName' | 'mimeType' | 'declaredMimeType'> {
  const { fileName, declaredMediaType } = part.header;
  return {
    partPath: part.path,
    fileName: documentFileName(fileName, part.path, mimeType),
    mimeType,
    declaredMimeType: declaredMediaType,
  };
}

function isMessage({ header: { mediaType } }: PartBegin): boolean {
  return mediaType === 'message/rfc822' || mediaType === 'message/global';
}

const codesOf = (defects: readonly Defect[]): readonly string[] => defects.map(({ code }) => code);

/** A mail may have thousands of defects; the first few tell the story. */
const MAX_DEFECTS_TOLD = 5;

function summary(defects: readonly Defect[]): string {
  const told = defects.slice(0, MAX_DEFECTS_TOLD).map(({ code, message }) => `${code}: ${message}`);
  const more = defects.length - told.length;
  return more > 0 ? `${told.join('; ')}; and ${more} more` : told.join('; ');
}
