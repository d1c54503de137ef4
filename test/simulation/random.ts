import { createRandom, type Random } from '../../scripts/mail-mutations.ts';

/** Chance, from a seed. */
export interface Chance extends Random {
  /** True once in `n`. */
  oneIn(n: number): boolean;
  fill(bytes: Uint8Array): void;
}

export function createChance(seed: number): Chance {
  const random = createRandom(seed);
  return {
    ...random,
    oneIn: (n) => random.integer(n) === 0,
    fill(bytes) {
      for (let at = 0; at < bytes.length; at++) bytes[at] = random.integer(256);
    },
  };
}
