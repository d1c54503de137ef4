/**
 * Whether a part is an image of a type that mail programs show within the text: by its type, or, when that says nothing,
 * by its first bytes and its name. Not so PDF, TIFF, DWG, PostScript, PSD or HEIC, whatever `image/…` they are sent as:
 * those are opened as files.
 */
import type { PartHeader } from './types.ts';

/** EMF and WMF, also packed, are what Outlook makes of drawings in its text. */
const shownTypes: ReadonlySet<string> = new Set(
  'png x-png apng vnd.mozilla.apng jpeg jpg pjpeg x-jpeg x-jpg jpe jfif pjpg gif x-gif webp bmp x-bmp x-ms-bmp x-windows-bmp svg+xml svg avif x-icon ico vnd.microsoft.icon emf x-emf wmf x-wmf emz x-emz wmz x-wmz'
    .split(' ')
    .map((subtype) => `image/${subtype}`),
);

const shownExtensions: ReadonlySet<string> = new Set(
  'png apng jpg jpeg jpe jfif pjpeg pjp gif webp bmp dib svg avif ico emf wmf emz wmz'.split(' '),
);

/** Of files that are opened, and that senders now and then declare as `image/jpeg` and the like. */
const fileExtensions: ReadonlySet<string> = new Set(
  'pdf tif tiff dwg dxf ps eps ai psd heic heif doc docx xls xlsx xlsm ods odt rtf csv txt xml edi zip 7z rar'.split(
    ' ',
  ),
);

/** Declared types that mean "I do not know", seen in the wild beside application/octet-stream. */
const emptyTypes: ReadonlySet<string> = new Set(
  'octet-stream octetstream x-octet-stream binary x-binary unknown x-unknown x-unknown-content-type download x-download force-download x-force-download save-as x-msdownload file attachment'
    .split(' ')
    .map((subtype) => `application/${subtype}`)
    .concat('binary/octet-stream', 'unknown/unknown', 'image/unknown', 'image/x-unknown'),
);

/**
 * What the first bytes of a part are: `unread` as long as they have not come, `image` of a type that is shown, `file` of
 * one that is not, `unknown` when they do not tell.
 */
export type FirstBytesKind = 'unread' | 'image' | 'file' | 'unknown';

/** The longest mark, RIFF….WEBP, has twelve bytes. */
export const markBytes = 12;

/** The type says nothing about the content: a name and the first bytes may. */
export function saysNothing({ declaredMediaType, mediaType }: PartHeader): boolean {
  if (declaredMediaType === null) return mediaType === 'text/plain';
  return emptyTypes.has(declaredMediaType) || !/^[a-z]+\/[a-z0-9!#$&^_.+-]+$/.test(declaredMediaType);
}

/** Whether the first bytes are needed to tell if the part is an image that is shown. */
export function needsFirstBytes(header: PartHeader): boolean {
  return saysNothing(header) || (shownTypes.has(header.mediaType) && fileExtensions.has(extensionOf(header.fileName)));
}

export function isShownImage(header: PartHeader, firstBytes: FirstBytesKind): boolean {
  if (!needsFirstBytes(header)) return shownTypes.has(header.mediaType);
  if (firstBytes === 'unknown') return shownExtensions.has(extensionOf(header.fileName));
  return firstBytes === 'image';
}

/** In lower case and without the dot; empty when there is none. */
export function extensionOf(fileName: string | null): string {
  const name = (fileName ?? '').trim();
  const dot = name.lastIndexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1).toLowerCase();
}

const imageMarks = ['\x89PNG\r\n\x1a\n', 'GIF87a', 'GIF89a', '\xff\xd8\xff', '<svg'];
const fileMarks = [
  '%PDF',
  '%!PS',
  'II*\0',
  'MM\0*',
  'PK\x03\x04',
  '\xd0\xcf\x11\xe0',
  'AC10',
  '8BPS',
  '{\\rtf',
  'Rar!',
];

/** `first` is at least `markBytes` of the part, or all of it. */
export function kindOfFirstBytes(first: Uint8Array): Exclude<FirstBytesKind, 'unread'> {
  const text = Buffer.from(first.buffer, first.byteOffset, first.length).toString('latin1');
  if (imageMarks.some((mark) => text.startsWith(mark))) return 'image';
  if (isWebp(text) || /^ftypavi[fs]/.test(text.slice(4)) || isBitmap(text)) return 'image';
  return fileMarks.some((mark) => text.startsWith(mark)) ? 'file' : 'unknown';
}

function isWebp(text: string): boolean {
  return text.startsWith('RIFF') && text.startsWith('WEBP', 8);
}

/** `BM` alone begins text as well; the four reserved bytes behind the size are zero. */
function isBitmap(text: string): boolean {
  return text.startsWith('BM') && text.slice(6, 10) === '\0\0\0\0';
}
