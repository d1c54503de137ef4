/** So many bytes a second at most, over all who read. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Pace {
  /** Resolves when these bytes, which were just read, are within the rate. Errors: the signal's reason. */
  took(bytes: number, signal: AbortSignal): Promise<void>;
}

/** What was not read while the store was slow is not made up for beyond this. */
const MAX_CREDIT_MS = 1_000;
/** A timer is not more exact than that. */
const SHORTEST_PAUSE_MS = 5;

/** Units: bytes a second; null is as fast as it goes. */
export function createPace(bytesPerSecond: number | null): Pace {
  if (bytesPerSecond === null) return { took: async () => {} };
  let freeAt = performance.now();
  return {
    async took(bytes, signal) {
      const now = performance.now();
      freeAt = Math.max(freeAt, now - MAX_CREDIT_MS) + (bytes / bytesPerSecond) * 1_000;
      if (freeAt - now >= SHORTEST_PAUSE_MS) await sleep(freeAt - now, undefined, { signal });
    },
  };
}
