/** Chance, from a seed. */
export interface Chance {
  /** From 0 to below `below`. */
  integer(below: number): number;
  pick<T>(from: readonly T[]): T;
  /** True once in `n`. */
  oneIn(n: number): boolean;
  fill(bytes: Uint8Array): void;
}

export function createChance(seed: number): Chance {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  const next = (): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (below: number): number => Math.floor(next() * below);
  return {
    integer,
    pick: (from) => from[integer(from.length)] as (typeof from)[number],
    oneIn: (n) => integer(n) === 0,
    fill(bytes) {
      for (let at = 0; at < bytes.length; at++) bytes[at] = integer(256);
    },
  };
}
