/**
 * Lets the others of this process have their turn while a mail is read: what has nothing to wait for, a mail of 10,000 parts
 * that are no documents, would hold the event loop from its first byte to its last.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** The engine's own step, 64 KB of mail, comes on top of it: 20 ms for the dearest. */
const WORK_BEFORE_PAUSE_MS = 5;

/** To be called after each piece of work; waits a turn of the event loop when the time is up. */
export function createPauses(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < WORK_BEFORE_PAUSE_MS) return undefined;
    return nextTurn().then(() => {
      since = performance.now();
    });
  };
}
