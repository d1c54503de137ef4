/**
 * Makes a file name as sent fit to be shown and saved, and takes its extension off. See "Names of documents" in
 * docs/mime.md for the rule with examples. Time is linear in the name, which a sender can make 256 KB long.
 */

/** What file systems take for a name. */
export const MAX_FILE_NAME_BYTES = 255;
/** Of which an extension may keep this much; a longer one is no extension. */
const MAX_EXTENSION_BYTES = 32;

/**
 * Units of UTF-16 that are normalised; what is between them and the extension cannot be shown. Canonical composition
 * makes at most 3 units 2 bytes (u + two marks becomes U+01D6), so 255 bytes need 383 units.
 */
const MAX_NORMALISED_UNITS = 512;
/** The same for an extension: 32 bytes need 48 units. */
const MAX_EXTENSION_UNITS = 48;

/**
 * Removed: controls that are no white space, soft hyphen, grapheme joiner, the marks, embeddings, overrides and isolates
 * of bidirectional text (able to show `exe.pdf` for `fdp.exe`), zero-width space, word joiner, BOM, invisible operators,
 * annotation marks and tags. Not so U+200C and U+200D, which Persian, Indic scripts and emoji need.
 */
const INVISIBLE =
  /\u034f|[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/**
 * Marks beyond the 30th on one letter. Node normalises a run of marks in quadratic time: 3 ms for 1,024 of them, 12 s
 * for 65,536, and a mail may have 10,000 names. Spec: UAX #15 §13 (Stream-Safe Text Format).
 */
const EXCESS_MARKS = /(?<=\p{M}{30})\p{M}+/gu;

/** Letters that look like a blank: Hangul fillers and the empty Braille pattern. */
const BLANK_LETTERS = /[\u2800\u3164\uffa0]/g;

/** Tabs and line ends, and the blanks after them. */
const LINE_SPACE = /[\t-\r\u0085\u2028\u2029][\t-\r\u0085\u2028\u2029 ]*/g;

const JOINERS = /[\u200c\u200d]+/g;

/** Drive letter, root or UNC, `./`, `../`, `~/`, `~user/`, URL; a letter and a colon before a blank (`B: offer.pdf`) is no drive. */
const BEGINS_AS_PATH = /^(?:[a-z]:(?!\s)|[/\\]|\.\.?[/\\]|~[^/\\]*[/\\]|[a-z][a-z0-9+.-]{1,19}:[/\\]{2}|file:[/\\])/i;
const HAS_PARENT_SEGMENT = /[/\\]\.\.[/\\]/;
const DRIVE = /^[a-z]:/i;

/** Windows drops dots and blanks at the end of a name. */
const DROPPED_AT_END = /[\s.]/;
/** A folder keeps its name, and `order.pdf\` comes from `filename="order.pdf\"`. */
const DROPPED_AT_PATH_END = /[\s./\\]/;

/** Names that Windows gives to devices, with or without an extension. */
const RESERVED_ON_WINDOWS = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?$/i;

/** Empty when nothing that could be shown is left. */
export function cleanFileName(sent: string): string {
  const segment = lastSegment(withoutEnd(visibleText(sent), DROPPED_AT_PATH_END).trimStart());
  const name = trimmed(boundedUnits(trimmed(segment)).replace(EXCESS_MARKS, '').normalize('NFC'));
  return trimmed(cutToBytes(RESERVED_ON_WINDOWS.test(name) ? `_${name}` : name));
}

/**
 * The extension begins with the last dot, or with `.tar` before it, and has neither blanks nor more than 32 bytes.
 * Stem and extension together are the name.
 */
export function splitExtension(name: string): { readonly stem: string; readonly extension: string } {
  const dot = name.lastIndexOf('.');
  const start = name.slice(0, Math.max(dot, 0)).toLowerCase().endsWith('.tar') ? dot - '.tar'.length : dot;
  const extension = start > 0 ? name.slice(start) : '';
  const usable =
    extension.length <= MAX_EXTENSION_BYTES &&
    Buffer.byteLength(extension) <= MAX_EXTENSION_BYTES &&
    !/\s/.test(extension);
  return usable ? { stem: name.slice(0, name.length - extension.length), extension } : { stem: name, extension: '' };
}

/** The longest beginning of whole characters that fits. */
export function firstBytes(text: string, maxBytes: number): string {
  // encodeInto stops before a character that does not fit whole; `read` counts UTF-16 units.
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}

function visibleText(sent: string): string {
  return sent
    .toWellFormed()
    .replace(INVISIBLE, '')
    .replace(BLANK_LETTERS, ' ')
    .replace(LINE_SPACE, lineSpaceAsBlank)
    .replace(JOINERS, joinerInsideScript);
}

function trimmed(name: string): string {
  return withoutEnd(name, DROPPED_AT_END).trimStart();
}

/** One blank between words; none at the ends, after another blank, or before the dot of the extension. */
function lineSpaceAsBlank(run: string, offset: number, text: string): string {
  const before = text[offset - 1];
  const after = text[offset + run.length];
  return before === undefined || before === ' ' || after === undefined || after === '.' ? '' : ' ';
}

/** Beside an ASCII character a joiner changes nothing that can be seen, and hides in `order.csv`. */
function joinerInsideScript(run: string, offset: number, text: string): string {
  const before = text.charCodeAt(offset - 1);
  const after = text.charCodeAt(offset + run.length);
  return before > 0x7f && after > 0x7f ? run.slice(0, 1) : '';
}

/** Of a path its last segment; in any other name a separator is part of it, and `_` keeps its place. */
function lastSegment(text: string): string {
  if (!BEGINS_AS_PATH.test(text) && !HAS_PARENT_SEGMENT.test(text)) return text.replace(/[/\\]/g, '_');
  const segment = text.slice(Math.max(text.lastIndexOf('/'), text.lastIndexOf('\\')) + 1);
  return segment === text ? text.replace(DRIVE, '') : segment;
}

/** No loop of a regular expression: those take quadratic time for `. . . . x`. */
function withoutEnd(text: string, droppedAtEnd: RegExp): string {
  let end = text.length;
  while (end > 0 && droppedAtEnd.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/** The beginning and the extension. */
function boundedUnits(name: string): string {
  if (name.length <= MAX_NORMALISED_UNITS) return name;
  const dot = name.lastIndexOf('.');
  const extension = name.length - dot <= MAX_EXTENSION_UNITS ? name.slice(dot) : '';
  return (name.slice(0, MAX_NORMALISED_UNITS - extension.length) + extension).toWellFormed();
}

/** At most 255 bytes, whole characters, the extension kept. */
function cutToBytes(name: string): string {
  if (Buffer.byteLength(name) <= MAX_FILE_NAME_BYTES) return name;
  const { stem, extension } = splitExtension(name);
  return firstBytes(stem, MAX_FILE_NAME_BYTES - Buffer.byteLength(extension)).trimEnd() + extension;
}
