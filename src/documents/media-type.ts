/**
 * The effective media type of a document. Three witnesses: the sender, the name and the first bytes. The sender's word
 * counts, unless it says nothing, or the bytes contradict it and the name does not support it.
 * See "Types of documents" in docs/mime.md.
 */
import { fileTypeFromBuffer } from 'file-type';
import mime from 'mime';
import { cleanFileName } from './clean-name.ts';
import { type Claim, canonicalType, isRegisteredTopLevel, PDF, readClaim } from './declared-type.ts';
import {
  canBeginLikeText,
  familyOf,
  familyOfBytes,
  looksLikeText,
  type MediaTypeFamily,
} from './media-type-families.ts';

/** How much of a file `file-type` wants to see. */
export const SNIFF_BYTES = 4_100;

/** Readers of PDF accept other bytes before the header, up to here. Spec: PDF Reference 1.7, appendix H, note 13. */
const PDF_HEADER_WITHIN_BYTES = 1_024;

const OCTETS = 'application/octet-stream';
const ZIP = 'application/zip';

/** Containers: the bytes show the wrapping, the name says what is in it (an .xlsx is a ZIP, an .xls a compound file). */
const CONTAINERS: ReadonlySet<string> = new Set([ZIP, 'application/x-cfb', 'application/xml', 'application/gzip']);

/** Where `mime` knows no extension, or not the usual one. */
const USUAL_EXTENSIONS: ReadonlyMap<string, string> = new Map([
  ['application/edifact', 'edi'],
  ['application/edi-x12', 'edi'],
  ['application/ms-tnef', 'tnef'],
  ['audio/mpeg', 'mp3'],
  ['message/global', 'eml'],
  ['text/vcard', 'vcf'],
]);

interface Evidence {
  readonly claim: Claim;
  /** By the extension of the cleaned name. */
  readonly named: string | null;
  /** By the signature of the bytes. */
  readonly seen: string | null;
  readonly family: MediaTypeFamily | null;
}

/** `declared` as in `PartHeader.declaredMediaType`; `firstBytes` up to SNIFF_BYTES of the decoded part. */
export async function effectiveMediaType(
  declared: string | null,
  fileName: string | null,
  firstBytes: Uint8Array,
): Promise<string> {
  const seen = await typeBySignature(firstBytes);
  const family = familyOfBytes(seen, firstBytes);
  const evidence: Evidence = { claim: readClaim(declared), named: typeByName(fileName), seen, family };
  if (isPdf(evidence, firstBytes)) return PDF;
  return typeByClaim(evidence) ?? typeByNameAndBytes(evidence) ?? lastResort(evidence.claim);
}

/** `.pdf` for application/pdf; empty for a type without a usual extension. */
export function mediaTypeExtension(mimeType: string): string {
  const type = canonicalType(mimeType);
  const extension = type === OCTETS ? null : (USUAL_EXTENSIONS.get(type) ?? mime.getExtension(type));
  return extension === null ? '' : `.${extension}`;
}

/** PDF bytes decide, unless both the sender and the name say the same other type (an Illustrator file begins as PDF). */
function isPdf({ claim, named, seen }: Evidence, firstBytes: Uint8Array): boolean {
  if (seen === PDF) return claim.kind !== 'type' || claim.type !== named;
  if (seen !== null || !hasPdfHeader(firstBytes)) return false;
  // After other bytes the header may belong to something inside, as in a signed container: name or sender must say PDF.
  if (claim.kind === 'type' && familyOf(claim.type) !== 'text') return false;
  return named === PDF || (named === null && (claim.kind === 'nothing' || isNicknameOfPdf(claim)));
}

function hasPdfHeader(firstBytes: Uint8Array): boolean {
  const { buffer, byteOffset, length } = firstBytes;
  return Buffer.from(buffer, byteOffset, Math.min(length, PDF_HEADER_WITHIN_BYTES)).includes('%PDF-');
}

/** null: the sender's word says nothing, or is wrong. */
function typeByClaim(evidence: Evidence): string | null {
  const { claim, named, seen } = evidence;
  if (claim.kind === 'nothing' || isNicknameOfPdf(claim)) return null;
  const contradicted = fits(claim.type, evidence) === 'no';
  if (contradicted && claim.kind === 'nickname') return null;
  if (contradicted) return agreedOtherType(evidence) ?? claim.type;
  // A file of Office is a ZIP as well; when its content shows which, that says more.
  const showsOfficeFile = claim.type === ZIP && seen !== null && seen === (named ?? seen);
  return showsOfficeFile ? seen : claim.type;
}

/** What the bytes are, when the name agrees, or there is none. */
function agreedOtherType(evidence: Evidence): string | null {
  const { named, seen } = evidence;
  if (named !== null) return fits(named, evidence) === 'yes' ? named : null;
  return seen === null || CONTAINERS.has(seen) ? null : seen;
}

function typeByNameAndBytes(evidence: Evidence): string | null {
  const { named, seen } = evidence;
  if (seen === null || named === null) return named ?? seen;
  return CONTAINERS.has(seen) && canBeInContainer(named, evidence) ? named : seen;
}

/** Office writes both kinds (an encrypted .xlsx is a compound file, an .xls may be a ZIP); a PDF or a CSV file is never either. */
function canBeInContainer(named: string, evidence: Evidence): boolean {
  const family = familyOf(named);
  return family === 'zip' || family === 'compound-file' || fits(named, evidence) !== 'no';
}

/** `unknown`: nothing is known of the type, or of the bytes. */
function fits(mediaType: string, { seen, family }: Evidence): 'yes' | 'no' | 'unknown' {
  const wanted = familyOf(mediaType);
  if (family === null) return 'unknown';
  if (wanted === null) return mediaType === seen ? 'yes' : 'unknown';
  return wanted === family ? 'yes' : 'no';
}

function isNicknameOfPdf(claim: Claim): boolean {
  return claim.kind === 'nickname' && claim.type === PDF;
}

/** Of `application/x-pdf` without PDF bytes nothing better is known; `document/pdf` is not even a type. */
function lastResort(claim: Claim): string {
  return claim.kind === 'nickname' && isRegisteredTopLevel(claim.declared) ? claim.declared : OCTETS;
}

function typeByName(fileName: string | null): string | null {
  if (fileName === null) return null;
  const name = cleanFileName(fileName);
  const type = mime.getType(name.slice(name.lastIndexOf('.') + 1).trim());
  return type === OCTETS ? null : type;
}

async function typeBySignature(firstBytes: Uint8Array): Promise<string | null> {
  const type = canonicalType((await sniff(firstBytes)) ?? OCTETS);
  if (type === OCTETS) return null;
  return looksLikeText(firstBytes) && !canBeginLikeText(type) ? null : type;
}

async function sniff(firstBytes: Uint8Array): Promise<string | null> {
  try {
    return (await fileTypeFromBuffer(firstBytes))?.mime ?? null;
  } catch {
    return null; // it ran into the end of what we gave it: not recognised
  }
}
