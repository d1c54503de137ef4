/**
 * The names objects are stored under. No byte of a key is chosen by a sender: organisation, month of arrival, id, and
 * an extension from a fixed list.
 */

/** Amazon S3 allows 1,024 bytes for a key; file systems allow 255 for a name. */
const MAX_KEY_BYTES = 1024;
const MAX_SEGMENT_BYTES = 255;

const SEGMENT = /^[A-Za-z0-9._-]+$/;

/** Extensions of document keys. Anything else is `.bin`: the key is for people who look into a bucket, not for trust. */
const EXTENSIONS: ReadonlyMap<string, string> = new Map([
  ['application/pdf', '.pdf'],
  ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', '.xlsx'],
  ['application/vnd.ms-excel.sheet.macroenabled.12', '.xlsm'],
  ['application/vnd.ms-excel.sheet.binary.macroenabled.12', '.xlsb'],
  ['application/vnd.ms-excel', '.xls'],
  ['application/vnd.oasis.opendocument.spreadsheet', '.ods'],
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', '.docx'],
  ['application/msword', '.doc'],
  ['application/vnd.oasis.opendocument.text', '.odt'],
  ['application/rtf', '.rtf'],
  ['text/rtf', '.rtf'],
  ['text/csv', '.csv'],
  ['text/tab-separated-values', '.tsv'],
  ['text/plain', '.txt'],
  ['text/html', '.html'],
  ['text/xml', '.xml'],
  ['application/xml', '.xml'],
  ['application/json', '.json'],
  ['text/calendar', '.ics'],
  ['application/edifact', '.edi'],
  ['application/edi-x12', '.edi'],
  ['message/rfc822', '.eml'],
  ['message/global', '.eml'],
  ['application/vnd.ms-outlook', '.msg'],
  ['application/ms-tnef', '.tnef'],
  ['application/zip', '.zip'],
  ['application/x-zip-compressed', '.zip'],
  ['application/gzip', '.gz'],
  ['application/x-7z-compressed', '.7z'],
  ['application/vnd.rar', '.rar'],
  ['image/jpeg', '.jpg'],
  ['image/png', '.png'],
  ['image/gif', '.gif'],
  ['image/tiff', '.tiff'],
  ['image/webp', '.webp'],
  ['image/heic', '.heic'],
]);

/** Key of a raw mail: `{org_id}/{yyyy}/{mm}/{inbound_message_id}.eml`, month in UTC. */
export function rawMailKey(mail: {
  readonly orgId: string;
  readonly receivedAt: Date;
  readonly inboundMessageId: string;
}): string {
  return checkedKey(`${mail.orgId}/${month(mail.receivedAt)}/${mail.inboundMessageId}.eml`);
}

/** Key of a document: `{org_id}/{yyyy}/{mm}/{document_id}{.ext}` by its effective media type, month of the mail's arrival. */
export function documentKey(document: {
  readonly orgId: string;
  readonly receivedAt: Date;
  readonly documentId: string;
  /** The effective type; parameters and case do not matter. */
  readonly mimeType: string;
}): string {
  const mediaType = document.mimeType.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const extension = EXTENSIONS.get(mediaType) ?? '.bin';
  return checkedKey(`${document.orgId}/${month(document.receivedAt)}/${document.documentId}${extension}`);
}

/** Is this the shape every store can take? See `ObjectStore`. */
export function isObjectKey(key: string): boolean {
  return key.length <= MAX_KEY_BYTES && key.split('/').every(isKeySegment);
}

/** Could a key begin with this? The empty prefix is every key's. */
export function isObjectKeyPrefix(prefix: string): boolean {
  const segments = prefix.split('/');
  const last = segments.pop() ?? '';
  const begun = last === '' || (last.length <= MAX_SEGMENT_BYTES && SEGMENT.test(last));
  return prefix.length <= MAX_KEY_BYTES && begun && segments.every(isKeySegment);
}

export function isKeySegment(segment: string): boolean {
  return segment.length <= MAX_SEGMENT_BYTES && segment !== '.' && segment !== '..' && SEGMENT.test(segment);
}

function month(receivedAt: Date): string {
  return receivedAt.toISOString().slice(0, 7).replace('-', '/');
}

function checkedKey(key: string): string {
  if (!isObjectKey(key)) throw new TypeError(`not an object key: ${JSON.stringify(key)}`);
  return key;
}
