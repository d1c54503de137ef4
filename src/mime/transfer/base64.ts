/**
 * Base64, a whole slice at a time through the engine's own decoder; characters that it does not take send a slice
 * through the lenient loop below. The lenient rule: what is not in the alphabet is left out, the first "=" ends the
 * data, and a single character left over is dropped. Spec: RFC 2045 §6.8.
 */
import type { DefectCollector } from '../defects.ts';
import { type DecoderContext, noBytes, type TransferDecoder } from './decoder.ts';

const invalid = 255;
const whiteSpace = 254;
const padding = 253;
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const sextets = buildSextets();

export function createBase64Decoder({ arena, defects }: DecoderContext): TransferDecoder {
  /** Characters of a quantum that is not whole yet: at most three of the alphabet, or with padding that may be. */
  let carry = '';
  let ended = false;

  const decodeLeniently = (text: string, out: Buffer): number => {
    const kept = keepAlphabet(text, defects);
    if (kept.padded) ended = true;
    const whole = kept.length - (kept.length % 4);
    carry = '';
    let written = decodeSextets(kept.sextets, whole, out);
    if (kept.padded)
      written += decodeRest(kept.sextets.subarray(whole, kept.length), out.subarray(written), defects, true);
    else carry = text4(kept.sextets.subarray(whole, kept.length));
    return written;
  };

  return {
    write(encoded) {
      if (encoded.length === 0) return noBytes;
      if (ended) {
        noteAfterPadding(encoded, defects);
        return noBytes;
      }
      const slice = encoded.toString('latin1', 0, encoded.length);
      const text = carry === '' ? slice : carry + slice;
      const out = arena.take(Math.ceil(text.length / 4) * 3);
      const fast = decodeStrictly(text, out);
      if (fast === null) return out.subarray(0, decodeLeniently(text, out));
      carry = '';
      // Without padding only whole quanta are taken; the rest is up to three characters among white space.
      if (fast.read < text.length) carry = withoutWhiteSpace(text.slice(fast.read));
      else if (fast.written % 3 !== 0) ended = true;
      return out.subarray(0, fast.written);
    },
    end() {
      if (ended || carry === '') return noBytes;
      const kept = keepAlphabet(carry, defects);
      const out = Buffer.alloc(3);
      return out.subarray(0, decodeRest(kept.sextets.subarray(0, kept.length), out, defects, kept.padded));
    },
  };
}

/** A whole text at once, as encoded words carry it. */
export function decodeBase64(text: string, defects: DefectCollector): Buffer {
  const out = Buffer.allocUnsafe(Math.ceil(text.length / 4) * 3);
  const kept = keepAlphabet(text, defects);
  const whole = kept.length - (kept.length % 4);
  const written = decodeSextets(kept.sextets, whole, out);
  const rest = decodeRest(kept.sextets.subarray(whole, kept.length), out.subarray(written), defects, kept.padded);
  return out.subarray(0, written + rest);
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
}

function keepAlphabet(text: string, defects: DefectCollector): Kept {
  const kept = new Uint8Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const value = sextets[text.charCodeAt(i) & 255] as number;
    if (value < 64) kept[length++] = value;
    else if (value === padding) {
      noteAfterPadding(Buffer.from(text.slice(i), 'latin1'), defects);
      return { sextets: kept, length, padded: true };
    } else if (value === invalid) defects.add('base64-junk');
  }
  return { sextets: kept, length, padded: false };
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

function noteAfterPadding(bytes: Buffer, defects: DefectCollector): void {
  if (defects.has('base64-after-padding')) return;
  for (const byte of bytes) {
    if ((sextets[byte] as number) < 64) {
      defects.add('base64-after-padding');
      return;
    }
  }
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
  table[61] = padding;
  for (let i = 0; i < 64; i++) table[alphabet.charCodeAt(i)] = i;
  return table;
}
