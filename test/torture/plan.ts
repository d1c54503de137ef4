/** Which faults a house meets, in which order: drawn from the seed, and from nothing else. */
import { createRandom } from '../../scripts/mail-mutations.ts';
import { FAULT_NAMES, type Fault, type FaultName, faults } from './faults.ts';
import { HOUSES, type HouseKind } from './house.ts';

export interface Round {
  /** From 1 on, in its house. */
  readonly number: number;
  readonly fault: FaultName;
  readonly seed: number;
}

export interface PlanWish {
  readonly seed: number;
  /** In all houses together. */
  readonly rounds: number;
  /** Default: all. */
  readonly only?: readonly FaultName[] | undefined;
  readonly houses?: readonly HouseKind[] | undefined;
}

/** Every fault comes once before any comes twice. A house that meets none of the faults is left out. */
export function planRounds({
  seed,
  rounds,
  only,
  houses = HOUSES,
}: PlanWish): ReadonlyMap<HouseKind, readonly Round[]> {
  const taking = houses.filter((kind) => faultsOf(kind, only).length > 0);
  return new Map(
    taking.map((kind, index) => {
      const share = Math.floor(rounds / taking.length) + (index < rounds % taking.length ? 1 : 0);
      return [kind, draw(seed * HOUSES.length + HOUSES.indexOf(kind), share, faultsOf(kind, only))];
    }),
  );
}

function faultsOf(kind: HouseKind, only: readonly FaultName[] = FAULT_NAMES): readonly FaultName[] {
  return only.filter((name) => (faults[name] as Fault).houses.includes(kind));
}

function draw(seed: number, count: number, names: readonly FaultName[]): readonly Round[] {
  const random = createRandom(seed);
  let left: FaultName[] = [];
  return Array.from({ length: count }, (_, index) => {
    if (left.length === 0) left = [...names];
    const [fault] = left.splice(random.integer(left.length), 1);
    return { number: index + 1, fault: fault ?? names[0] ?? 'kill-server', seed: random.integer(2 ** 31) };
  });
}
