/**
 * A decoder that chooses how to read a part by its first bytes, which it holds until there are enough of them. The
 * choice rests on the first `maxBytes` alone, so that it does not hang on how the part was cut.
 */
import { noBytes, type TransferDecoder } from './decoder.ts';

/** `more`: it takes more bytes than these to say. What stands before `skip` is left out. */
export type Choice = { readonly decoder: TransferDecoder; readonly skip: number } | 'more';

/** A class, as each part gets one: its functions are made once for all of them. */
export abstract class HeadDecoder implements TransferDecoder {
  private chosen: TransferDecoder | null = null;
  private held: Buffer = noBytes;
  private readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** `whole`: the part has no more than `head`. It must choose for `maxBytes` bytes, and for a whole part. */
  protected abstract choose(head: Buffer, whole: boolean): Choice;

  write(encoded: Buffer): Uint8Array {
    if (this.chosen !== null) return this.chosen.write(encoded);
    const bytes = this.held.length === 0 ? encoded : Buffer.concat([this.held, encoded]);
    const choice = this.chooseFor(bytes, false);
    if (choice !== 'more') return choice.decoder.write(withoutStart(bytes, choice.skip));
    // The chunk belongs to the caller; what is held of it is a copy.
    this.held = this.held.length === 0 ? Buffer.from(bytes) : bytes;
    return noBytes;
  }

  end(): Uint8Array {
    if (this.chosen !== null) return this.chosen.end();
    const { held } = this;
    const choice = this.chooseFor(held, true);
    if (choice === 'more') throw new Error('a whole part leaves nothing open');
    // Both results may lie in the decoder's arena, or in what was held.
    return Buffer.concat([choice.decoder.write(withoutStart(held, choice.skip)), choice.decoder.end()]);
  }

  private chooseFor(bytes: Buffer, last: boolean): Choice {
    const head = bytes.length > this.maxBytes ? bytes.subarray(0, this.maxBytes) : bytes;
    const choice = this.choose(head, last && bytes.length <= this.maxBytes);
    if (choice === 'more') return choice;
    this.chosen = choice.decoder;
    this.held = noBytes;
    return choice;
  }
}

function withoutStart(bytes: Buffer, skip: number): Buffer {
  return skip === 0 ? bytes : bytes.subarray(skip);
}
