/** Bytes that are held until it is known what they are good for. */
export interface HeldBytes {
  /** What stands in `[start, end)`. */
  append(bytes: Buffer, start?: number, end?: number): void;
  bytes(): Buffer;
}

/**
 * One buffer that doubles, so that a mail fed byte by byte costs no more than one fed whole. What lies beyond `maxBytes`
 * is dropped.
 */
export function createHeldBytes(maxBytes: number): HeldBytes {
  let buffer = empty;
  let length = 0;
  return {
    append(bytes, start = 0, end = bytes.length) {
      const wanted = Math.min(length + end - start, maxBytes);
      if (wanted > buffer.length) {
        const longer = Buffer.allocUnsafe(Math.max(wanted, Math.min(2 * buffer.length, maxBytes)));
        buffer.copy(longer, 0, 0, length);
        buffer = longer;
      }
      bytes.copy(buffer, length, start, start + wanted - length);
      length = wanted;
    },
    bytes: () => buffer.subarray(0, length),
  };
}

const empty = Buffer.alloc(0);
