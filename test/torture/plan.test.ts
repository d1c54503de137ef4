import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAULT_NAMES, type Fault, faults } from './faults.ts';
import { HOUSES } from './house.ts';
import { planRounds } from './plan.ts';

test('the seed alone decides: the same rounds again, others with another', () => {
  assert.deepEqual(planRounds({ seed: 7, rounds: 50 }), planRounds({ seed: 7, rounds: 50 }));
  assert.notDeepEqual(planRounds({ seed: 7, rounds: 50 }), planRounds({ seed: 8, rounds: 50 }));
});

test('every fault is met in every house where it can be, before any is met twice there', () => {
  for (const kind of HOUSES) {
    const wanted = FAULT_NAMES.filter((name) => (faults[name] as Fault).houses.includes(kind));
    const rounds = planRounds({ seed: 1, rounds: 2 * wanted.length, houses: [kind] }).get(kind) ?? [];
    const met = rounds.map(({ fault }) => fault);
    assert.deepEqual(met.slice(0, wanted.length).toSorted(), wanted.toSorted());
    assert.deepEqual(met.slice(wanted.length).toSorted(), wanted.toSorted());
  }
});

test('rounds are shared out to the houses that can meet one of the chosen faults', () => {
  const plan = planRounds({ seed: 1, rounds: 7, only: ['kill-server', 'disk-full', 'kill-redis'], houses: HOUSES });
  assert.deepEqual(
    [...plan].map(([kind, rounds]) => [kind, rounds.length]),
    [
      ['one', 3],
      ['several', 2],
      ['bucket', 2],
    ],
  );
  assert.deepEqual([...planRounds({ seed: 1, rounds: 7, only: ['disk-full'] }).keys()], ['one']);
});
