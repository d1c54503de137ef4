/** Bytes that are held until it is known what they are good for. */
export interface HeldBytes {
  append(bytes: Uint8Array): void;
  bytes(): Buffer;
}

/**
 * One buffer that doubles, so that a mail fed byte by byte costs no more than one fed whole. What lies beyond `maxBytes`
 * is dropped.
 */
export function createHeldBytes(maxBytes: number): HeldBytes {
  let buffer = Buffer.alloc(0);
  let length = 0;
  return {
    append(bytes) {
      const wanted = Math.min(length + bytes.length, maxBytes);
      if (wanted > buffer.length) {
        const longer = Buffer.allocUnsafe(Math.max(wanted, Math.min(2 * buffer.length, maxBytes)));
        buffer.copy(longer, 0, 0, length);
        buffer = longer;
      }
      buffer.set(bytes.subarray(0, wanted - length), length);
      length = wanted;
    },
    bytes: () => buffer.subarray(0, length),
  };
}
