/**
 * The MIME part engine: bytes of a mail in, parts out, as they come. Knows no storage, no database and no stream class;
 * usable alone. Start with `parseMail`; `createMimeParser` is the same without waiting. The rules it goes by are in
 * docs/mime.md.
 */
export { isAddress } from './address-words.ts';
export { firstAddress } from './addresses.ts';
export { loadCharsets } from './charset.ts';
export { isNoted } from './defects.ts';
export {
  classifyPart,
  createDocumentRule,
  type DocumentReason,
  type DocumentRule,
  type DocumentVerdict,
} from './document-rule.ts';
export { MimeError, type MimeErrorCode } from './errors.ts';
export { createHeaderScan, type HeaderScan, type ScannedHeader } from './header-scan.ts';
export type { FirstBytesKind } from './image-kind.ts';
export { defaultMimeLimits } from './limits.ts';
export { readMailHeader } from './mail-header.ts';
export { parseMail } from './parse-mail.ts';
export { createMimeParser, type MimeParser } from './parser.ts';
export type {
  Defect,
  DefectCode,
  MailAddress,
  MailEvent,
  MailHeader,
  MimeLimits,
  PartBegin,
  PartHeader,
} from './types.ts';
