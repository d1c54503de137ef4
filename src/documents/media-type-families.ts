/**
 * Media types whose files begin alike. First bytes can contradict a type of a known family, and no other: a type that is
 * not here may begin with anything.
 */
import { PDF } from './declared-type.ts';

/** `pdf`, `zip`, `compound-file`, `text`, or a media type that is alone in its family. */
export type MediaTypeFamily = string;

const FAMILIES: readonly (readonly [RegExp, MediaTypeFamily])[] = [
  [/^application\/pdf$/, 'pdf'],
  [/^application\/(?:zip|epub\+zip|java-archive|vnd\.ms-xpsdocument)$/, 'zip'],
  [/^application\/vnd\.(?:openxmlformats-officedocument|oasis\.opendocument|apple)\./, 'zip'],
  [/^application\/vnd\.ms-(?:excel|word|powerpoint)\..*\.macroenabled\.12$/, 'zip'],
  [/^application\/(?:x-cfb|msword|vnd\.ms-(?:excel|powerpoint|outlook|project|works)|vnd\.visio)$/, 'compound-file'],
  [/^text\//, 'text'],
  [/^application\/(?:json|xml|rtf|postscript|javascript|edifact|edi-x12|edi-consent)$/, 'text'],
  [/\+(?:json|xml)$/, 'text'],
];

/** Each has a signature of its own. */
const ALONE: ReadonlySet<string> = new Set([
  ...['image/jpeg', 'image/png', 'image/gif', 'image/tiff', 'image/bmp', 'image/webp'],
  ...['application/gzip', 'application/x-7z-compressed', 'application/vnd.rar'],
]);

/** What bytes without control characters can be by their signature. A CSV file may begin `BM-1000` and be no bitmap. */
const SIGNATURES_OF_TEXT: ReadonlySet<string> = new Set([PDF, 'application/eps']);

/** null for a type that may begin with anything. */
export function familyOf(mediaType: string): MediaTypeFamily | null {
  if (ALONE.has(mediaType)) return mediaType;
  return FAMILIES.find(([types]) => types.test(mediaType))?.[1] ?? null;
}

/** `seen`: the type by the signature. null: the bytes may be anything. */
export function familyOfBytes(seen: string | null, firstBytes: Uint8Array): MediaTypeFamily | null {
  if (seen !== null) return familyOf(seen) ?? seen;
  return looksLikeText(firstBytes) ? 'text' : null;
}

export function canBeginLikeText(mediaType: string): boolean {
  return SIGNATURES_OF_TEXT.has(mediaType) || familyOf(mediaType) === 'text';
}

/** In any charset that mail uses: no control characters but white space and those of ISO-2022 and of DOS, or a UTF-16 BOM. */
export function looksLikeText(firstBytes: Uint8Array): boolean {
  const [first, second] = firstBytes;
  if (first === undefined) return false;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  return firstBytes.every(isTextByte);
}

function isTextByte(byte: number): boolean {
  return byte >= 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0x1a || byte === 0x1b;
}
