/** What turns the encoded bytes of a part into its own. One decoder reads one part. */
import type { DefectCollector } from '../defects.ts';

export interface TransferDecoder {
  /** Owns: the result may lie in `encoded` or in the arena of the parser, and is good until the parser is fed again. */
  write(encoded: Buffer): Uint8Array;
  /** What was held back for want of the bytes after it. */
  end(): Uint8Array;
}

/** Scratch space for decoded bytes, taken back as a whole each time the parser is fed. */
export interface Arena {
  take(sizeBytes: number): Buffer;
  reset(): void;
}

export interface DecoderContext {
  readonly arena: Arena;
  readonly defects: DefectCollector;
}

export const noBytes = Buffer.alloc(0);

/** Keeps one slab, of the size that one feeding needed at most; it grows to what the caller's chunks ask for. */
export function createArena(): Arena {
  let slab = noBytes;
  let used = 0;
  let wanted = 0;
  /** What the feeding before this one needed; the slab grows when bytes are asked for, so not at the end of a mail. */
  let wantedBefore = 0;
  return {
    take(sizeBytes) {
      if (used === 0 && wantedBefore > slab.length) slab = Buffer.allocUnsafeSlow(wantedBefore);
      wanted += sizeBytes;
      if (used + sizeBytes > slab.length) return Buffer.allocUnsafe(sizeBytes);
      used += sizeBytes;
      return slab.subarray(used - sizeBytes, used);
    },
    reset() {
      wantedBefore = wanted > maxSlabBytes ? 0 : wanted;
      used = 0;
      wanted = 0;
    },
  };
}

/** 64 KB chunks decode to less than this even when messages lie encoded in messages. */
const maxSlabBytes = 512 * 1024;

export const identityDecoder: TransferDecoder = {
  write: (encoded) => encoded,
  end: () => noBytes,
};
