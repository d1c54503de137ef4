/** The effective media type of a document: the sender's word where it says something, else the name's and the bytes'. */
import { fileTypeFromBuffer } from 'file-type';
import mime from 'mime';

/** How much of a file `file-type` wants to see. */
export const SNIFF_BYTES = 4_100;

/** Declared types that mean "I do not know", seen in the wild beside application/octet-stream. */
const SAYS_NOTHING: ReadonlySet<string> = new Set([
  'application/octet-stream',
  'application/octetstream',
  'application/x-octet-stream',
  'binary/octet-stream',
  'application/binary',
  'application/x-binary',
  'application/unknown',
  'application/x-unknown',
  'application/x-unknown-content-type',
  'application/download',
  'application/x-download',
  'application/force-download',
  'application/x-force-download',
  'application/save-as',
  'application/x-msdownload',
  'application/file',
  'application/attachment',
  'unknown/unknown',
  'multipart/mixed',
]);

/** Containers: the bytes show the wrapping, the name says what is in it (an .xlsx is a ZIP, an .xls a compound file). */
const CONTAINERS: ReadonlySet<string> = new Set([
  'application/zip',
  'application/x-cfb',
  'application/xml',
  'application/gzip',
]);

const OCTETS = 'application/octet-stream';

/** `declared` as in `PartHeader.declaredMediaType`; `firstBytes` up to SNIFF_BYTES of the decoded part. */
export async function effectiveMediaType(
  declared: string | null,
  fileName: string | null,
  firstBytes: Uint8Array,
): Promise<string> {
  if (declared !== null && !saysNothing(declared)) return declared;
  const seen = await sniff(firstBytes);
  if (seen !== null && !CONTAINERS.has(seen)) return seen;
  const named = fileName === null ? null : mime.getType(fileName.slice(fileName.lastIndexOf('.') + 1));
  return named ?? seen ?? OCTETS;
}

/** `.pdf` for application/pdf; empty for a type without a usual extension. */
export function mediaTypeExtension(mimeType: string): string {
  const extension = mimeType === OCTETS ? null : mime.getExtension(mimeType);
  return extension === null ? '' : `.${extension}`;
}

function saysNothing(declared: string): boolean {
  return SAYS_NOTHING.has(declared) || !/^[a-z]+\/[a-z0-9!#$&^_.+-]+$/.test(declared);
}

async function sniff(firstBytes: Uint8Array): Promise<string | null> {
  try {
    return (await fileTypeFromBuffer(firstBytes))?.mime ?? null;
  } catch {
    return null; // it ran into the end of what we gave it: not recognised
  }
}
