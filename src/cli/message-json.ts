/** Messages as JSON, under the names of the tables' columns. */
import type {
  ConflictView,
  DocumentSummary,
  DocumentView,
  MessageSummary,
  MessageView,
} from '../ports/message-view.ts';

export function summaryJson(message: MessageSummary) {
  return {
    id: message.id,
    org_id: message.orgId,
    org_slug: message.orgSlug,
    status: message.status,
    conflict_with: message.conflictWith,
    source_message_id: message.sourceMessageId,
    from_email: message.fromEmail,
    to_email: message.toEmail,
    subject: message.subject,
    received_at: message.receivedAt.toISOString(),
    size_bytes: message.sizeBytes,
    document_count: message.documentCount,
    notes: message.notes,
  };
}

export function messageJson(message: MessageView) {
  return {
    ...summaryJson(message),
    trace_id: message.traceId,
    raw_storage_key: message.rawStorageKey,
    raw_sha256: message.rawSha256,
    content_sha256: message.contentSha256,
    message_id_synthetic: message.messageIdSynthetic,
    header_from: message.headerFrom,
    header_to: message.headerTo,
    header_date: message.headerDate?.toISOString() ?? null,
    remote_address: message.remoteAddress,
    helo_name: message.heloName,
    tls_version: message.tlsVersion,
    tls_cipher: message.tlsCipher,
    reverse_path: message.reversePath,
    error_json: message.error ?? null,
    parser_version: message.parserVersion,
    parts_json: message.parts ?? null,
    documents: message.documents.map(documentJson),
    conflicts: message.conflicts.map(conflictJson),
  };
}

function documentJson(document: DocumentView) {
  return {
    id: document.id,
    part_path: document.partPath,
    file_name: document.fileName,
    mime_type: document.mimeType,
    declared_mime_type: document.declaredMimeType,
    size_bytes: document.sizeBytes,
    sha256: document.sha256,
    storage_key: document.storageKey,
    status: document.status,
    error_json: document.error ?? null,
  };
}

export function documentSummaryJson(document: DocumentSummary) {
  return {
    ...documentJson(document),
    org_id: document.orgId,
    org_slug: document.orgSlug,
    inbound_message_id: document.messageId,
    created_at: document.createdAt.toISOString(),
  };
}

function conflictJson(conflict: ConflictView) {
  return {
    id: conflict.id,
    from_email: conflict.fromEmail,
    subject: conflict.subject,
    raw_storage_key: conflict.rawStorageKey,
    content_sha256: conflict.contentSha256,
    received_at: conflict.receivedAt.toISOString(),
  };
}
