/**
 * What a declared media type is worth: a type, a nickname of one, or nothing. Programs write the field by hand, take it
 * from the registry of Windows, or put a default there. See "Types of documents" in docs/mime.md.
 */
import mime from 'mime';

export const PDF = 'application/pdf';

export type Claim =
  /** `type` is what the nickname stands for, to be believed when the bytes do not contradict it. */
  | { readonly kind: 'nickname'; readonly type: string; readonly declared: string }
  | { readonly kind: 'type'; readonly type: string }
  | { readonly kind: 'nothing' };

const NOTHING: Claim = { kind: 'nothing' };

/** The top-level types of the IANA registry, without multipart, and chemical, which was never registered but is used. */
const TOP_LEVEL = /^(?:application|audio|chemical|font|haptics|image|message|model|text|video)\//;

/** `image/*` is from an Accept field. */
const CONCRETE = /^[a-z]+\/[a-z0-9!#$&^_.+-]+$/;

/** Subtypes that mean "I do not know" or "save this", with or without `x-`, below any top-level type. */
const SAYS_NOTHING: ReadonlySet<string> = new Set([
  ...['octet-stream', 'octetstream', 'octet_stream', 'octet', 'octets', 'stream', 'binary', 'bin', 'binary-stream'],
  ...['unknown', 'unspecified', 'undefined', 'none', 'null', 'any', 'default', 'other', 'data', 'content'],
  ...['download', 'force-download', 'forcedownload', 'save', 'save-as', 'save-to-disk', 'msdownload'],
  ...['file', 'files', 'document', 'attachment', 'application', 'compressed'],
  // What `file` and Apache Tika call a container of Office without having looked inside.
  ...['ole-storage', 'cdf', 'cdfv2', 'vnd.ms-office', 'tika-msoffice', 'tika-ooxml'],
]);

/** `document/pdf`, `pdf/application`, `application/x-pdf`, `application/vnd.adobe.acrobat`: all are meant to be PDF. */
const LIKE_PDF = /pdf|acrobat/;

const NICKNAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'application/zip': ['application/x-zip-compressed', 'application/x-zip', 'application/zip-compressed'],
    'application/gzip': ['application/x-gzip', 'application/x-gunzip', 'application/gzipped'],
    'application/vnd.rar': ['application/x-rar-compressed', 'application/x-rar', 'application/rar'],
    'application/x-7z-compressed': ['application/x-7zip', 'application/x-7z', 'application/7z'],
    'application/vnd.ms-excel': [
      ...['application/excel', 'application/x-excel', 'application/msexcel', 'application/x-msexcel'],
      ...['application/ms-excel', 'application/x-ms-excel', 'application/vnd.excel', 'application/x-dos_ms_excel'],
      ...['application/xls', 'application/x-xls'],
    ],
    'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': ['application/xlsx', 'application/x-xlsx'],
    'application/msword': [
      ...[
        'application/word',
        'application/x-word',
        'application/x-msword',
        'application/ms-word',
        'application/winword',
      ],
      ...['application/vnd.msword', 'application/vnd.ms-word', 'application/doc', 'application/x-doc'],
    ],
    'application/vnd.openxmlformats-officedocument.wordprocessingml.document': [
      ...['application/docx', 'application/x-docx'],
    ],
    'application/rtf': ['application/x-rtf'],
    'application/ms-tnef': ['application/vnd.ms-tnef'],
    'text/csv': [
      ...['text/comma-separated-values', 'text/x-comma-separated-values', 'text/x-csv'],
      ...['application/csv', 'application/x-csv'],
    ],
    'application/xml': ['application/x-xml'],
    'text/xml': ['text/x-xml'],
    'image/jpeg': [
      ...['image/jpg', 'image/pjpeg', 'image/pjpg', 'image/x-jpeg', 'image/x-jpg', 'image/jpe'],
      ...['image/x-citrix-jpeg', 'application/jpeg', 'application/jpg', 'application/x-jpg'],
    ],
    'image/png': ['image/x-png', 'image/x-citrix-png', 'application/png', 'application/x-png'],
    'image/gif': ['image/x-gif', 'image/x-citrix-gif'],
    'image/tiff': ['image/tif', 'image/x-tif', 'image/x-tiff', 'application/tiff', 'application/tif'],
    'image/bmp': ['image/x-ms-bmp', 'image/x-bmp', 'image/x-windows-bmp', 'image/ms-bmp'],
  }).flatMap(([type, nicknames]) => nicknames.map((nickname): [string, string] => [nickname, type])),
);

/** `declared` in lower case, null when absent or malformed. */
export function readClaim(declared: string | null): Claim {
  if (declared === null || !CONCRETE.test(declared) || declared.startsWith('multipart/')) return NOTHING;
  if (declared !== PDF && LIKE_PDF.test(declared)) return { kind: 'nickname', type: PDF, declared };
  const type = NICKNAMES.get(declared);
  if (type !== undefined) return { kind: 'nickname', type, declared };
  return saysNothing(declared) ? NOTHING : { kind: 'type', type: declared };
}

/** The registered type of a nickname, any other type as it is. */
export function canonicalType(mediaType: string): string {
  return NICKNAMES.get(mediaType) ?? mediaType;
}

export function isRegisteredTopLevel(mediaType: string): boolean {
  return TOP_LEVEL.test(mediaType);
}

function saysNothing(declared: string): boolean {
  const subtype = declared.slice(declared.indexOf('/') + 1).replace(/^x-/, '');
  return (
    !isRegisteredTopLevel(declared) ||
    SAYS_NOTHING.has(subtype) ||
    // `…unknown-content-type-` and a name from the registry of Windows.
    subtype.startsWith('unknown-') ||
    isCutOfficeType(declared)
  );
}

/** `application/vnd.openxmlformats-officedocument.spre`: cut at the width of a database column or a field. */
function isCutOfficeType(declared: string): boolean {
  return declared.startsWith('application/vnd.openxmlformats') && mime.getExtension(declared) === null;
}
