/**
 * What a mail is expected to carry, in the corpus's form, and how an answer is held to it. A value that the expectation
 * calls uncertain may be anything; everything else must agree exactly.
 */
import type { AttachmentRecord, MailRecord } from '../src/mime/mail-record.ts';

export interface ExpectedAttachment extends AttachmentRecord {
  readonly uncertain?: boolean;
  readonly why?: readonly string[];
}

export interface ExpectedMail extends Omit<MailRecord, 'attachments' | 'limit' | 'defects'> {
  readonly attachments: readonly ExpectedAttachment[];
  readonly excluded: readonly ExpectedAttachment[];
  readonly uuencoded?: readonly { readonly sha256: string }[];
  readonly uncertain?: boolean;
  readonly uncertain_headers?: readonly string[];
}

export function checkHeader(expected: ExpectedMail, actual: MailRecord): readonly string[] {
  if (expected.uncertain) return [];
  const doubtful = (expected.uncertain_headers ?? []).map((why) => why.split(':')[0]);
  const problems: string[] = [];
  for (const [field, name] of [
    ['message_id', 'message-id'],
    ['subject', 'subject'],
    ['from', 'from'],
    ['to', 'to'],
    ['date', 'date'],
  ] as const) {
    const [want, got] = [JSON.stringify(expected[field]), JSON.stringify(actual[field])];
    if (!doubtful.includes(name) && want !== got) problems.push(`${field} ${got}, not ${want}`);
  }
  return problems;
}

const fields = ['filename', 'mime_type', 'size', 'sha256'] as const;
const doubtOf = { filename: 'filename', mime_type: 'type', size: 'bytes', sha256: 'bytes' } as const;

export function checkAttachments(expected: ExpectedMail, actual: readonly AttachmentRecord[]): readonly string[] {
  if (expected.uncertain) return [];
  const problems: string[] = [];
  const left = [...actual];
  for (const want of [...expected.attachments].sort((a, b) => Number(a.uncertain ?? 0) - Number(b.uncertain ?? 0))) {
    const doubts = new Set(want.why?.map((why) => why.split(':')[0]));
    const differences = left.map((got) => fields.filter((f) => got[f] !== want[f] && !doubts.has(doubtOf[f])));
    const match = differences.findIndex((difference) => difference.length === 0);
    if (match >= 0) left.splice(match, 1);
    else if (!doubts.has('set') && !doubts.has('all')) {
      const near = left.find((got) => got.part === want.part);
      problems.push(`attachment ${describe(want)} is ${near === undefined ? 'missing' : describe(near)}`);
      if (near !== undefined) left.splice(left.indexOf(near), 1);
    }
  }
  const optional = new Set([
    ...expected.attachments.filter((want) => want.uncertain).map((want) => want.part),
    ...expected.excluded.filter((want) => want.uncertain).map((want) => want.part),
  ]);
  for (const got of left) if (!optional.has(got.part)) problems.push(`one attachment too many: ${describe(got)}`);
  return problems;
}

function describe(attachment: AttachmentRecord): string {
  const { part, filename, mime_type: type, size, sha256 } = attachment;
  return `${part} ${JSON.stringify(filename)} ${type} ${size} bytes ${sha256.slice(0, 12)}`;
}
