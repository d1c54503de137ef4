/** What a fault draws from: everything that is chosen comes from the seed of its round. */
import type { TestContext } from 'node:test';
import type { Random } from '../../scripts/mail-mutations.ts';

export interface Hazard {
  readonly t: TestContext;
  readonly random: Random;
  /** How long this fault lasts, or how long before it comes. Units: milliseconds. */
  lastsMs(): number;
  /** How often in a row a process that is soon back is killed. */
  readonly kills: number;
  /** A process was killed. */
  killed(): void;
  /** A fault that cannot be made here says why, once. */
  missing(part: string, why: string): void;
}

const SHORTEST_MS = 50;

export function createHazard(o: Omit<Hazard, 'lastsMs'> & { readonly longestMs: number }): Hazard {
  return { ...o, lastsMs: () => SHORTEST_MS + o.random.integer(o.longestMs - SHORTEST_MS) };
}
