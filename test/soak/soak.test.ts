/** Half a minute of `npm run soak:slope`: what a leak raises by hundreds in it. Memory needs the ten minutes. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { missing } from '../../src/testing/missing.ts';
import { describeSoak, soak } from './soak.ts';

test('descriptors, resources and series do not rise in half a minute of steady load', async (t) => {
  if (!existsSync('/proc/self/fd'))
    return missing(t, '/proc', 'only Linux tells of the descriptors of another process');
  const report = await soak(t, {
    warmUpMs: 12_000,
    measuredMs: 25_000,
    judged: ['descriptors', 'resources', 'series'],
  });
  t.diagnostic(describeSoak(report));
  assert.deepEqual(
    report.fitted.filter(({ rise, allowed }) => rise > allowed).map(({ measure }) => measure),
    [],
    describeSoak(report),
  );
  assert.deepEqual(report.surprises, []);
  assert.ok(report.actions > 100, `only ${report.actions} actions`);
});
