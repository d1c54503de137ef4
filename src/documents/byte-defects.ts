/** Which defects of a part say something about the bytes of its document, and which about its header only. */
import type { Defect, DefectCode } from '../mime/index.ts';

/**
 * true: the bytes may not be what the sender attached, or stand on a guess; the document then says so itself, in its
 * `error_json`. A new code has to be decided here.
 */
export const isAboutBytes: Readonly<Record<DefectCode, boolean>> = {
  'header-line-malformed': false,
  'header-line-joined': false,
  'header-continuation-unindented': false,
  'header-late': false,
  'header-indented': false,
  'field-repeated': false,
  'parameter-malformed': false,
  'file-name-damaged': false,
  'encoded-word-malformed': false,
  'encoded-word-cut': false,
  // Charsets are those of names; the bytes of a part are given out as they are.
  'charset-unknown': false,
  'charset-bytes-invalid': false,
  'charset-undeclared': false,
  'address-malformed': false,
  'date-malformed': false,
  'content-type-malformed': false,
  'transfer-encoding-unknown': true,
  'encoding-inherited': true,
  'encoding-undeclared': true,
  'encoding-untrue': true,
  'boundary-missing': false,
  'boundary-never-appears': false,
  'boundary-guessed': false,
  'multipart-guessed': false,
  'multipart-is-file': false,
  'multipart-encoded': false,
  // The end of the file may be missing.
  'multipart-not-closed': true,
  // Where the file ends was guessed.
  'delimiter-glued': true,
  'delimiter-indented': true,
  'base64-junk': true,
  'base64-after-padding': true,
  'base64-in-pieces': true,
  'base64-cut': true,
  'base64-url-alphabet': true,
  'base64-data-url': true,
  'quoted-printable-malformed': true,
  'quoted-printable-trailing-space': true,
  'uuencode-malformed': true,
  'uuencode-without-begin': true,
  'uuencode-without-end': true,
};

export const defectsOfBytes = (defects: readonly Defect[]): readonly Defect[] =>
  defects.filter(({ code }) => isAboutBytes[code]);
