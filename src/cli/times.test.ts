import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { timeArgument, timesFor } from './times.ts';

test('a time is a word, an age, a date or a moment', () => {
  const midnight = (days: number): number => {
    const now = new Date();
    return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days).getTime();
  };
  assert.equal(timeArgument('today').getTime(), midnight(0));
  assert.equal(timeArgument('Yesterday').getTime(), midnight(-1));
  const age = Date.now() - timeArgument('3h').getTime();
  assert.ok(age >= 3 * 3_600_000 && age < 3 * 3_600_000 + 60_000);
  assert.equal(timeArgument('2026-03-01').getTime(), new Date(2026, 2, 1).getTime());
  assert.equal(timeArgument('2026-03-01 14:05').getTime(), new Date(2026, 2, 1, 14, 5).getTime());
  assert.equal(timeArgument('2026-03-01T14:05:06.5z').toISOString(), '2026-03-01T14:05:06.500Z');
  assert.equal(timeArgument('2026-03-01T14:05+02:00').toISOString(), '2026-03-01T12:05:00.000Z');
  for (const wrong of ['', 'soon', '3', '3w', '2026-02-31', '2026-13-01', '01.03.2026', '2026-03-01T25:00', '14:05'])
    assert.throws(() => timeArgument(wrong), /It is today, yesterday/, wrong);
});

test('a person sees the time of here with its offset, a program UTC', () => {
  const time = new Date('2026-07-01T22:30:00Z');
  assert.equal(timesFor({ isTerminal: false })(time), '2026-07-01T22:30:00.000Z');
  const program = `import { timesFor, timeArgument } from '${pathToFileURL(new URL('./times.ts', import.meta.url).pathname)}';
    console.log(timesFor({ isTerminal: true })(new Date('${time.toISOString()}')), timeArgument('2026-07-01').toISOString());`;
  const shown = (zone: string): string =>
    execFileSync(process.execPath, ['--input-type=module', '-e', program], {
      env: { PATH: process.env.PATH, TZ: zone },
      encoding: 'utf8',
    });
  assert.equal(shown('Europe/Berlin'), '2026-07-02 00:30:00 +02:00 2026-06-30T22:00:00.000Z\n');
  assert.equal(shown('America/St_Johns'), '2026-07-01 20:00:00 -02:30 2026-07-01T02:30:00.000Z\n');
});
