/**
 * Mail whose lines end with a bare CR, as old Macs wrote it: when the first two line ends are that, every bare CR of the
 * mail is a line end. Two, because one stray CR in the first header line of an ordinary mail must change nothing.
 */

type Mode = 'undecided' | 'as-is' | 'bare-returns';

export interface LineEndFilter {
  /** Owns: the result is the chunk itself or memory of its own. */
  push(chunk: Uint8Array): Uint8Array;
  end(): Uint8Array;
  /** What came out is not what went in. */
  changesLineEnds(): boolean;
}

/** Two lines of an ordinary header; when they are longer, the mail is taken as it is. */
const maxLookBytes = 4 * 1024;

const lineFeed = 10;
const carriageReturn = 13;
const nothing = new Uint8Array(0);

export function createLineEndFilter(): LineEndFilter {
  let mode: Mode = 'undecided';
  let held: Uint8Array = nothing;

  const decide = (bytes: Uint8Array, last: boolean): Mode => {
    const found = endsWithBareReturns(bytes, last);
    if (found !== 'open') return found ? 'bare-returns' : 'as-is';
    return last || bytes.length > maxLookBytes ? 'as-is' : 'undecided';
  };

  const convert = (bytes: Uint8Array, last: boolean): Uint8Array => {
    const out = Uint8Array.from(bytes);
    for (let i = out.indexOf(carriageReturn); i >= 0; i = out.indexOf(carriageReturn, i + 1)) {
      if (i + 1 === out.length && !last) {
        held = out.slice(i);
        return out.subarray(0, i);
      }
      if (out[i + 1] !== lineFeed) out[i] = lineFeed;
    }
    return out;
  };

  const pass = (chunk: Uint8Array, last: boolean): Uint8Array => {
    if (mode === 'as-is') return chunk;
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    held = nothing;
    if (mode === 'undecided') mode = decide(bytes, last);
    if (mode === 'bare-returns') return convert(bytes, last);
    if (mode === 'as-is') return bytes;
    held = Uint8Array.from(bytes);
    return nothing;
  };

  return {
    push: (chunk) => pass(chunk, false),
    end: () => pass(nothing, true),
    changesLineEnds: () => mode === 'bare-returns',
  };
}

/** Whether the first two line ends are bare CRs; `open` while too little is there to say. */
function endsWithBareReturns(bytes: Uint8Array, last: boolean): boolean | 'open' {
  const end = Math.min(bytes.length, maxLookBytes);
  let seen = 0;
  for (let i = 0; i < end; i++) {
    if (bytes[i] === lineFeed) return false;
    if (bytes[i] !== carriageReturn) continue;
    if (i + 1 === bytes.length && !last) return 'open';
    if (bytes[i + 1] === lineFeed) return false;
    seen++;
    if (seen === 2) return true;
  }
  return 'open';
}
