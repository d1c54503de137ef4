/**
 * A decoder that chooses how to read a part by its first bytes, which it holds until there are enough of them. The
 * choice rests on the first `maxBytes` alone, so that it does not hang on how the part was cut.
 */
import { noBytes, type TransferDecoder } from './decoder.ts';

/** `more`: it takes more bytes than these to say. What stands before `skip` is left out. */
export type Choice = { readonly decoder: TransferDecoder; readonly skip: number } | 'more';

export function createHeadDecoder(o: {
  readonly maxBytes: number;
  /** `whole`: the part has no more than `head`. It must choose for `maxBytes` bytes, and for a whole part. */
  readonly choose: (head: Buffer, whole: boolean) => Choice;
}): TransferDecoder {
  let chosen: TransferDecoder | null = null;
  let held: Buffer = noBytes;

  const settle = (bytes: Buffer, whole: boolean): { decoder: TransferDecoder; rest: Buffer } | null => {
    const choice = o.choose(bytes.subarray(0, o.maxBytes), whole && bytes.length <= o.maxBytes);
    if (choice === 'more') return null;
    chosen = choice.decoder;
    held = noBytes;
    return { decoder: choice.decoder, rest: bytes.subarray(choice.skip) };
  };

  return {
    write(encoded) {
      if (chosen !== null) return chosen.write(encoded);
      const bytes = held.length === 0 ? encoded : Buffer.concat([held, encoded]);
      const settled = settle(bytes, false);
      if (settled !== null) return settled.decoder.write(settled.rest);
      // The chunk belongs to the caller; what is held of it is a copy.
      held = held.length === 0 ? Buffer.from(bytes) : bytes;
      return noBytes;
    },
    end() {
      if (chosen !== null) return chosen.end();
      const settled = settle(held, true);
      if (settled === null) throw new Error('a whole part leaves nothing open');
      // Both results may lie in the decoder's arena, or in what was held.
      return Buffer.concat([settled.decoder.write(settled.rest), settled.decoder.end()]);
    },
  };
}
