/** Looking at what was received; used by the command line. */
import type { Note } from './extraction-store.ts';
import type { InboundMessageStatus } from './message-store.ts';

/** A message, or a mail kept aside (`CONFLICT`), which has an id of its own and is not read. */
export interface MessageSummary {
  readonly id: string;
  readonly orgId: string;
  readonly orgSlug: string;
  readonly status: ViewStatus;
  /** Of a mail kept aside: the message whose Message-ID it has. */
  readonly conflictWith: string | null;
  readonly sourceMessageId: string | null;
  readonly fromEmail: string | null;
  readonly toEmail: string | null;
  readonly subject: string | null;
  readonly receivedAt: Date;
  readonly sizeBytes: number | null;
  readonly documentCount: number;
  /** null: not read yet, or read by a version that wrote none. */
  readonly notes: readonly Note[] | null;
}

export type ViewStatus = InboundMessageStatus | 'CONFLICT';

export const documentStatuses = ['UPLOADED', 'STORED', 'PROCESSING', 'EXTRACTED', 'FAILED'] as const;
export type DocumentStatus = (typeof documentStatuses)[number];

/** With what it belongs to. */
export interface DocumentSummary extends DocumentView {
  readonly orgId: string;
  readonly orgSlug: string;
  readonly messageId: string;
  readonly createdAt: Date;
}

export interface DocumentView {
  readonly id: string;
  readonly partPath: string;
  readonly fileName: string;
  readonly mimeType: string;
  readonly declaredMimeType: string | null;
  readonly sizeBytes: number | null;
  readonly sha256: string | null;
  readonly storageKey: string | null;
  readonly status: string;
  readonly error: unknown;
}

export interface ConflictView {
  readonly id: string;
  readonly fromEmail: string | null;
  readonly subject: string | null;
  readonly rawStorageKey: string;
  readonly contentSha256: string;
  readonly receivedAt: Date;
}

export interface MessageView extends MessageSummary {
  readonly traceId: string | null;
  readonly rawStorageKey: string | null;
  readonly rawSha256: string | null;
  readonly contentSha256: string | null;
  readonly messageIdSynthetic: boolean;
  readonly headerFrom: string | null;
  readonly headerTo: string | null;
  readonly headerDate: Date | null;
  readonly remoteAddress: string | null;
  readonly heloName: string | null;
  /** null for `<>`, and for mail of a version that did not record it. */
  readonly reversePath: string | null;
  readonly tlsVersion: string | null;
  readonly tlsCipher: string | null;
  readonly error: unknown;
  /** null: not read yet, or read by a version that wrote none. */
  readonly parserVersion: number | null;
  readonly parts: unknown;
  readonly documents: readonly DocumentView[];
  readonly conflicts: readonly ConflictView[];
}

/** Texts are parts of what is there, whatever their case. */
export interface MessageFilter {
  /** Seen as this organisation only, enforced by the database's row-level security. */
  readonly orgId?: string | undefined;
  readonly status?: ViewStatus | undefined;
  /** Of the sender's address, or of the header's From. */
  readonly from?: string | undefined;
  /** Of the recipient's address, or of the header's To. */
  readonly to?: string | undefined;
  readonly subject?: string | undefined;
  /** Of the name of a document, or of a part that became none. */
  readonly file?: string | undefined;
  readonly documentStatus?: DocumentStatus | undefined;
  readonly noDocuments?: boolean | undefined;
  /** Received at that time or later. */
  readonly since?: Date | undefined;
  /** Received before. */
  readonly until?: Date | undefined;
  /** Newest first. */
  readonly limit: number;
}

/** As `MessageFilter`; times are those of the document's row. */
export type DocumentFilter = Pick<MessageFilter, 'orgId' | 'file' | 'since' | 'until' | 'limit'> & {
  readonly status?: DocumentStatus | undefined;
};

export interface MessageViews {
  listMessages(filter: MessageFilter): Promise<readonly MessageSummary[]>;
  /** A message, or a mail kept aside, by its own id; `orgId` as in `MessageFilter`. */
  findMessage(id: string, orgId?: string): Promise<MessageView | null>;
  listDocuments(filter: DocumentFilter): Promise<readonly DocumentSummary[]>;
  findDocument(id: string, orgId?: string): Promise<DocumentSummary | null>;
}
