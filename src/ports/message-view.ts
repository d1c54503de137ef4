/** Looking at what was received; used by the command line. */
import type { Note } from './extraction-store.ts';
import type { InboundMessageStatus } from './message-store.ts';

export interface MessageSummary {
  readonly id: string;
  readonly orgId: string;
  readonly orgSlug: string;
  readonly status: InboundMessageStatus;
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
  readonly traceId: string;
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

export interface MessageFilter {
  /** Seen as this organisation only, enforced by the database's row-level security. */
  readonly orgId?: string;
  readonly status?: InboundMessageStatus;
  /** Newest first. */
  readonly limit: number;
}

export interface MessageViews {
  listMessages(filter: MessageFilter): Promise<readonly MessageSummary[]>;
  /** By id of the message, or of a conflict kept beside it; `orgId` as in `MessageFilter`. */
  findMessage(id: string, orgId?: string): Promise<MessageView | null>;
}
