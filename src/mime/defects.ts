/** Collects what was odd about one thing, each kind once: a hostile part must not fill memory with complaints. */
import type { Defect, DefectCode } from './types.ts';

export type DefectCollector = Set<DefectCode>;

const noDefects: readonly Defect[] = [];

export const defectMessages: Readonly<Record<DefectCode, string>> = {
  'header-line-malformed': 'a line among the header fields that is none',
  'header-continuation-unindented': 'a header field goes on in a line that is not indented',
  'parameter-malformed': 'a parameter of a header field is malformed',
  'encoded-word-malformed': 'an encoded word is malformed',
  'charset-unknown': 'text in a charset that is not known, read as UTF-8 or windows-1252',
  'charset-bytes-invalid': 'text with bytes that its charset does not have',
  'address-malformed': 'an address that is not local-part@domain',
  'date-malformed': 'a date that cannot be read',
  'content-type-malformed': 'a Content-Type that is no type/subtype',
  'transfer-encoding-unknown': 'a Content-Transfer-Encoding that is not known; the bytes are left as they are',
  'boundary-missing': 'a multipart without a boundary parameter',
  'boundary-never-appears': 'a multipart whose boundary never appears',
  'multipart-not-closed': 'a multipart without its closing boundary',
  'base64-junk': 'base64 with characters outside its alphabet, left out',
  'base64-after-padding': 'base64 that goes on after its padding, the rest left out',
  'base64-cut': 'base64 that stops in the middle',
  'quoted-printable-malformed': 'quoted-printable with an "=" that is no escape, left as it is',
  'quoted-printable-trailing-space': 'quoted-printable with white space at a line end, left out',
  'uuencode-malformed': 'uuencode with a broken line',
  'uuencode-without-begin': 'uuencode without a begin line, left as it is',
  'uuencode-without-end': 'uuencode without an end line',
};

export function listDefects(codes: ReadonlySet<DefectCode>): readonly Defect[] {
  if (codes.size === 0) return noDefects;
  // Sorted, so that the list does not tell how the mail was cut.
  return [...codes].sort().map((code) => ({ code, message: defectMessages[code] }));
}
