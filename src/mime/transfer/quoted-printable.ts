/**
 * Quoted-printable. White space at the end of a line was added on the way and goes; an "=" that is no escape stays.
 * Spec: RFC 2045 §6.7.
 */
import type { DefectCollector } from '../defects.ts';
import { type Arena, type DecoderContext, noBytes, type TransferDecoder } from './decoder.ts';

const tab = 9;
const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const equals = 61;

/** More white space in a row than this belongs to the text: RFC 2045 allows lines of 76, and what is held has an end. */
const maxTrailingSpaceBytes = 16 * 1024;

const hexDigits = buildHexDigits();

export function createQuotedPrintableDecoder(context: DecoderContext): TransferDecoder {
  return new QuotedPrintableDecoder(context);
}

/** A class for the reason that the reader of entities is one. */
class QuotedPrintableDecoder implements TransferDecoder {
  private readonly arena: Arena;
  private readonly defects: DefectCollector;
  /** Raw bytes whose meaning hangs on those after them: white space, a CR after it, the start of an escape. */
  private held: Buffer = noBytes;
  /** Inside a run of white space so long that it is text. */
  private inLongSpace = false;

  constructor({ arena, defects }: DecoderContext) {
    this.arena = arena;
    this.defects = defects;
  }

  write(encoded: Buffer): Uint8Array {
    if (encoded.length === 0) return noBytes;
    return this.decode(this.held.length === 0 ? encoded : Buffer.concat([this.held, encoded]), false);
  }

  end(): Uint8Array {
    return this.held.length === 0 ? noBytes : this.decode(this.held, true);
  }

  private decode(input: Buffer, last: boolean): Buffer {
    const out = this.arena.take(input.length);
    const end = input.length;
    let i = 0;
    let o = 0;
    /** Up to here the output is no literal white space that a line end could still take back. */
    let settled = 0;
    this.held = noBytes;
    while (this.inLongSpace && i < end) {
      if (isSpace(input[i])) out[o++] = input[i++] as number;
      else this.inLongSpace = false;
      settled = o;
    }
    while (i < end) {
      let byte = input[i] as number;
      // Nearly all bytes are neither; the loop is kept this tight for them.
      while (byte !== equals && byte !== lineFeed) {
        out[o++] = byte;
        if (++i === end) break;
        byte = input[i] as number;
      }
      if (i === end) break;
      if (byte === equals) {
        const high = hexDigits[input[i + 1] ?? 0] as number;
        const low = hexDigits[input[i + 2] ?? 0] as number;
        if (i + 2 < end && high >= 0 && low >= 0) {
          out[o++] = (high << 4) | low;
          settled = o;
          i += 3;
          continue;
        }
        const next = readSoftBreak(input, i, last);
        if (next === 'incomplete') {
          this.held = Buffer.from(input.subarray(i));
          return out.subarray(0, o);
        }
        if (next !== 'none') {
          settled = o;
          i = next;
          continue;
        }
        this.defects.add('quoted-printable-malformed');
      } else {
        o = this.dropTrailingSpace(out, o, settled);
        settled = o + 1;
      }
      out[o++] = byte;
      i++;
    }
    return last ? out.subarray(0, this.dropAtEnd(out, o, settled)) : this.holdTail(out, o, settled);
  }

  private dropTrailingSpace(out: Buffer, o: number, settled: number): number {
    const hasReturn = o > settled && out[o - 1] === carriageReturn;
    const textEnd = hasReturn ? o - 1 : o;
    const kept = skipSpaceBack(out, textEnd, settled);
    if (kept === textEnd || textEnd - kept > maxTrailingSpaceBytes) return o;
    this.defects.add('quoted-printable-trailing-space');
    if (hasReturn) out[kept] = carriageReturn;
    return hasReturn ? kept + 1 : kept;
  }

  private dropAtEnd(out: Buffer, o: number, settled: number): number {
    const kept = skipSpaceBack(out, o, settled);
    if (kept === o || o - kept > maxTrailingSpaceBytes) return o;
    this.defects.add('quoted-printable-trailing-space');
    return kept;
  }

  private holdTail(out: Buffer, o: number, settled: number): Buffer {
    const textEnd = o > settled && out[o - 1] === carriageReturn ? o - 1 : o;
    const kept = skipSpaceBack(out, textEnd, settled);
    if (textEnd - kept > maxTrailingSpaceBytes) {
      this.inLongSpace = textEnd === o;
      return out.subarray(0, o);
    }
    if (kept < textEnd) this.held = Buffer.from(out.subarray(kept, o));
    return out.subarray(0, kept < textEnd ? kept : o);
  }
}

/** Where the text goes on after a soft line break at `at`; white space may stand before the line end. */
function readSoftBreak(input: Buffer, at: number, last: boolean): number | 'none' | 'incomplete' {
  let i = at + 1;
  while (isSpace(input[i]) && i - at <= maxTrailingSpaceBytes) i++;
  if (i === input.length) return last ? i : 'incomplete';
  if (input[i] === lineFeed) return i + 1;
  if (input[i] === carriageReturn) {
    if (input[i + 1] === lineFeed) return i + 2;
    return i + 1 === input.length && !last ? 'incomplete' : 'none';
  }
  const startsEscape = i === at + 1 && i + 1 === input.length && (hexDigits[input[i] as number] as number) >= 0;
  return startsEscape && !last ? 'incomplete' : 'none';
}

function skipSpaceBack(out: Buffer, from: number, to: number): number {
  let i = from;
  while (i > to && isSpace(out[i - 1])) i--;
  return i;
}

function isSpace(byte: number | undefined): boolean {
  return byte === space || byte === tab;
}

function buildHexDigits(): Int8Array {
  const table = new Int8Array(256).fill(-1);
  for (let i = 0; i < 16; i++) {
    table[i.toString(16).charCodeAt(0)] = i;
    table[i.toString(16).toUpperCase().charCodeAt(0)] = i;
  }
  return table;
}
