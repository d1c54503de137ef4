/**
 * What a mail is expected to carry, in the corpus's form, and how an answer is held to it. A value that the expectation
 * calls uncertain may be anything; everything else must agree exactly.
 */
import type { AttachmentRecord, MailRecord } from '../src/mime/mail-record.ts';

export interface ExpectedAttachment extends AttachmentRecord {
  readonly uncertain?: boolean;
  readonly why?: readonly string[];
}

export interface ExpectedMail extends Omit<MailRecord, 'attachments' | 'left_out' | 'limit' | 'defects'> {
  readonly attachments: readonly ExpectedAttachment[];
  readonly excluded: readonly ExpectedAttachment[];
  readonly uuencoded?: readonly { readonly sha256: string }[];
  readonly uncertain?: boolean;
  readonly uncertain_headers?: readonly string[];
}

export type HeaderField = 'message_id' | 'subject' | 'from' | 'to' | 'date';

/** One difference between what is expected and what was read, and what it is about. */
export type Difference = { readonly text: string } & (
  | { readonly kind: 'header'; readonly field: HeaderField; readonly want: unknown; readonly got: unknown }
  | { readonly kind: 'missing'; readonly want: ExpectedAttachment }
  | { readonly kind: 'other'; readonly want: ExpectedAttachment; readonly got: AttachmentRecord }
  | { readonly kind: 'too-many'; readonly got: AttachmentRecord }
);

export function checkHeader(expected: ExpectedMail, actual: MailRecord): readonly Difference[] {
  if (expected.uncertain) return [];
  const doubtful = (expected.uncertain_headers ?? []).map((why) => why.split(':')[0]);
  const differences: Difference[] = [];
  for (const [field, name] of [
    ['message_id', 'message-id'],
    ['subject', 'subject'],
    ['from', 'from'],
    ['to', 'to'],
    ['date', 'date'],
  ] as const) {
    const [want, got] = [JSON.stringify(expected[field]), JSON.stringify(actual[field])];
    if (doubtful.includes(name) || want === got) continue;
    differences.push({
      kind: 'header',
      field,
      want: expected[field],
      got: actual[field],
      text: `${field} ${got}, not ${want}`,
    });
  }
  return differences;
}

const fields = ['filename', 'mime_type', 'size', 'sha256'] as const;
const doubtOf = { filename: 'filename', mime_type: 'type', size: 'bytes', sha256: 'bytes' } as const;

export function checkAttachments(expected: ExpectedMail, actual: readonly AttachmentRecord[]): readonly Difference[] {
  if (expected.uncertain) return [];
  const differences: Difference[] = [];
  const left = [...actual];
  for (const want of [...expected.attachments].sort((a, b) => Number(a.uncertain ?? 0) - Number(b.uncertain ?? 0))) {
    const doubts = new Set(want.why?.map((why) => why.split(':')[0]));
    const unlike = left.map((got) => fields.filter((f) => got[f] !== want[f] && !doubts.has(doubtOf[f])));
    const match = unlike.findIndex((difference) => difference.length === 0);
    if (match >= 0) left.splice(match, 1);
    else if (!doubts.has('set') && !doubts.has('all')) {
      const got = left.find(({ part }) => part === want.part);
      differences.push(unmatched(want, got));
      if (got !== undefined) left.splice(left.indexOf(got), 1);
    }
  }
  const optional = new Set([
    ...expected.attachments.filter((want) => want.uncertain).map((want) => want.part),
    ...expected.excluded.filter((want) => want.uncertain).map((want) => want.part),
  ]);
  for (const got of left) {
    if (optional.has(got.part)) continue;
    differences.push({ kind: 'too-many', got, text: `one attachment too many: ${describe(got)}` });
  }
  return differences;
}

function unmatched(want: ExpectedAttachment, got: AttachmentRecord | undefined): Difference {
  if (got === undefined) return { kind: 'missing', want, text: `attachment ${describe(want)} is missing` };
  return { kind: 'other', want, got, text: `attachment ${describe(want)} is ${describe(got)}` };
}

function describe(attachment: AttachmentRecord): string {
  const { part, filename, mime_type: type, size, sha256 } = attachment;
  return `${part} ${JSON.stringify(filename)} ${type} ${size} bytes ${sha256.slice(0, 12)}`;
}
