import type { Readable } from 'node:stream';
import { StoreError } from '../../ports/object-store.ts';

/**
 * The body of an answer, once.
 * Owns: destroys it at the end, on any error, when the consumer stops, even before it began, and when the signal aborts.
 * Errors: the signal's reason; `StoreError` when the store stalls or ends early. Time the consumer takes is not counted.
 */
export function readBody(o: {
  readonly body: Readable;
  readonly sizeBytes: number | undefined;
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly fault: (cause: unknown) => StoreError;
}): AsyncIterable<Uint8Array> {
  const { body, signal, stallTimeoutMs } = o;
  body.on('error', () => {}); // told by the iteration; before it has begun, nobody else listens
  if (signal?.aborted) close();
  signal?.addEventListener('abort', close, { once: true });

  async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    let missingBytes = o.sizeBytes ?? 0;
    const stalled = () => body.destroy(new StoreError('store-unavailable', `read: no byte in ${stallTimeoutMs} ms`));
    let timer = setTimeout(stalled, stallTimeoutMs);
    try {
      signal?.throwIfAborted();
      for await (const piece of body as AsyncIterable<Uint8Array>) {
        clearTimeout(timer);
        missingBytes -= piece.length;
        yield piece;
        signal?.throwIfAborted();
        timer = setTimeout(stalled, stallTimeoutMs);
      }
      if (o.sizeBytes !== undefined && missingBytes !== 0)
        throw new Error(`the object ends ${missingBytes} bytes early`);
    } catch (error) {
      signal?.throwIfAborted();
      throw o.fault(error);
    } finally {
      clearTimeout(timer);
      close();
    }
  }

  function close(): void {
    signal?.removeEventListener('abort', close);
    body.destroy();
  }

  const generator = pieces();
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => generator.next(),
      // A generator that has not begun would skip its `finally`.
      return: async () => {
        close();
        return generator.return();
      },
    }),
  };
}
