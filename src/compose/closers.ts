/** What a program has opened, closed again in the opposite order, and in time. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../telemetry/log.ts';

/** A part that hangs, a stopped database say, must not keep the process from ending: a supervisor would kill it. */
const TOTAL_MS = 25_000;
/** However little is left of that, each part gets a chance. */
const LEAST_MS = 500;

export interface Closers {
  /** Last opened, first closed. */
  add(name: string, close: () => Promise<void>): void;
  /** Closes what was added, each part in its turn. Answers the names of those that failed or did not end in time. */
  closeAll(): Promise<readonly string[]>;
}

export function createClosers(o: { readonly log: Log; readonly totalMs?: number }): Closers {
  const open: { readonly name: string; close(): Promise<void> }[] = [];
  return {
    add: (name, close) => open.push({ name, close }),
    async closeAll() {
      const deadlineAt = performance.now() + (o.totalMs ?? TOTAL_MS);
      const unclosed: string[] = [];
      for (const { name, close } of open.splice(0).reverse()) {
        const done = await inTime(close, Math.max(LEAST_MS, deadlineAt - performance.now())).catch((error: unknown) => {
          o.log.error({ err: error, part: name }, 'while stopping');
          return false;
        });
        if (!done) unclosed.push(name);
      }
      return unclosed;
    },
  };
}

async function inTime(close: () => Promise<void>, ms: number): Promise<boolean> {
  const over = new AbortController();
  try {
    return await Promise.race([close().then(() => true), sleep(ms, false, { signal: over.signal })]);
  } finally {
    over.abort();
  }
}
