/** Collects what was odd about one thing, each kind once: a hostile part must not fill memory with complaints. */
import type { Defect, DefectCode } from './types.ts';

export type DefectCollector = Set<DefectCode>;

const noDefects: readonly Defect[] = [];

interface DefectMeaning {
  readonly message: string;
  /** A person who waits for the order should know of it also when the mail could be read: it becomes a note. */
  readonly noted: boolean;
}

const noted = (message: string): DefectMeaning => ({ message, noted: true });
const minor = (message: string): DefectMeaning => ({ message, noted: false });

export const defectMeanings: Readonly<Record<DefectCode, DefectMeaning>> = {
  'header-line-malformed': noted('a line among the header fields that is no field, left out'),
  'header-line-joined': noted('a line that is no field, read as the rest of the field before it'),
  'header-continuation-unindented': noted('a header field that continues in a line without indentation'),
  'header-late': noted('lines before the header that are no header fields, left out'),
  'header-indented': noted('a header whose fields are indented'),
  'field-repeated': noted('a header field that may stand once stands there more than once'),
  'parameter-malformed': noted('a malformed parameter of a header field'),
  'file-name-damaged': noted('a file name with characters lost, replaced by the name from another place'),
  'encoded-word-malformed': noted('a malformed encoded word'),
  'encoded-word-cut': noted('an encoded word cut in the middle of a character, joined with the next'),
  'charset-unknown': noted('text in an unknown charset, read as UTF-8 or windows-1252'),
  'charset-bytes-invalid': noted('text with bytes that are invalid in its charset'),
  'charset-undeclared': noted('raw 8-bit text without a charset, whose charset was guessed'),
  'address-malformed': minor('an address that is not local-part@domain'),
  'date-malformed': minor('a date that cannot be read'),
  'content-type-malformed': noted('a Content-Type that is not type/subtype'),
  'transfer-encoding-unknown': noted('an unknown Content-Transfer-Encoding; the bytes are left as they are'),
  'encoding-inherited': noted('base64 declared by the enclosing multipart only, decoded'),
  'encoding-undeclared': noted('base64 although none is declared, decoded'),
  'encoding-untrue': noted('declared as encoded although it is not, taken as it is'),
  'boundary-missing': noted('a multipart without a boundary parameter'),
  'boundary-never-appears': noted('a multipart whose boundary never appears'),
  'boundary-guessed': noted('a multipart split at a delimiter other than the declared one'),
  'multipart-guessed': noted('not declared as a multipart, split because its boundary appears'),
  'multipart-is-file': noted('a file declared as a multipart'),
  'multipart-encoded': noted('a multipart that is encoded as a whole, decoded'),
  'multipart-not-closed': noted('a multipart without its closing boundary: the end may be missing'),
  'delimiter-glued': noted('a delimiter that shares its line with base64 or text'),
  'delimiter-indented': noted('delimiters that are indented'),
  'base64-junk': noted('base64 with characters outside its alphabet, left out'),
  'base64-after-padding': noted('text after the end of base64, left out'),
  'base64-in-pieces': noted('base64 in several padded pieces, joined'),
  'base64-cut': noted('base64 that stops in the middle'),
  'base64-url-alphabet': noted('base64 with the alphabet of URLs'),
  'base64-data-url': noted('base64 with a data: URL prefix, left out'),
  'quoted-printable-malformed': noted('quoted-printable with an "=" that is not an escape, left as it is'),
  'quoted-printable-trailing-space': minor('quoted-printable with white space at a line end, left out'),
  'uuencode-malformed': noted('uuencode with a broken line'),
  'uuencode-without-begin': noted('uuencode without a begin line, left as it is'),
  'uuencode-without-end': noted('uuencode without an end line'),
};

/** A person should know of it also when the mail could be read. */
export const isNoted = (code: DefectCode): boolean => defectMeanings[code].noted;

export function listDefects(codes: ReadonlySet<DefectCode>): readonly Defect[] {
  if (codes.size === 0) return noDefects;
  // Sorted, so that the list does not tell how the mail was cut.
  return [...codes].sort().map((code) => ({ code, message: defectMeanings[code].message }));
}
