/**
 * How much of each field of a part is read, whatever it holds: bounded before it is decoded, normalised, compared or stored.
 * The engine's limits (limits.ts) end the reading of a mail; these never do. What lies beyond them is what no mail software
 * writes, and costs no more than what does.
 *
 * Reading parameters takes some 0.2 µs a byte where it takes longest (a field of backslashes and quotes), and decoding in
 * the dearest charset (UTF-7) about 1 µs. A part is read in one step, which is to hold the event loop for less than 50 ms:
 * MAX_REPEATED_FIELDS × 2 fields × MAX_PARAMETERIZED_BYTES × 0.2 µs = 26 ms, and each name decoded once more = 16 ms a name.
 */

/**
 * Content-Type and Content-Disposition. A name of 255 characters takes 255 × 4 bytes × 3 for percent escapes = 3 KB, a
 * third more in sections of one line each, twice where both forms are sent: 8 KB. A boundary may have 8 KB (limits.ts), for
 * which RFC 2046 §5.1.1 allows 70 bytes.
 */
export const MAX_PARAMETERIZED_BYTES = 16 * 1024;

/** Kept of the end of a longer one, where the extension of its name is. */
const KEPT_END_BYTES = 128;

/** Of a field that may stand once: gateways add a second one. */
export const MAX_REPEATED_FIELDS = 4;

/** `type/subtype`: RFC 6838 §4.2 allows 127 characters for each. */
export const MAX_MEDIA_TYPE_CHARACTERS = 127 + 1 + 127;

/** A charset, a disposition, an encoding: the longest registered name of a charset has 45 characters. */
export const MAX_TOKEN_CHARACTERS = 64;

/** With blanks and comments around it: a line, RFC 5322 §2.1.1. */
const MAX_TOKEN_FIELD_BYTES = 998;

/** Content-ID and Content-Location: a line. HTML that mentions more is not taken note of either (shown-by-html.ts). */
const MAX_ADDRESS_BYTES = 998;

/**
 * Content-Description, where it may be a name: 200 characters (file-name.ts) × 4 bytes × 3 for quoted-printable, and a third
 * more for the marks of encoded words.
 */
const MAX_DESCRIPTION_BYTES = 4 * 1024;

/** As much of a Content-Type or Content-Disposition as is read: its beginning, and its end. */
export function boundedParameters(value: string): string {
  if (value.length <= MAX_PARAMETERIZED_BYTES) return value;
  return value.slice(0, MAX_PARAMETERIZED_BYTES - KEPT_END_BYTES) + value.slice(-KEPT_END_BYTES);
}

/** As much of a Content-Transfer-Encoding as is read. */
export const boundedToken = (value: string): string => value.slice(0, MAX_TOKEN_FIELD_BYTES);

/** Null for what is too long: half an address is another address. */
export const boundedAddress = (value: string): string | null => (value.length > MAX_ADDRESS_BYTES ? null : value);

/** Null for what is too long to be a name. */
export const boundedDescription = (value: string): string | null =>
  value.length > MAX_DESCRIPTION_BYTES ? null : value;
