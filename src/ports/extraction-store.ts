/** What the extraction worker reads and writes of a message, always as the message's own organisation. */
import type { InboundMessageStatus } from './message-store.ts';

export interface MessageToExtract {
  readonly id: string;
  readonly orgId: string;
  readonly status: InboundMessageStatus;
  readonly rawStorageKey: string;
  readonly receivedAt: Date;
  readonly sizeBytes: number;
  readonly sourceMessageId: string;
  readonly traceId: string;
}

export interface NewDocument {
  readonly id: string;
  readonly partPath: string;
  readonly fileName: string;
  readonly mimeType: string;
  readonly declaredMimeType: string | null;
  readonly sizeBytes: number | null;
  readonly sha256: string | null;
  readonly storageKey: string | null;
  readonly status: 'STORED' | 'FAILED';
  /** Notes on a STORED document (bytes that did not decode), the reason on a FAILED one. */
  readonly error: DocumentError | null;
}

/** What `error_json` holds. */
export interface DocumentError {
  readonly code: DocumentErrorCode;
  readonly message: string;
  /** The bound that was reached, by the name it has in `MimeLimits`. */
  readonly limit?: string;
}

/**
 * `decoded-with-defects`: stored, but some bytes did not decode. `limit-exceeded`: the mail is larger or deeper than we
 * read. `no-part-readable`: the mail declares parts, and none of them can be found in it. `object-missing`: the raw mail
 * is gone. `gave-up`: a fault of ours that outlasted every retry.
 */
export type DocumentErrorCode =
  | 'decoded-with-defects'
  | 'limit-exceeded'
  | 'no-part-readable'
  | 'object-missing'
  | 'gave-up';

/** Why a leaf part is a document or is not; one entry per leaf, so that "where is my file" has an answer. */
export interface PartDecision {
  readonly path: string;
  readonly mediaType: string;
  readonly fileName: string | null;
  readonly disposition: string | null;
  readonly sizeBytes: number;
  readonly decision: 'document' | 'skipped';
  readonly reason: string;
  readonly documentId?: string;
  /** Codes of the notes on this part; absent when there are none. */
  readonly notes?: readonly string[];
}

/** What a person should know of a message although it could be read; one entry of `notes_json`. */
export interface Note {
  /** From a closed list: docs/mime.md, Defects. */
  readonly code: string;
  /** Path of the part or of the multipart; null for the mail itself, which is its header or its outermost multipart. */
  readonly part: string | null;
  /** One plain sentence; it names the file where there is one, so it belongs into the row and never into the log. */
  readonly text: string;
  /** What a program may want of the text. */
  readonly detail?: Readonly<Record<string, string | number>>;
}

/** Errors: rejects on any fault; the job is then tried again. */
export interface ExtractionStore {
  /** The message as it is after RECEIVED → STORED, if it was RECEIVED; null when that organisation has none of that id. */
  take(inboundMessageId: string, orgId: string): Promise<MessageToExtract | null>;

  /**
   * In one transaction: documents upserted, `parts_json` written, STORED → PARSED (or FAILED with the error), one
   * `extract_document` job per STORED document. false when the message had reached PARSED or FAILED already: then
   * nothing was written. The jobs carry `traceparent` where there is one.
   */
  finish(message: MessageToExtract, result: ExtractionResult, traceparent?: string): Promise<boolean>;
}

export interface ExtractionResult {
  readonly documents: readonly NewDocument[];
  readonly parts: readonly PartDecision[];
  /** null: the mail was not read at all. */
  readonly reading: Reading | null;
  /** Set: the message ends FAILED with this; its documents, if any, are kept and handed on all the same. */
  readonly failure: DocumentError | null;
}

export interface Reading {
  /** Of whom the outcome is. */
  readonly parserVersion: number;
  readonly notes: readonly Note[];
}
