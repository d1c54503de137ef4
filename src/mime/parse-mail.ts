import { createMimeParser } from './parser.ts';
import type { MailEvent, MimeLimits } from './types.ts';

/** Pieces of this size decode within the processor's cache; larger chunks are cut, so that memory stays bounded. */
const maxSliceBytes = 64 * 1024;

/**
 * Reads a mail and says what is in it, in the order of its bytes.
 *
 * ```ts
 * for await (const event of parseMail(createReadStream('order.eml'))) {
 *   if (event.type === 'part-begin') console.log(event.part.path, event.part.header.fileName);
 *   if (event.type === 'part-data') hash.update(event.bytes);
 * }
 * ```
 *
 * Shape: `header`, then parts (messages inside the mail overlap with their own parts), then `end`.
 * Owns: `bytes` of an event are good until the next event is asked for. The source is read only when the consumer asks
 * for more, and is closed when the consumer leaves early or a limit is reached.
 * Errors: those of the source, and `MimeError` for a wrong limit; no mail makes it throw.
 */
export async function* parseMail(
  source: AsyncIterable<Uint8Array>,
  options: { readonly limits?: Partial<MimeLimits> } = {},
): AsyncGenerator<MailEvent, void, undefined> {
  const parser = createMimeParser(options);
  for await (const chunk of source) {
    for (let from = 0; from < chunk.length && !parser.stopped; from += maxSliceBytes) {
      // A loop, as yield* would wait twice for every event.
      for (const event of parser.push(chunk.subarray(from, from + maxSliceBytes))) yield event;
    }
    if (parser.stopped) break;
  }
  for (const event of parser.end()) yield event;
}
