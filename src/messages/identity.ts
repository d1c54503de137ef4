/**
 * What makes a mail the same mail. Spec: FR-008, "Email Parsing Edge Cases" 1; docs/decisions/003-identity.md
 *
 * The rule, fixed for every odd Message-ID there is:
 * - the first Message-ID field that is not empty counts; further ones are ignored;
 * - of its text the first `<…>` counts, brackets included; without brackets, the text as it stands;
 * - white space and control characters inside are removed (a hop may have folded the field);
 * - longer than 998 octets (a line, RFC 5322 §2.1.1), it is replaced by its own digest, so that it fits the index;
 * - none at all: a synthetic id from From, To, Subject, Date and the content. Content is in it because two different
 *   orders sent in the same second must not become one.
 */
import { createHash, hash } from 'node:crypto';

const MAX_MESSAGE_ID_BYTES = 998;

export interface SourceMessageId {
  readonly sourceMessageId: string;
  readonly synthetic: boolean;
}

export interface IdentifyingHeader {
  /** As the header reader gives it: the first non-empty field, or null. */
  readonly messageId: string | null;
  readonly raw: {
    readonly from: string | null;
    readonly to: string | null;
    readonly subject: string | null;
    readonly date: string | null;
  };
}

/** What two mails of the same identity are compared by. Units: lower-case hex. */
export interface ContentDigests {
  /** Over what follows the header. */
  readonly v1: string;
  /** Over that and the header fields that give the mail its meaning: two orders may differ in the subject only. */
  readonly v2: string;
}

export interface DigestedMail {
  readonly rawSha256: string;
  readonly contentSha256: string;
  readonly header: {
    readonly isPlain: boolean;
    readonly contentFieldsSha256: string;
  };
}

/**
 * Where the header is not plain (text among its fields, no empty line behind it, lines before it, line ends of bare CR, more
 * than 1 MiB of it), the whole mail counts: else two orders would be one, and the second would be answered 250 and thrown away.
 */
export function contentDigests({ rawSha256, contentSha256, header }: DigestedMail): ContentDigests {
  if (!header.isPlain) return { v1: rawSha256, v2: rawSha256 };
  return { v1: contentSha256, v2: hash('sha256', `${header.contentFieldsSha256}\n${contentSha256}`) };
}

/** `contentSha256` of version 1, always: else a redelivery of a mail that came before would be another mail. */
export function identify(header: IdentifyingHeader, contentSha256: string): SourceMessageId {
  const messageId = header.messageId === null ? '' : normalise(header.messageId);
  if (messageId !== '') return { sourceMessageId: bounded(messageId), synthetic: false };
  return { sourceMessageId: `<${syntheticDigest(header, contentSha256)}@synthetic.invalid>`, synthetic: true };
}

function normalise(field: string): string {
  const open = field.indexOf('<');
  const close = open === -1 ? -1 : field.indexOf('>', open);
  const chosen = close === -1 ? field : field.slice(open, close + 1);
  // Control characters: C0, DEL and C1. `<>` alone names nothing.
  const bare = chosen.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, '');
  return bare === '<>' ? '' : bare;
}

function bounded(messageId: string): string {
  if (Buffer.byteLength(messageId) <= MAX_MESSAGE_ID_BYTES) return messageId;
  return `<${createHash('sha256').update(messageId).digest('hex')}@long.invalid>`;
}

/** Length before each value, so that moving text from one field to the next gives another digest. */
function syntheticDigest(header: IdentifyingHeader, contentSha256: string): string {
  const hash = createHash('sha256');
  for (const value of [header.raw.from, header.raw.to, header.raw.subject, header.raw.date, contentSha256]) {
    const bytes = Buffer.from(value ?? '');
    hash.update(`${value === null ? -1 : bytes.length}:`).update(bytes);
  }
  return hash.digest('hex');
}
