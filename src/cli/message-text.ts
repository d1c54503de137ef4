/** Messages as text for people. Everything a sender chose is made harmless for the terminal. */
import type { Note } from '../ports/extraction-store.ts';
import type { DocumentSummary, DocumentView, MessageSummary, MessageView } from '../ports/message-view.ts';
import { visible } from '../telemetry/visible-text.ts';
import { shortened, table } from './output.ts';

type Times = (time: Date) => string;

export function summaryTable(messages: readonly MessageSummary[], times: Times): string {
  const conflicts = messages.some(({ conflictWith }) => conflictWith !== null);
  return table(
    [
      'received',
      'status',
      'organisation',
      'files',
      'notes',
      'from',
      'subject',
      'id',
      ...(conflicts ? ['conflict with'] : []),
    ],
    messages.map((one) => [
      times(one.receivedAt),
      one.status,
      one.orgSlug,
      one.documentCount,
      noteCount(one.notes),
      shortened(one.fromEmail, 40),
      shortened(one.subject, 50),
      one.id,
      ...(conflicts ? [one.conflictWith] : []),
    ]),
  );
}

export function documentSummaryTable(documents: readonly DocumentSummary[], times: Times): string {
  return table(
    ['stored', 'status', 'organisation', 'file', 'type', 'bytes', 'message', 'id'],
    documents.map((one) => [
      times(one.createdAt),
      one.status,
      one.orgSlug,
      shortened(one.fileName, 50),
      shortened(one.mimeType, 40),
      one.sizeBytes,
      one.messageId,
      one.id,
    ]),
  );
}

export function documentTable(documents: readonly DocumentView[]): string {
  return table(
    ['file', 'type', 'bytes', 'status', 'sha256', 'id'],
    documents.map((one) => [one.fileName, one.mimeType, one.sizeBytes, one.status, one.sha256, one.id]),
  );
}

export function messageText(message: MessageView, times: Times): string {
  const synthetic = message.messageIdSynthetic ? ' (made by us, the mail had none)' : '';
  const sections = [
    fields([
      ['id', message.id],
      ['status', message.status],
      ['conflict with', message.conflictWith],
      ['organisation', `${message.orgSlug} (${message.orgId})`],
      ['received', times(message.receivedAt)],
      ['from', message.fromEmail],
      ['reverse path', reversePath(message)],
      ['to', message.toEmail],
      ['subject', message.subject],
      ['Message-ID', message.sourceMessageId === null ? null : `${message.sourceMessageId}${synthetic}`],
      ['header From', message.headerFrom],
      ['header To', message.headerTo],
      ['header Date', message.headerDate === null ? null : times(message.headerDate)],
      ['client', client(message)],
      ['TLS', message.tlsVersion === null ? null : `${message.tlsVersion} ${message.tlsCipher ?? ''}`],
      ['bytes', message.sizeBytes],
      ['raw mail', message.rawStorageKey],
      ['raw sha256', message.rawSha256],
      ['trace', message.traceId],
      [message.status === 'FAILED' ? 'failed' : 'error', reasonText(message.error)],
    ]),
    notesText(message.notes),
    message.conflictWith === null
      ? documentsText(message.documents)
      : `kept aside, and not read: ${message.conflictWith} has the same Message-ID and other content; look at both`,
    partsText(message.parts),
    conflictsText(message, times),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

/** null: not known, of a mail kept aside or handed in again. */
function client({ remoteAddress, heloName }: MessageView): string | null {
  return remoteAddress === null && heloName === null ? null : `${remoteAddress ?? '-'} (${heloName ?? '-'})`;
}

function fields(rows: readonly (readonly [string, string | number | null])[]): string {
  return rows
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.padEnd(14)}${visible(String(value))}`)
    .join('\n');
}

function documentsText(documents: readonly DocumentView[]): string {
  if (documents.length === 0) return 'no documents';
  const errors = documents
    .filter((one) => one.error !== null && one.error !== undefined)
    .map((one) => `${visible(one.fileName)}: ${visible(JSON.stringify(one.error))}`);
  return ['documents', documentTable(documents), ...errors].join('\n');
}

/** How many things are noted on a message; null where there is nothing to say. */
function noteCount(notes: MessageSummary['notes']): number | null {
  const listed = shownNotes(notes);
  const count = listed.reduce((sum, { code, detail }) => sum + (code === 'more' ? Number(detail?.count ?? 1) : 1), 0);
  return count === 0 ? null : count;
}

function notesText(notes: MessageSummary['notes']): string {
  const rows = shownNotes(notes).map(({ part, text, code }) => [part === null ? 'mail' : `part ${part}`, code, text]);
  return rows.length === 0 ? '' : `notes\n${table(['where', 'code', 'what'], rows)}`;
}

const shownNotes = (notes: MessageSummary['notes']): readonly Note[] => notes ?? [];

/**
 * Where it is not what `from` says. null stands for `<>`, and for mail that a version took which did not record it; one
 * that such a version has read as well is sure to be of the second kind.
 */
function reversePath({ reversePath: path, fromEmail, parserVersion, status, notes }: MessageView): string | null {
  if (path !== null) return path.toLowerCase() === fromEmail?.toLowerCase() ? null : path;
  const readBefore = parserVersion === null && (status === 'PARSED' || status === 'CONFLICT');
  const isForgotten = shownNotes(notes).some(({ code }) => code === 'redelivered');
  return readBefore || isForgotten ? null : '<>, or not recorded';
}

/** In words where it has them; `error_json` may be of another version. */
function reasonText(error: unknown): string | null {
  if (error === null || error === undefined) return null;
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return typeof code === 'string' && typeof message === 'string' ? `${message} (${code})` : JSON.stringify(error);
}

/** `parts_json` is ours, but written by another version perhaps: anything unexpected is shown as JSON. */
function partsText(parts: unknown): string {
  if (!Array.isArray(parts) || parts.length === 0) return '';
  const rows = parts.map((part: unknown) => {
    const one = (typeof part === 'object' && part !== null ? part : {}) as Record<string, unknown>;
    const text = (name: string): string | null =>
      one[name] === undefined || one[name] === null ? null : String(one[name]);
    return [text('path'), text('media_type'), text('decision'), text('file_name'), text('reason')];
  });
  return `parts\n${table(['part', 'type', 'decision', 'file', 'reason'], rows)}`;
}

function conflictsText(message: MessageView, times: Times): string {
  if (message.conflicts.length === 0) return '';
  const rows = message.conflicts.map((one) => [
    times(one.receivedAt),
    shortened(one.fromEmail, 40),
    shortened(one.subject, 50),
    one.id,
  ]);
  return `other mails with the same Message-ID, kept aside\n${table(['received', 'from', 'subject', 'id'], rows)}`;
}
