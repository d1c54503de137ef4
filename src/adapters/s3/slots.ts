import { unlessAborted } from '../../ports/abort.ts';

/** Lets at most `count` pieces of work run at a time, first come, first served; who waits may be aborted. */
export type Slots = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

export function createSlots(count: number): Slots {
  let free = count;
  const waiting = new Set<() => void>();

  async function take(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (free > 0) {
      free--;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.add(resolve);
    try {
      await unlessAborted(promise, signal);
    } catch (error) {
      // A slot that was handed over in the same moment goes on to the next.
      if (!waiting.delete(resolve)) giveBack();
      throw error;
    }
  }

  function giveBack(): void {
    const next = waiting.values().next();
    if (next.done === true) {
      free++;
      return;
    }
    waiting.delete(next.value);
    next.value();
  }

  return async (work, signal) => {
    await take(signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  };
}
