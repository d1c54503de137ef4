/**
 * Base64, a whole slice at a time through the engine's own decoder; characters that it does not take send a slice
 * through the lenient loop below. The lenient rule: what is not in the alphabet is left out, `-` and `_` right behind a
 * character of it are those of the URL alphabet, and a single character left over is dropped. Padding ends the data, so
 * that a mailing list's footer does no harm, unless the next line is base64 as well: some programs encode a file piece
 * by piece. Spec: RFC 2045 §6.8, RFC 4648 §5.
 */
import type { DefectCollector } from '../defects.ts';
import { type DecoderContext, noBytes, type TransferDecoder } from './decoder.ts';

const invalid = 255;
const whiteSpace = 254;
const urlMinus = 253;
const urlUnderline = 252;
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const sextets = buildSextets();

/** A line behind padding is told from a word of a footer by its own padding, or by this length. */
const leastPieceCharacters = 32;
/** A line of base64 this long needs no end to be recognised. */
const enoughPieceCharacters = 128;

export function createBase64Decoder({ arena, defects }: DecoderContext): TransferDecoder {
  /** Characters of a quantum that is not whole yet: at most three of the alphabet, or with padding that may be. */
  let carry = '';
  /** The last character that was fed is one of the alphabet. */
  let afterAlphabet = false;
  /** Padding was met. `tail` is what came behind it, as long as that may be another piece. */
  let ended = false;
  let tail: string | null = '';

  /** Gives the length of what was written to `out`. The first `carried` characters are the carry. */
  const decodeLeniently = (text: string, carried: number, last: boolean, out: Buffer): number => {
    let written = 0;
    let rest: string | null = text;
    let own = carried;
    while (rest !== null) {
      if (ended) rest = resume(rest, last);
      if (rest === null) break;
      const kept = keepAlphabet(rest, own, afterAlphabet, defects);
      const whole = kept.length - (kept.length % 4);
      const odd = kept.sextets.subarray(whole, kept.length);
      afterAlphabet = kept.inside;
      own = 0;
      written += decodeSextets(kept.sextets, whole, out.subarray(written));
      carry = kept.padded ? '' : text4(odd);
      if (kept.padded) written += decodeRest(odd, out.subarray(written), defects, true);
      ended = kept.padded;
      rest = kept.padded ? rest.slice(kept.end) : null;
    }
    return written;
  };

  /** Behind padding: the next piece and all that follows it; null when there is none, or not yet. */
  const resume = (text: string, last: boolean): string | null => {
    afterAlphabet = false;
    if (tail === null) {
      noteAfterPadding(text, defects);
      return null;
    }
    tail = (tail + text).replace(/^[\s=]+/, '');
    const beginning = tail.slice(0, enoughPieceCharacters);
    const lineEnd = beginning.indexOf('\n');
    const line = lineEnd < 0 ? beginning : beginning.slice(0, lineEnd);
    if (lineEnd < 0 && !last && line.length < enoughPieceCharacters) return null;
    const found = tail;
    const goesOn = isPiece(line);
    tail = goesOn ? '' : null;
    if (goesOn) defects.add('base64-in-pieces');
    else noteAfterPadding(found, defects);
    return goesOn ? found : null;
  };

  return {
    write(encoded) {
      if (encoded.length === 0) return noBytes;
      const slice = encoded.toString('latin1', 0, encoded.length);
      const carried = carry.length;
      const text = carry === '' ? slice : carry + slice;
      const out = arena.take(outputBytes(text.length + (tail?.length ?? 0)));
      const fast = ended ? null : decodeStrictly(text, out);
      if (fast === null) return out.subarray(0, decodeLeniently(text, carried, false, out));
      carry = '';
      afterAlphabet = isInAlphabet(slice.charCodeAt(slice.length - 1));
      // Without padding only whole quanta are taken; the rest is up to three characters among white space.
      if (fast.read < text.length) carry = withoutWhiteSpace(text.slice(fast.read));
      else if (fast.written % 3 !== 0) ended = true;
      return out.subarray(0, fast.written);
    },
    end() {
      const out = Buffer.alloc(outputBytes(tail?.length ?? 0));
      let written = ended ? decodeLeniently('', 0, true, out) : 0;
      if (carry !== '') {
        const kept = keepAlphabet(carry, carry.length, false, defects);
        written += decodeRest(kept.sextets.subarray(0, kept.length), out.subarray(written), defects, kept.padded);
      }
      return written === 0 ? noBytes : out.subarray(0, written);
    },
  };
}

function outputBytes(characters: number): number {
  return Math.ceil(characters / 4) * 3 + 3;
}

/** A line that is base64 and nothing else, and no word of text. */
function isPiece(line: string): boolean {
  const text = line.slice(0, enoughPieceCharacters).trimEnd();
  // Its beginning alone, so that neither the cuts of the mail nor its length count.
  if (text.length >= enoughPieceCharacters) return /^[A-Za-z0-9+/=]+$/.test(text);
  const padded = /^[A-Za-z0-9+/]+(={0,2})$/.exec(text);
  if (padded === null || text.length % 4 !== 0) return false;
  return padded[1] !== '' || text.length >= leastPieceCharacters;
}

/** Null when the text is not plain base64. */
function decodeStrictly(text: string, out: Uint8Array): { read: number; written: number } | null {
  try {
    return out.setFromBase64(text, { lastChunkHandling: 'stop-before-partial' });
  } catch {
    return null;
  }
}

interface Kept {
  readonly sextets: Uint8Array;
  readonly length: number;
  /** An "=" was met; nothing after it is kept. */
  readonly padded: boolean;
  /** Behind that "=", else behind the text. */
  readonly end: number;
  /** The last character is one of the alphabet. */
  readonly inside: boolean;
}

/** `afterAlphabet`: what stands before the text, its first `carried` characters not counted, is one of the alphabet. */
function keepAlphabet(text: string, carried: number, afterAlphabet: boolean, defects: DefectCollector): Kept {
  const stop = text.indexOf('=');
  const end = stop < 0 ? text.length : stop;
  const kept = new Uint8Array(end);
  let length = 0;
  let inside = afterAlphabet;
  for (let i = 0; i < end; i++) {
    if (i === carried) inside = afterAlphabet;
    const value = sextets[text.charCodeAt(i) & 255] as number;
    if (value < 64) {
      kept[length++] = value;
      inside = true;
    } else if ((value === urlMinus || value === urlUnderline) && inside) {
      kept[length++] = value === urlMinus ? 62 : 63;
      defects.add('base64-url-alphabet');
    } else {
      inside = false;
      if (value !== whiteSpace) defects.add('base64-junk');
    }
  }
  return { sextets: kept, length, padded: stop >= 0, end: end + 1, inside };
}

function decodeSextets(values: Uint8Array, length: number, out: Uint8Array): number {
  let written = 0;
  for (let i = 0; i < length; i += 4) {
    const quantum =
      ((values[i] as number) << 18) |
      ((values[i + 1] as number) << 12) |
      ((values[i + 2] as number) << 6) |
      (values[i + 3] as number);
    out[written++] = quantum >> 16;
    out[written++] = quantum >> 8;
    out[written++] = quantum;
  }
  return written;
}

/** The last one to three characters: one says nothing, two are a byte, three are two. */
function decodeRest(values: Uint8Array, out: Uint8Array, defects: DefectCollector, padded: boolean): number {
  if (values.length === 0) return 0;
  if (values.length === 1 || !padded) defects.add('base64-cut');
  if (values.length === 1) return 0;
  out[0] = ((values[0] as number) << 2) | ((values[1] as number) >> 4);
  if (values.length === 2) return 1;
  out[1] = ((values[1] as number) << 4) | ((values[2] as number) >> 2);
  return 2;
}

function noteAfterPadding(text: string, defects: DefectCollector): void {
  if (!defects.has('base64-after-padding') && /[A-Za-z0-9+/]/.test(text)) defects.add('base64-after-padding');
}

function isInAlphabet(code: number): boolean {
  return (sextets[code & 255] as number) < 64;
}

function withoutWhiteSpace(text: string): string {
  return text.replace(/[ \t\r\n\f]/g, '');
}

function text4(values: Uint8Array): string {
  return Array.from(values, (value) => alphabet[value]).join('');
}

function buildSextets(): Uint8Array {
  const table = new Uint8Array(256).fill(invalid);
  for (const character of ' \t\r\n\f') table[character.charCodeAt(0)] = whiteSpace;
  table[45] = urlMinus;
  table[95] = urlUnderline;
  for (let i = 0; i < 64; i++) table[alphabet.charCodeAt(i)] = i;
  return table;
}
