/** What the mail itself says of its row to be, whoever brought it. */
import { contentDigests, identify } from '../messages/identity.ts';
import { firstAddress, type MailHeader } from '../mime/index.ts';
import type { NewMessage } from '../ports/message-store.ts';
import type { StoredRawMail } from '../rawstore/index.ts';

export type MailFacts = Pick<
  NewMessage,
  | 'sourceMessageId'
  | 'messageIdSynthetic'
  | 'fromEmail'
  | 'subject'
  | 'sizeBytes'
  | 'rawSha256'
  | 'contentSha256'
  | 'contentSha256V1'
  | 'headerFrom'
  | 'headerTo'
  | 'headerDate'
>;

/** `fromEmail` is that of the header: where the envelope names a sender, that counts. */
export function factsOf(raw: StoredRawMail, header: MailHeader): MailFacts {
  const digests = contentDigests(raw);
  const { sourceMessageId, synthetic } = identify(header, digests.v1);
  return {
    sourceMessageId,
    messageIdSynthetic: synthetic,
    fromEmail: bounded(firstAddress(header.from)),
    subject: bounded(header.subject),
    sizeBytes: raw.sizeBytes,
    rawSha256: raw.rawSha256,
    contentSha256: digests.v2,
    contentSha256V1: digests.v1,
    headerFrom: bounded(written(header.from) ?? header.raw.from),
    headerTo: bounded(written(header.to) ?? header.raw.to),
    headerDate: header.date,
  };
}

function written(addresses: MailHeader['from']): string | null {
  if (addresses.length === 0) return null;
  return addresses.map(({ name, address }) => (name === null ? address : `${name} <${address}>`)).join(', ');
}

/** What a sender may fill a text column with; far above any honest subject, far below a row that hurts. */
const MAX_HEADER_TEXT_CHARACTERS = 16_384;

function bounded(text: string | null): string | null {
  return text === null || text.length <= MAX_HEADER_TEXT_CHARACTERS
    ? text
    : `${text.slice(0, MAX_HEADER_TEXT_CHARACTERS)}…`;
}
