import { type FileHandle, open } from 'node:fs/promises';
import { isMissing, storeFault } from './errors.ts';

/** Few system calls a mail, and little beside the budget of a job. */
const READ_PIECE_BYTES = 256 * 1024;

export interface OpenFile {
  /**
   * The bytes, once, each piece in memory of its own.
   * Owns: closes the file at the end, on any error, when the consumer stops (even before it began) and when the signal
   * aborts. A consumer that neither iterates nor aborts leaks it.
   * Errors: `StoreError`, or the signal's reason.
   */
  read(signal: AbortSignal | undefined): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** null when there is no such file, or something else than a file. Errors: those of the system calls. */
export async function openFile(path: string): Promise<OpenFile | null> {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (file === null) return null;
  try {
    const stats = await file.stat();
    if (stats.isFile()) {
      return { read: (signal) => iterate(file, stats.size, signal), close: () => file.close() };
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return null;
}

function iterate(file: FileHandle, sizeBytes: number, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  let closed: Promise<void> | null = null;

  /** Resolves after the read under way. */
  function close(): Promise<void> {
    signal?.removeEventListener('abort', onAbort);
    closed ??= file.close();
    return closed;
  }
  const onAbort = () => void close().catch(() => {});
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });

  async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (let missingBytes = sizeBytes; missingBytes > 0; ) {
        signal?.throwIfAborted();
        const room = Buffer.allocUnsafeSlow(Math.min(missingBytes, READ_PIECE_BYTES));
        const { bytesRead } = await file.read(room, 0, room.length, null);
        if (bytesRead === 0) throw new Error(`the file ends ${missingBytes} bytes early`);
        missingBytes -= bytesRead;
        yield room.subarray(0, bytesRead);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw storeFault('read', error);
    } finally {
      await close();
    }
  }

  const generator = pieces();
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => generator.next(),
      // A generator that has not begun would skip its `finally`.
      return: async () => {
        await close();
        return generator.return();
      },
    }),
  };
}
