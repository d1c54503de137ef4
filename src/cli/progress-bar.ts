/** How far a long command has come: one line of a terminal, written over again and again. */
import type { Output } from './output.ts';

const CELLS = 24;
const REDRAW_INTERVAL_MS = 200;
const ERASE_LINE = '\r\u001b[K';

export interface ProgressBar {
  /** `share`: from 0 to 1. Costs nothing when it was drawn a moment ago, or nobody would see it. */
  show(share: number, text: () => string): void;
  /** Leaves an empty line for what is written next. */
  clear(): Promise<void>;
}

/** Where the output is no terminal, nothing is drawn. */
export function createProgressBar(output: Output): ProgressBar {
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  return {
    show(share, text) {
      if (!output.isTerminal || performance.now() - drawnAt < REDRAW_INTERVAL_MS) return;
      drawnAt = performance.now();
      drawn = true;
      const whole = Math.max(0, Math.min(1, share));
      const full = Math.floor(whole * CELLS);
      const bar = `[${'#'.repeat(full)}${'.'.repeat(CELLS - full)}] ${Math.floor(whole * 100)} %`;
      void output.write(`${ERASE_LINE}${bar}  ${text()}`);
    },
    async clear() {
      if (drawn) await output.write(ERASE_LINE);
      drawn = false;
    },
  };
}
