/**
 * The text of an HTML part whose bytes come in pieces, for a reader who looks for markup. Most charsets have the
 * characters of markup where ASCII has them, so that these parts are given out as they come, each byte as one character;
 * `decode` makes text of what was found. The others (UTF-16, UTF-7, ISO-2022-JP …) are held, up to a bound, and decoded
 * at the end.
 */
import { decodeText, isAscii } from './charset.ts';
import { createHeldBytes, type HeldBytes } from './held-bytes.ts';
import { noBytes } from './transfer/decoder.ts';

export interface HtmlTextReader {
  push(bytes: Uint8Array): void;
  end(): void;
  /** Makes text of a piece of what was given out. */
  decode(piece: string): string;
}

/** Of a part in a charset that ASCII is no part of; what lies beyond is not read. */
const maxHeldBytes = 131_072;

/** Enough to see a byte order mark, or the NUL bytes of UTF-16. */
const headBytes = 2;

export function createHtmlTextReader(charset: string | null, give: (text: string) => void): HtmlTextReader {
  const declared = wideCharset(charset);
  let head: Buffer | null = noBytes;
  let held: HeldBytes | null = null;
  let wide: string | null = null;

  const pass = (bytes: Buffer): void => {
    if (held === null) give(bytes.toString('latin1'));
    else held.append(bytes);
  };

  const begin = (first: Buffer): void => {
    wide = declared ?? charsetByFirstBytes(first);
    held = wide === null ? null : createHeldBytes(maxHeldBytes);
    head = null;
    pass(first);
  };

  return {
    push(chunk) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      if (head === null) return pass(bytes);
      const first: Buffer = head.length === 0 ? bytes : Buffer.concat([head, bytes]);
      // The chunk belongs to the caller; what is held of it is a copy.
      if (first.length < headBytes) head = Buffer.from(first);
      else begin(first);
    },
    end() {
      if (head !== null) begin(head);
      if (held !== null) give(decodeText(held.bytes(), wide, new Set()));
    },
    decode: (piece) =>
      wide !== null || isAscii(piece) ? piece : decodeText(Buffer.from(piece, 'latin1'), charset, new Set()),
  };
}

/** The charset to decode with when its bytes cannot be read as ASCII, else null. */
function wideCharset(charset: string | null): string | null {
  if (charset === null) return null;
  // The longest label that is known has some 20 characters.
  const label = charset.slice(0, 64).toLowerCase();
  const plain = label.replace(/[^a-z0-9]/g, '');
  if (/^(cs)?(unicode|ucs2|iso10646ucs2)$/.test(plain)) return 'utf-16';
  return /^(cs)?(utf7|utf16|utf32|iso2022|hz|unicode11utf7)/.test(plain) ? charset : null;
}

/** UTF-16 that is declared as something else, or as nothing: with its mark, or by the NUL beside the first `<`. */
function charsetByFirstBytes(first: Buffer): string | null {
  const [one, two] = first;
  if ((one === 0xff && two === 0xfe) || (one === 0xfe && two === 0xff)) return 'utf-16';
  if (one === 0x3c && two === 0) return 'utf-16le';
  return one === 0 && two === 0x3c ? 'utf-16be' : null;
}
