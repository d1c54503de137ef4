/**
 * Where a decision of ours overrules what the corpus or the oracle expects. Their rules are older: a leaf without a name
 * and without attachment disposition was never a document, images counted as shown in multipart/related only, and
 * signatures as signatures in multipart/signed only. docs/mime.md, "Which part is a document", is the rule that counts.
 */
import type { DefectCode, DocumentReason } from '../src/mime/index.ts';
import type { MailRecord } from '../src/mime/mail-record.ts';
import type { Difference, HeaderField } from './expectations.ts';

/** One value of the corpus: which, what it is now, and why. */
export type Overruled = { readonly path: string; readonly reason: string } & (
  | { readonly part: string; readonly now: 'document' | 'left out' }
  | { readonly field: HeaderField; readonly now: unknown }
);

const unnamedText = 'text of a type that is no text of mails, unnamed and not in multipart/alternative, is a file';
const signature = 'a signature is no document outside multipart/signed either';

export const overruledExpectations: readonly Overruled[] = [
  ...['2', '3'].map((part) => ({
    path: 'mime4j/core/src/test/resources/mimetools-testmsgs/multi-clen.msg',
    part,
    now: 'document' as const,
    reason: unnamedText,
  })),
  ...['008', '012'].map((name) => ({
    path: `stalwart-mail-parser/eml/thirdparty/${name}.eml`,
    part: '1',
    now: 'document' as const,
    reason: unnamedText,
  })),
  ...['1', '3', '7'].map((part) => ({
    path: 'cpython-test-email/msg_37.txt',
    part,
    now: 'document' as const,
    reason: unnamedText,
  })),
  ...['raw_email2', 'raw_email7'].map((name) => ({
    path: `mikel-mail/emails/mime_emails/${name}.eml`,
    part: '2',
    now: 'left out' as const,
    reason: signature,
  })),
  {
    path: 'php-mime-mail-parser/mails/issue126',
    part: '1',
    now: 'document' as const,
    reason: 'of two Content-Types the multipart whose boundary appears counts',
  },
  {
    path: 'mikel-mail/emails/plain_emails/raw_email_with_at_display_name.eml',
    field: 'to',
    now: [
      { name: null, address: 'smith@gmail.com' },
      { name: 'Mikel@Lindsaar', address: 'raasdnil@gmail.com' },
      { name: null, address: 'tom@gmail.com' },
    ],
    reason: 'what stands before an address in angle brackets is its display name',
  },
];

export interface Applied {
  /** What was overruled, each with its reason. */
  readonly overruled: readonly string[];
  /** What remains: differences that nothing overrules, and entries that no difference answers to any more. */
  readonly standing: readonly string[];
}

export function applyOverruled(
  path: string,
  differences: readonly Difference[],
  entries: readonly Overruled[] = overruledExpectations,
): Applied {
  const overruled: string[] = [];
  const standing: string[] = [];
  const unused = new Set(entries.filter((entry) => entry.path === path));
  for (const difference of differences) {
    const entry = [...unused].find((candidate) => overrules(candidate, difference));
    if (entry === undefined) standing.push(difference.text);
    else {
      unused.delete(entry);
      overruled.push(`${difference.text} (${entry.reason})`);
    }
  }
  for (const entry of unused) standing.push(`${describe(entry)} is listed as overruled, but is not read so`);
  return { overruled, standing };
}

function overrules(entry: Overruled, difference: Difference): boolean {
  if ('field' in entry) {
    return (
      difference.kind === 'header' &&
      difference.field === entry.field &&
      JSON.stringify(difference.got) === JSON.stringify(entry.now)
    );
  }
  if (entry.now === 'document') return difference.kind === 'too-many' && difference.got.part === entry.part;
  return difference.kind === 'missing' && difference.want.part === entry.part;
}

function describe(entry: Overruled): string {
  return 'field' in entry ? `${entry.field} ${JSON.stringify(entry.now)}` : `part ${entry.part} (${entry.now})`;
}

/** Which types may be left out for a reason that the oracle does not know. */
const leftOutTypes: Partial<Record<DocumentReason, RegExp>> = {
  'inline-image': /^(?:application|binary|unknown|image)\/|^text\/plain$/,
  'image-shown-by-html': /^(?:application|binary|unknown|image)\/|^text\/plain$/,
  'detached-signature': /./,
  'encryption-control': /^application\/pgp-encrypted$/,
  'text-in-alternative': /^text\//,
};

const mailText = /^text\/(?:plain|html|enriched|richtext|calendar|rfc822-headers)$|^message\//;
const shownImage = /^image\/(?:(?:x-)?png|p?jpe?g|gif|webp|(?:x-)?(?:ms-)?bmp|svg\+xml|avif)$/;

/** Bent places that we read and the oracle does not: of such a mail, its answers about parts say nothing. */
const recoveries: ReadonlySet<string> = new Set<DefectCode>([
  'header-late',
  'header-indented',
  'header-line-joined',
  'header-continuation-unindented',
  'header-line-malformed',
  'field-repeated',
  'parameter-malformed',
  'file-name-damaged',
  'encoded-word-cut',
  'encoded-word-malformed',
  'charset-undeclared',
  'encoding-inherited',
  'encoding-undeclared',
  'encoding-untrue',
  'boundary-guessed',
  'multipart-guessed',
  'multipart-is-file',
  'delimiter-glued',
  'delimiter-indented',
  'base64-in-pieces',
  'base64-url-alphabet',
  'base64-data-url',
]);

/** Whether the oracle can be asked about the parts of the mail. */
export function isReadByBoth(actual: MailRecord): boolean {
  return !actual.defects.some((code) => recoveries.has(code));
}

/** For mails of which the oracle answers by its own rule: whether a difference is one between the rules. */
export function followsFromRule(difference: Difference, actual: MailRecord): boolean {
  switch (difference.kind) {
    case 'header':
      return isHeaderRule(difference, actual);
    case 'other':
      return false;
    case 'too-many': {
      const { filename, mime_type: type } = difference.got;
      const unnamedFile = filename === null && !mailText.test(type);
      return unnamedFile || (type.startsWith('image/') && !shownImage.test(type));
    }
    case 'missing': {
      const { part, mime_type: type } = difference.want;
      const leftOut = actual.left_out.find((one) => one.part === part);
      return leftOut !== undefined && leftOutTypes[leftOut.reason]?.test(type) === true;
    }
  }
}

function isHeaderRule(difference: Difference & { kind: 'header' }, actual: MailRecord): boolean {
  // Dates go by RFC 5322 alone; bent addresses are read more leniently than the oracle does; a subject is one line.
  if (difference.field === 'date') return true;
  if (isAddressField(difference.field)) return isBentAddress(difference, actual);
  return difference.field === 'subject' && oneLine(difference.got) === oneLine(difference.want);
}

const oneLine = (text: unknown): string =>
  String(text)
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim();

function isAddressField(field: HeaderField): boolean {
  return field === 'from' || field === 'to';
}

function isBentAddress(difference: Difference & { kind: 'header' }, { from, to, defects }: MailRecord): boolean {
  if (defects.includes('address-malformed') || [...from, ...to].some(({ name }) => name?.includes('@') === true))
    return true;
  // The oracle takes words and dots behind an address for the end of its domain.
  const ours = difference.got as MailRecord['from'];
  const theirs = difference.want as MailRecord['from'];
  if (theirs.some(({ address }) => address?.includes('"') === true)) return true;
  return theirs.length === ours.length && theirs.every(({ address }, i) => isLonger(address, ours[i]?.address));
}

function isLonger(theirs: string | null, ours: string | null | undefined): boolean {
  return theirs === ours || (typeof theirs === 'string' && typeof ours === 'string' && theirs.startsWith(ours));
}
