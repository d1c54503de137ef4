/**
 * What a body is whose header says multipart, or names a boundary, when that boundary does not appear: split at another
 * boundary, which its own lines tell, or a file.
 */
import { maxIndentBytes } from './delimiters.ts';
import { findHeader, startsWithField } from './header-block.ts';
import type { MimeLimits, PartHeader } from './types.ts';

/** How much of a body is held and searched for its first delimiter; a preamble has a few lines. */
export const maxOpeningBytes = 64 * 1024;

export interface Boundary {
  /** Without the leading dashes; bytes as Latin-1 code points. */
  readonly text: string;
  /** Its delimiters have blanks before them. */
  readonly indented: boolean;
}

/** The boundary of the first line that reads as a delimiter: dashes, text, and the header of a part right behind. */
export function findBoundary(body: Buffer, limits: MimeLimits): Boundary | null {
  return search(body, limits, false) ?? search(body, limits, true);
}

const lineFeed = 10;
const space = 32;
const tab = 9;

function search(body: Buffer, limits: MimeLimits, indented: boolean): Boundary | null {
  for (let at = 0; at < body.length; ) {
    const found = body.indexOf(lineFeed, at);
    const next = found < 0 ? body.length : found + 1;
    let start = at;
    if (indented) while (start < at + maxIndentBytes && (body[start] === space || body[start] === tab)) start++;
    const text = delimiterText(body, start, next, limits);
    if (text !== null && start > at === indented && isBeforeHeader(body, next)) return { text, indented };
    at = next;
  }
  return null;
}

/** What stands behind the dashes of a line; null when it is none with dashes. */
function delimiterText(body: Buffer, start: number, end: number, limits: MimeLimits): string | null {
  if (body[start] !== 45 || body[start + 1] !== 45 || end - start > limits.maxBoundaryBytes) return null;
  const text = body.toString('latin1', start + 2, end).trimEnd();
  return text === '' ? null : text;
}

function isBeforeHeader(body: Buffer, at: number): boolean {
  return startsWithField(body, at) && typeof findHeader(body, at, true, 'exact') === 'number';
}

/** A multipart without parts that has the name, the disposition or the encoding of a file. */
export function isFile({ fileName, disposition, transferEncoding }: PartHeader): boolean {
  return fileName !== null || disposition === 'attachment' || !['7bit', '8bit', 'binary'].includes(transferEncoding);
}

/**
 * Which of the boundaries stands in what the beginning of the body encodes. RFC 2045 §6.4 forbids an encoding of a
 * multipart; some gateways encode the whole body all the same.
 */
export function encodedBoundary(
  body: Buffer,
  { transferEncoding }: PartHeader,
  boundaries: readonly string[],
): string | null {
  if (transferEncoding !== 'base64') return null;
  const decoded = Buffer.from(body.toString('latin1'), 'base64').toString('latin1');
  return boundaries.find((boundary) => `\n${decoded}`.includes(`\n--${boundary}`)) ?? null;
}

/** The header that is all the parts inside need. */
export function multipartHeader(mediaType: string, boundary: string): Buffer {
  const quoted = boundary.replace(/["\\]/g, '\\$&');
  return Buffer.from(`Content-Type: ${mediaType}; boundary="${quoted}"\r\n\r\n`, 'latin1');
}
