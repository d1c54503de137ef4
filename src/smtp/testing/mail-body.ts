import type { MailBody } from '../receiver.ts';

/** The chunks as the body of a mail. */
export function mailBodyOf(chunks: AsyncIterable<Uint8Array>): MailBody {
  const source = chunks[Symbol.asyncIterator]();
  let left: Uint8Array = new Uint8Array();
  return {
    async read(into) {
      while (left.length === 0) {
        const next = await source.next();
        if (next.done === true) return 0;
        left = next.value;
      }
      const count = Math.min(left.length, into.length);
      into.set(left.subarray(0, count));
      left = left.subarray(count);
      return count;
    },
    cancel: () => void source.return?.(),
    [Symbol.asyncIterator]: () => source,
  };
}
